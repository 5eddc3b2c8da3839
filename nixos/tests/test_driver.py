"""The driver's loop against machines with the test driver's API and a harness that sends the requests of a test.

Both are processes and shells of this machine: what is quoted, cut or split on the way is found here.
"""

import json
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

import driver

HERE = Path(__file__).resolve().parent
START: dict[str, Any] = {"id": 1, "do": "start", "node": "host", "disk": "kept"}
END: dict[str, Any] = {"id": 99, "do": "end", "verdict": "passed", "exit": 0}


class FakeMachine:
    """Records its commands; its shell is this machine's."""

    def __init__(self, name: str, state_dir: Path) -> None:
        self.name = name
        self.state_dir = state_dir
        self.calls: list[str] = []
        self.breaks: str | None = None

    def call(self, what: str) -> None:
        self.calls.append(what)
        if self.breaks == what:
            raise RuntimeError(f"{what} of {self.name}\nis broken")

    def start(self) -> None:
        self.call("start")

    def crash(self) -> None:
        self.call("crash")

    def shutdown(self) -> None:
        self.call("shutdown")

    def block(self) -> None:
        self.call("block")

    def unblock(self) -> None:
        self.call("unblock")

    def execute(
        self, command: str, check_return: bool = True, check_output: bool = True, timeout: int | None = 900
    ) -> tuple[int, str]:
        self.call("execute")
        words = ["timeout", str(timeout or 0), "bash", "-c", f"set -euo pipefail; {command}"]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
        return done.returncode, done.stdout

    def succeed(self, *commands: str, timeout: int | None = None) -> str:
        results = [self.execute(command, timeout=timeout) for command in commands]
        for status, output in results:
            if status != 0:
                raise RuntimeError(f"a command of {self.name} ended with status {status}: {output}")
        return "".join(output for _, output in results)


class Case(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.harness = self.directory / "cim-harness"
        self.harness.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE}/fake_harness.py "$@"\n')
        self.harness.chmod(0o755)
        (self.directory / "disk").mkdir()
        self.host = FakeMachine("host", self.directory / "disk")
        self.operator = FakeMachine("operator", self.directory)
        self.log: list[str] = []
        self.ended: int | None = None
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.directory / "socket"))
        self.addCleanup(listener.close)

    def loop(self, *requests: dict[str, Any] | str) -> driver.Loop:
        (self.directory / "requests").write_text(json.dumps(requests))
        return driver.Loop(
            self.operator,
            [self.host],
            str(self.directory / "socket"),
            lambda: self.ended,
            harness=str(self.harness),
            log=self.log.append,
        )

    def answers(self) -> list[dict[str, Any]]:
        path = self.directory / "answers"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def run_exec(self, command: str, seconds: int = 20) -> dict[str, Any]:
        """Returns the result of one command on a running machine."""
        request = {"id": 2, "do": "exec", "node": "host", "command": command, "timeout_seconds": seconds}
        self.assertEqual(self.loop(START, request, END).run(), 0)
        answer = self.answers()[-1]
        self.assertIsNone(answer["error"])
        result: dict[str, Any] = answer["result"]
        return result


class Operations(Case):
    def test_each_operation_calls_the_machine_and_is_answered(self) -> None:
        requests: list[dict[str, Any]] = [
            START,
            {"id": 2, "do": "block", "node": "host"},
            {"id": 3, "do": "unblock", "node": "host"},
            {"id": 4, "do": "crash", "node": "host"},
            {"id": 5, "do": "start", "node": "host", "disk": "kept"},
            {"id": 6, "do": "stop", "node": "host"},
        ]
        self.assertEqual(self.loop(*requests, END).run(), 0)
        self.assertEqual(self.answers(), [{"id": n, "error": None, "result": None} for n in range(1, 7)])
        calls = ["start", "execute", "block", "unblock", "crash", "start", "execute", "shutdown"]
        self.assertEqual(self.host.calls, calls)

    def test_a_start_need_not_wait_for_the_shell(self) -> None:
        run = {"id": 2, "do": "exec", "node": "host", "command": "true", "timeout_seconds": 20}
        self.assertEqual(self.loop({**START, "wait": False}, run, END).run(), 0)
        self.assertEqual(self.host.calls, ["start", "execute"])

    def test_a_new_disk_is_one_that_is_not_there_and_a_kept_one_stays(self) -> None:
        disk = self.host.state_dir / "host.qcow2"
        other = self.host.state_dir / "shell"
        for path in (disk, other):
            path.touch()
        crash = {"id": 2, "do": "crash", "node": "host"}
        self.loop(START, crash, {**START, "id": 3}, {**crash, "id": 4}, END).run()
        self.assertTrue(disk.exists())
        (self.directory / "asked").unlink()
        self.loop({**START, "disk": "new"}, END).run()
        self.assertFalse(disk.exists())
        self.assertTrue(other.exists())

    def test_the_exit_status_is_the_scenarios(self) -> None:
        self.assertEqual(self.loop({**END, "verdict": "failed", "exit": 1}).run(), 1)

    def test_a_machines_failure_is_an_error_of_one_line_and_the_loop_goes_on(self) -> None:
        self.host.breaks = "block"
        block = {"id": 2, "do": "block", "node": "host"}
        self.assertEqual(self.loop(START, block, END).run(), 0)
        self.assertEqual(self.answers()[1], {"id": 2, "error": "block of host is broken", "result": None})

    def test_what_makes_no_sense_is_an_error(self) -> None:
        wrong: dict[str, dict[str, Any]] = {
            "there is no machine `tape`": {"do": "start", "node": "tape", "disk": "new"},
            "`host` is running already": START,
            "with disk `old`": {"do": "start", "node": "host", "disk": "old"},
            "cannot crash `host`": {"do": "crash", "node": "host"},
            "cannot exec `host`": {"do": "exec", "node": "host", "command": "true", "timeout_seconds": 1},
            "know how to `explode`": {"do": "explode", "node": "host"},
        }
        for expected, request in wrong.items():
            with self.subTest(expected):
                for name in ("asked", "answers"):
                    (self.directory / name).unlink(missing_ok=True)
                first = [START] if request == START else []
                self.loop(*first, {**request, "id": 2}, END).run()
                self.assertIn(expected, self.answers()[-1]["error"])

    def test_a_machine_whose_shell_does_not_answer_can_still_be_crashed(self) -> None:
        self.host.breaks = "execute"
        self.loop(START, {"id": 2, "do": "crash", "node": "host"}, END).run()
        self.assertEqual([answer["error"] is None for answer in self.answers()], [False, True])


class Commands(Case):
    def test_status_stdout_and_stderr_are_told_apart(self) -> None:
        result = self.run_exec("echo 'it''s \"out\"'; echo $HOME >/dev/null; printf 'err\\n\\n' >&2; exit 7")
        self.assertEqual(result, {"status": 7, "stdout": 'its "out"\n', "stderr": "err\n\n"})

    def test_nothing_printed_is_nothing(self) -> None:
        self.assertEqual(self.run_exec("true"), {"status": 0, "stdout": "", "stderr": ""})

    def test_what_is_not_text_does_not_break_the_answer(self) -> None:
        result = self.run_exec("printf 'a\\377b\\0c'; echo ü >&2")
        self.assertEqual((result["stdout"], result["stderr"]), ("a\ufffdb\0c", "ü\n"))

    def test_of_much_output_the_end_is_kept(self) -> None:
        for command in ("seq 1 100000", "seq 1 100000 | tr '\\n' '\\1'; echo; echo 100000"):
            with self.subTest(command):
                (self.directory / "asked").unlink(missing_ok=True)
                result = self.run_exec(command)
                self.assertEqual(result["status"], 0)
                self.assertTrue(result["stdout"].endswith("100000\n"))
                self.assertGreater(len(result["stdout"]), 5_000)
                self.assertLessEqual(len(json.dumps(result)), driver.RESULT_BYTES)

    def test_a_command_that_does_not_end_is_ended(self) -> None:
        self.assertEqual(self.run_exec("echo begun; exec sleep 60", seconds=1), {"status": 124, "stdout": "begun\n", "stderr": ""})

    def test_a_command_does_not_wait_for_what_it_leaves_behind(self) -> None:
        result = self.run_exec("sleep 5 & echo $!", seconds=4)
        self.assertEqual(result["status"], 0)
        subprocess.run(["kill", result["stdout"].strip()], check=True)


class Harness(Case):
    def test_a_harness_that_skips_ends_without_a_request(self) -> None:
        self.ended = 4
        self.assertEqual(self.loop("gone").run(), 4)
        self.assertEqual(self.host.calls, [])

    def test_a_harness_that_ends_before_it_listens(self) -> None:
        (self.directory / "socket").unlink()
        self.ended = 2
        self.assertEqual(self.loop("gone").run(), 2)

    def test_a_harness_that_never_listens(self) -> None:
        (self.directory / "socket").unlink()
        with self.assertRaisesRegex(driver.DriverError, "does not listen"):
            self.loop(END).await_harness(seconds=0.2)

    def test_a_harness_that_is_gone_without_a_status(self) -> None:
        loop = self.loop("gone")
        driver.GONE_SECONDS, before = 0, driver.GONE_SECONDS
        self.addCleanup(setattr, driver, "GONE_SECONDS", before)
        with self.assertRaisesRegex(driver.DriverError, "did not exit either"):
            loop.run()

    def test_a_harness_that_dies_while_a_request_is_performed(self) -> None:
        (self.directory / "gone-at-done").touch()
        self.ended = 1
        self.assertEqual(self.loop(START, END).run(), 1)
        self.assertEqual(self.answers(), [])

    def test_a_refusal_ends_the_loop_with_words_of_the_harness(self) -> None:
        with self.assertRaisesRegex(driver.DriverError, "status 2: a request is open already"):
            self.loop("refuse").run()
        (self.directory / "refuse-done").touch()
        with self.assertRaisesRegex(driver.DriverError, "status 2: request 1 was answered already"):
            self.loop(START, END).run()


class WholeScenario(Case):
    def test_the_harness_is_started_and_leaves_its_report(self) -> None:
        end = {**END, "verdict": "failed", "exit": 1}
        (self.directory / "requests").write_text(json.dumps([START, end]))
        place, lab = self.directory / "a run", {"offers": ["power-loss"], "nodes": {"it's": {}}}
        status = driver.run_scenario(
            self.operator,
            [self.host],
            "tiering",
            lab,
            ["--seed", "7"],
            directory=str(place),
            harness=str(self.harness),
            log=self.log.append,
        )
        self.assertEqual(status, 1)
        self.assertEqual((place / "status").read_text(), "1\n")
        self.assertEqual((place / "progress").read_text(), "in progress\n")
        report = json.loads((place / "report").read_text())
        self.assertEqual(report["lab"], lab)
        expected = ["scenario", "tiering", "--substrate", "driver", "--lab", f"{place}/lab.json"]
        self.assertEqual(report["arguments"], [*expected, "--socket", f"{place}/socket", "--seed", "7"])
        self.assertEqual(json.loads((place / "answers").read_text())["id"], 1)


if __name__ == "__main__":
    unittest.main()
