"""The root shell of a machine, over a socket that leads to its virtio console."""

import base64
import shlex
import socket
import time


class ConsoleError(Exception):
    """The shell did not answer, or is gone."""


class Console:
    """Runs one command at a time; an answer that comes too late is told from the next one's."""

    READY = b"Spawning backdoor root shell..."

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.pending = b""
        self.number = 0

    def wait_ready(self, seconds: float) -> None:
        """Waits for the line that the shell says first."""
        until = time.monotonic() + seconds
        while not self.line(until).endswith(self.READY):
            pass

    def send(self, command: str, timeout: int | None) -> None:
        """Starts a command, as the NixOS test driver does: with `set -euo pipefail`, without its stderr."""
        self.number += 1
        limit = "" if timeout is None else f"timeout {timeout:d} "
        script = shlex.quote(f"set -euo pipefail; {command}")
        try:
            self.connection.settimeout(60)
            self.connection.sendall(
                f"{limit}bash -c {script} </dev/null | base64 -w 0; "
                f'echo " {self.number} ${{PIPESTATUS[0]}}"\n'.encode()
            )
        except OSError as error:
            raise ConsoleError(f"the shell takes no command: {error}") from error

    def receive(self, seconds: float | None) -> tuple[int, bytes]:
        """The status and stdout of the command that was sent last."""
        until = None if seconds is None else time.monotonic() + seconds
        while True:
            words = self.line(until).split(b" ")
            if len(words) == 3 and words[1] == b"%d" % self.number:
                return int(words[2]), base64.b64decode(words[0])

    def line(self, until: float | None) -> bytes:
        """The next line, without its end."""
        while b"\n" not in self.pending:
            try:
                left = None if until is None else max(until - time.monotonic(), 0.001)
                self.connection.settimeout(left)
                part = self.connection.recv(65536)
            except TimeoutError as error:
                raise ConsoleError("the shell does not answer in time") from error
            except OSError as error:
                raise ConsoleError(f"the shell is gone: {error}") from error
            if not part:
                raise ConsoleError("the shell is gone: the machine is off")
            self.pending += part
        line, self.pending = self.pending.split(b"\n", 1)
        return line.rstrip(b"\r")

    def close(self) -> None:
        self.connection.close()
