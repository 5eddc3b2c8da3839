"""The network between the machines: a QEMU without a machine, as a switch.

Each machine has a port, a Unix socket that survives its reboots. One more port leads to the operator,
which is this machine: QEMU's user-mode network stands in for it in the LAN, at the operator's address,
and listens here on ports of the loopback interface. So the operator's traffic goes over the LAN, is
seen there with the operator's address, and ends where a machine's card is unplugged. Nothing else
leaves: `restrict=on`. It takes no privileges.
"""

import ipaddress
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from . import qemu


class Switch:
    """Runs from construction to `close`."""

    def __init__(
        self,
        cidr: str,
        operator: str,
        machines: Iterable[str],
        forwards: Mapping[tuple[str, int], int],
        state: Path,
        log: Path,
    ) -> None:
        """`forwards` maps an address and port in the LAN to the port on 127.0.0.1 that leads there."""
        network = ipaddress.ip_network(cidr)
        self.sockets = {name: state / f"port-{name}" for name in machines}
        # Names and leases come from nobody; the addresses only must not be somebody's.
        unused = [str(network[-2 - index]) for index in range(2)]
        user = [
            f"user,id=operator,net={cidr},host={operator},dns={unused[0]},dhcpstart={unused[1]}",
            "restrict=on,ipv6=off",
            *(f"hostfwd=tcp:127.0.0.1:{port}-{address}:{there}" for (address, there), port in forwards.items()),
        ]
        arguments = ["-machine", "none", "-nodefaults", "-display", "none", "-netdev", ",".join(user)]
        arguments += ["-netdev", "hubport,id=port-operator,hubid=0,netdev=operator"]
        for name, path in self.sockets.items():
            path.unlink(missing_ok=True)
            arguments += ["-netdev", f"stream,id={name},server=on,addr.type=unix,addr.path={path}"]
            arguments += ["-netdev", f"hubport,id=port-{name},hubid=0,netdev={name}"]
        self.process = qemu.spawn(arguments, log)
        self.wait(log)

    def wait(self, log: Path) -> None:
        until = time.monotonic() + 20
        while not all(path.exists() for path in self.sockets.values()):
            if self.process.poll() is not None or time.monotonic() > until:
                self.close()
                raise RuntimeError(f"the network does not start: {' '.join(log.read_text().split())}")
            time.sleep(0.02)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports
