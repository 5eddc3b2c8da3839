"""What the machine tests make of text: reports as JUnit, and what listens."""

import unittest
from xml.etree import ElementTree

import junit
import minimal_host


def report(**changes: object) -> dict[str, object]:
    """A small report of a scenario that passed, with some members changed."""
    whole: dict[str, object] = {
        "scenario": "tiering",
        "substrate": "driver",
        "verdict": "passed",
        "started_at": "2026-01-02T03:04:05Z",
        "seconds": 12.5,
        "oracle": {"published": 10, "lost": 0, "phantom": 0},
        "expectations": [{"what": "lag nas p99", "bound": 1.0, "measured": 0.5, "met": True}],
        "steps": [{"what": "load", "start": 0.0, "end": 2.0, "outcome": "done"}],
    }
    return {**whole, **changes}


def failures(text: str) -> dict[str, str]:
    """By test case, why it failed."""
    suite = ElementTree.fromstring(text)
    found = {case.attrib["name"]: case.find("failure") for case in suite.iter("testcase")}
    return {name: failure.attrib["message"] for name, failure in found.items() if failure is not None}


class JUnit(unittest.TestCase):
    def test_a_run_that_passed_has_no_failure(self) -> None:
        suite = ElementTree.fromstring(junit.junit(report()))
        self.assertEqual(suite.attrib["failures"], "0")
        self.assertEqual(suite.attrib["tests"], str(len(suite.findall("testcase"))))
        self.assertEqual(failures(junit.junit(report())), {})

    def test_each_kind_of_failure_has_a_case_of_its_own(self) -> None:
        text = junit.junit(
            report(
                verdict="failed",
                reason="2 messages are lost",
                oracle={"lost": 2},
                expectations=[{"what": "rto nas", "bound": 1.0, "measured": 9.0, "met": False}],
                steps=[{"what": "restore", "start": 1.0, "end": 2.0, "outcome": "ended with status 5"}],
            )
        )
        self.assertEqual(
            failures(text),
            {
                "restore": "ended with status 5",
                "expect rto nas": "9.0 is beyond 1.0",
                "oracle: lost": "2 lost",
                "verdict": "2 messages are lost",
            },
        )

    def test_skipped_is_neither_passed_nor_failed(self) -> None:
        suite = ElementTree.fromstring(junit.junit(report(verdict="skipped", reason="no `clock` here", steps=[])))
        self.assertEqual((suite.attrib["skipped"], suite.attrib["failures"]), ("1", "0"))
        skipped = suite.find("testcase[@name='verdict']/skipped")
        assert skipped is not None
        self.assertEqual(skipped.attrib["message"], "no `clock` here")


class Listeners(unittest.TestCase):
    def test_loopback_is_nobody_elses_business(self) -> None:
        output = (
            "tcp LISTEN 0 4096 0.0.0.0:4222 0.0.0.0:*\n"
            "tcp LISTEN 0 128 127.0.0.1:9001 0.0.0.0:*\n"
            "tcp LISTEN 0 128 [::1]:25 [::]:*\n"
            "tcp LISTEN 0 128 [::]:22 [::]:*\n"
            "udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:*\n"
            "udp UNCONN 0 0 0.0.0.0%eth0:68 0.0.0.0:*\n"
        )
        self.assertEqual(minimal_host.listeners(output), {"tcp/4222", "tcp/22", "udp/68"})


if __name__ == "__main__":
    unittest.main()
