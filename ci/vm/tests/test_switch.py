"""The switch, with sockets in place of machines."""

import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from cimvm import network

HERE = Path(__file__).resolve().parents[1]
A, B, C = (b"\x52\x54\x00\x00\x00" + bytes([number]) for number in (1, 2, 3))
BROADCAST = b"\xff" * 6


def frame(target: bytes, source: bytes, payload: bytes) -> bytes:
    body = target + source + b"\x08\x00" + payload
    return len(body).to_bytes(4) + body


class SwitchTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.paths = [str(Path(directory.name) / name) for name in "abc"]
        self.switch = subprocess.Popen([sys.executable, "-m", "cimvm.switch", *self.paths], cwd=HERE)
        self.addCleanup(self.end)
        for path in self.paths:
            while not network.listens(path):
                self.assertIsNone(self.switch.poll())
        self.a, self.b, self.c = (self.plug(path) for path in self.paths)

    def end(self) -> None:
        self.switch.kill()
        self.switch.wait()

    def plug(self, path: str) -> socket.socket:
        plugged = socket.socket(socket.AF_UNIX)
        self.addCleanup(plugged.close)
        plugged.connect(path)
        plugged.settimeout(10)
        return plugged

    def expect(self, port: socket.socket, *frames: bytes) -> None:
        wanted = b"".join(frames)
        seen = b""
        while len(seen) < len(wanted):
            seen += port.recv(len(wanted) - len(seen))
        self.assertEqual(seen, wanted)

    def introduce(self) -> None:
        """Each says something to all, so that the switch knows where each is."""
        for port, address in ((self.a, A), (self.b, B), (self.c, C)):
            hello = frame(BROADCAST, address, b"hello")
            port.sendall(hello)
            for other in (self.a, self.b, self.c):
                if other is not port:
                    self.expect(other, hello)

    def test_what_is_for_one_is_seen_by_no_other(self) -> None:
        self.introduce()
        private, after = frame(B, A, b"private"), frame(BROADCAST, A, b"after")
        self.a.sendall(private + after)
        self.expect(self.b, private, after)
        self.expect(self.c, after)

    def test_a_frame_for_an_unknown_address_goes_to_all(self) -> None:
        unknown = frame(C, A, b"where are you")
        self.a.sendall(unknown)
        self.expect(self.b, unknown)
        self.expect(self.c, unknown)

    def test_frames_that_arrive_in_pieces(self) -> None:
        self.introduce()
        one = frame(B, A, bytes(9000))
        for start in range(0, len(one), 1000):
            self.a.sendall(one[start : start + 1000])
        self.expect(self.b, one)

    def test_a_machine_that_boots_again_is_connected_again(self) -> None:
        self.introduce()
        self.b.close()
        again = self.plug(self.paths[1])
        hello = frame(BROADCAST, B, b"I am back")
        again.sendall(hello)
        self.expect(self.a, hello)
        answer = frame(B, A, b"welcome")
        self.a.sendall(answer)
        self.expect(again, answer)

    def test_one_that_does_not_read_holds_up_no_other(self) -> None:
        self.introduce()
        big = frame(B, A, bytes(60_000))
        # More than any buffer holds: what is for B is dropped in the end.
        for _ in range(400):
            self.a.sendall(big)
        last = frame(C, A, b"still here")
        self.a.sendall(last)
        self.expect(self.c, last)


if __name__ == "__main__":
    unittest.main()
