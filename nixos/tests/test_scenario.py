"""The results that a scenario's run keeps, and the module tests' parsing of machines' output."""

import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import driver
import least_privilege
import minimal_host
import scenario


class Machine:
    """A machine with fixed answers, chosen by a word of the command."""

    def __init__(self, name: str, out_dir: Path, answers: dict[str, str], up: bool = True) -> None:
        self.name = name
        self.out_dir = out_dir
        self.answers = answers
        self.up = up

    def start(self) -> None: ...

    def wait_for_unit(self, unit: str) -> None: ...

    def is_up(self) -> bool:
        return self.up

    def succeed(self, command: str) -> str:
        return next((text for word, text in self.answers.items() if word in command), "")


class Kept(unittest.TestCase):
    def run_with(self, answers: dict[str, str], **outcome: Any) -> Path:
        directory = Path(self.enterContext(tempfile.TemporaryDirectory()))
        operator = Machine("operator", directory, answers)
        host = Machine("host", directory, {"journalctl": "nats: ready\n"})
        nas = Machine("nas", directory, {}, up=False)
        with mock.patch.object(driver, "run_scenario", **outcome), mock.patch("builtins.print"):
            scenario.run({m.name: m for m in (operator, host, nas)}, "tiering", {}, [])
        return directory

    def test_a_failed_run_keeps_its_report_and_status(self) -> None:
        kept = self.run_with({"/report": "{}", "/junit": "<x/>", "/progress": "restore …\n"}, return_value=1)
        self.assertEqual((kept / "report.json").read_text(), "{}")
        self.assertEqual((kept / "junit.xml").read_text(), "<x/>")
        self.assertEqual((kept / "progress").read_text(), "restore …\nscenario tiering ended with status 1\n")
        self.assertEqual((kept / "status").read_text(), "1\n")

    def test_journals_come_from_machines_that_are_up(self) -> None:
        kept = self.run_with({}, return_value=0)
        self.assertEqual((kept / "status").read_text(), "0\n")
        self.assertEqual((kept / "host.journal").read_text(), "nats: ready\n")
        self.assertFalse((kept / "nas.journal").exists())

    def test_a_run_without_an_end_is_no_run_that_passed(self) -> None:
        kept = self.run_with({"/progress": "load …\n"}, side_effect=driver.DriverError("the harness is gone"))
        self.assertEqual((kept / "status").read_text(), "3\n")
        self.assertIn("came to no end: the harness is gone", (kept / "progress").read_text())


class Read(unittest.TestCase):
    def test_sockets_on_loopback_are_left_out(self) -> None:
        output = (
            "tcp LISTEN 0 4096 0.0.0.0:4222 0.0.0.0:*\n"
            "tcp LISTEN 0 128 127.0.0.1:9001 0.0.0.0:*\n"
            "tcp LISTEN 0 128 [::1]:25 [::]:*\n"
            "tcp LISTEN 0 128 [::]:22 [::]:*\n"
            "udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:*\n"
            "udp UNCONN 0 0 0.0.0.0%eth0:68 0.0.0.0:*\n"
        )
        self.assertEqual(minimal_host.listeners(output), {"tcp/4222", "tcp/22", "udp/68"})

    def test_own_subjects_are_never_refused(self) -> None:
        for component, own in least_privilege.OWN.items():
            subjects = {subject for _, _, subject in least_privilege.attempts(component)}
            self.assertFalse(subjects & set(own))
            self.assertIn(">", subjects)


if __name__ == "__main__":
    unittest.main()
