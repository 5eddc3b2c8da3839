"""The console against a real shell at the other end of the socket, as the guest runs it."""

import socket
import subprocess
import threading
import time
import unittest

from cimvm.console import Console, ConsoleError


class ConsoleTest(unittest.TestCase):
    def setUp(self) -> None:
        ours, theirs = socket.socketpair()
        self.shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile"], stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL
        )
        self.console = Console(ours)
        self.addCleanup(self.end)
        theirs.sendall(b"[    2.1] a kernel's word\r\nSpawning backdoor root shell...\n")
        theirs.close()
        self.console.wait_ready(10)

    def end(self) -> None:
        self.shell.kill()
        self.shell.wait()
        self.console.close()

    def run_command(self, command: str, timeout: int | None = 10) -> tuple[int, bytes]:
        self.console.send(command, timeout)
        return self.console.receive(20)

    def test_status_and_output_of_one_command_after_another(self) -> None:
        self.assertEqual(self.run_command("echo 'it'\"'\"'s'; echo; exit 3"), (3, b"it's\n\n"))
        self.assertEqual(self.run_command("true"), (0, b""))
        self.assertEqual(self.run_command("printf 'a\\0\\377'"), (0, b"a\0\xff"))

    def test_the_first_failure_ends_a_command(self) -> None:
        self.assertEqual(self.run_command("false; echo not reached"), (1, b""))
        self.assertEqual(self.run_command("false | true"), (1, b""))
        self.assertEqual(self.run_command('echo "$NOT_SET"')[0], 1)

    def test_much_output_arrives_whole(self) -> None:
        status, output = self.run_command("head -c 3000000 /dev/zero | tr '\\0' x")
        self.assertEqual((status, len(output)), (0, 3_000_000))

    def test_a_command_of_many_lines_and_bytes(self) -> None:
        text = "\n".join(f"line {number} 'quoted'" for number in range(2000))
        self.assertEqual(self.run_command(f"cat <<'END' | wc -l\n{text}\nEND"), (0, b"2000\n"))

    def test_a_command_does_not_eat_those_after_it(self) -> None:
        self.assertEqual(self.run_command("cat"), (0, b""))
        self.assertEqual(self.run_command("echo here"), (0, b"here\n"))

    def test_the_guest_ends_what_takes_too_long(self) -> None:
        self.assertEqual(self.run_command("sleep 30", timeout=1)[0], 124)

    def test_an_answer_that_comes_too_late_is_not_the_next_ones(self) -> None:
        self.console.send("sleep 1; echo late", 10)
        with self.assertRaisesRegex(ConsoleError, "does not answer in time"):
            self.console.receive(0.2)
        self.assertEqual(self.run_command("echo prompt"), (0, b"prompt\n"))

    def test_a_machine_that_loses_power_is_an_error_at_once(self) -> None:
        self.console.send("sleep 30", None)
        killer = threading.Timer(0.2, self.cut)
        killer.start()
        began = time.monotonic()
        with self.assertRaisesRegex(ConsoleError, "is gone"):
            self.console.receive(20)
        self.assertLess(time.monotonic() - began, 10)
        killer.join()

    def cut(self) -> None:
        # The command holds the socket as well, as a child of the shell.
        self.console.connection.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    unittest.main()
