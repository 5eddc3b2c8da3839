"""An Ethernet switch between Unix sockets: `python3 -m cimvm.switch PATH…`, a port each.

QEMU's `-netdev stream` puts four bytes of length before each frame. A port survives what is plugged into
it: a machine that boots again connects again. QEMU's own hub will not do, because it shows every frame to
every port, and its user-mode network resets connections between machines that it sees there.
"""

import selectors
import socket
import sys
from pathlib import Path

# What a port may lag behind before frames for it are dropped, as a switch does whose buffer is full.
BUFFER_BYTES = 4 << 20
READ_BYTES = 1 << 18
GROUP_BIT = 1


class Port:
    """A socket and what is connected to it, one machine at most."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.server.bind(str(path))
        self.server.listen(1)
        self.peer: socket.socket | None = None
        self.received = b""
        self.unsent = bytearray()


class Switch:
    """Learns who is where from the frames that it sees."""

    def __init__(self, paths: list[Path]) -> None:
        self.selector = selectors.DefaultSelector()
        self.ports = [Port(path) for path in paths]
        self.places: dict[bytes, Port] = {}
        for port in self.ports:
            self.selector.register(port.server, selectors.EVENT_READ, (port, "accept"))

    def run(self) -> None:
        while True:
            for key, events in self.selector.select():
                port, what = key.data
                if what == "accept":
                    self.plug(port)
                elif key.fileobj is port.peer:
                    if events & selectors.EVENT_READ:
                        self.read(port)
                    if events & selectors.EVENT_WRITE and key.fileobj is port.peer:
                        self.flush(port)

    def plug(self, port: Port) -> None:
        connection, _ = port.server.accept()
        self.unplug(port)
        connection.setblocking(False)
        port.peer = connection
        self.selector.register(connection, selectors.EVENT_READ, (port, "frames"))

    def unplug(self, port: Port) -> None:
        if port.peer is not None:
            self.selector.unregister(port.peer)
            port.peer.close()
        port.peer, port.received = None, b""
        port.unsent.clear()

    def read(self, port: Port) -> None:
        assert port.peer is not None
        try:
            part = port.peer.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        if not part:
            return self.unplug(port)
        data = port.received + part if port.received else part
        start, end = 0, len(data)
        touched = set()
        while end - start >= 4:
            after = start + 4 + int.from_bytes(data[start : start + 4])
            if after > end:
                break
            touched |= self.forward(port, data[start:after])
            start = after
        port.received = data[start:]
        for other in touched:
            self.flush(other)
        return None

    def forward(self, source: Port, frame: bytes) -> set[Port]:
        """Queues a frame, its length included, and says where."""
        target, sender = frame[4:10], frame[10:16]
        if not sender[0] & GROUP_BIT:
            self.places[sender] = source
        known = None if target[0] & GROUP_BIT else self.places.get(target)
        reached = set()
        for port in self.ports if known is None else [known]:
            if port is not source and port.peer is not None and len(port.unsent) < BUFFER_BYTES:
                port.unsent += frame
                reached.add(port)
        return reached

    def flush(self, port: Port) -> None:
        """Sends what is queued, and asks to be called again for the rest."""
        if port.peer is None:
            return
        try:
            sent = port.peer.send(port.unsent)
            del port.unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            return self.unplug(port)
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if port.unsent else 0)
        if self.selector.get_key(port.peer).events != events:
            self.selector.modify(port.peer, events, (port, "frames"))
        return None


if __name__ == "__main__":
    Switch([Path(argument) for argument in sys.argv[1:]]).run()
