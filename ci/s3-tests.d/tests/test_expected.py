"""The lists compared with invented outcomes."""

import pathlib
import tempfile
import unittest

from expected import Expected, Malformed, judge


def lists(passing: str, unclaimed: str) -> Expected:
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "passing.txt").write_text(passing)
        (pathlib.Path(folder) / "unclaimed.txt").write_text(unclaimed)
        return Expected.read(pathlib.Path(folder))


class ExpectedTest(unittest.TestCase):
    def test_what_is_unclaimed_has_a_reason_and_what_passes_is_claimed(self) -> None:
        expected = lists("# a list\nm::test_acl_ok\n", "m::test_acl_*  no ACLs\n@tagging  no tags\n")
        self.assertIsNone(expected.unclaimed("m::test_acl_ok", []))
        self.assertIsNone(expected.unclaimed("m::test_put", ["copy"]))
        rule = expected.unclaimed("m::test_acl_bad", [])
        self.assertEqual(rule and rule.reason, "no ACLs")
        rule = expected.unclaimed("m::test_put", ["tagging"])
        self.assertEqual(rule and rule.reason, "no tags")

    def test_a_rule_without_a_reason_is_refused(self) -> None:
        with self.assertRaisesRegex(Malformed, "no reason"):
            lists("", "m::test_acl_*\n")

    def test_rules_that_match_nothing_are_named(self) -> None:
        expected = lists("m::a\n", "m::a  taken\nm::b  used\n")
        self.assertEqual([rule.pattern for rule in expected.idle({"m::a": [], "m::b": []})], ["m::a"])

    def test_each_way_to_differ_from_the_list(self) -> None:
        expected = lists("m::a\nm::b\nm::c\nm::gone\n", "")
        outcomes = {"m::a": "passed", "m::b": "failed", "m::c": "skipped", "m::d": "passed", "m::e": "failed"}
        verdict = judge(expected, outcomes, selected=False)
        self.assertEqual(verdict.regressed, ["m::b", "m::c"])
        self.assertEqual(verdict.missing, ["m::gone"])
        self.assertEqual(verdict.unexplained, ["m::e"])
        self.assertEqual(verdict.newly, ["m::d"])
        self.assertFalse(verdict.holds)

    def test_a_part_of_the_suite_misses_nothing_and_new_ones_are_no_failure(self) -> None:
        expected = lists("m::a\nm::gone\n", "")
        verdict = judge(expected, {"m::a": "passed", "m::new": "passed"}, selected=True)
        self.assertTrue(verdict.holds)


if __name__ == "__main__":
    unittest.main()
