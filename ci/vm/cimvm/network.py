"""The LAN of a lab: a switch, and the operator's place in it.

The operator is this machine. QEMU's user-mode network stands in for it in the LAN, at the operator's
address, and listens here on ports of the loopback interface. So the operator's traffic goes over the LAN,
is seen there with the operator's address, and ends where a machine's card is unplugged. Nothing else
leaves: `restrict=on`. It takes no privileges.
"""

import ipaddress
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from . import qemu

OPERATOR = "operator"


class Network:
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
        self.log = log
        self.sockets = {name: state / f"port-{name}" for name in [*machines, OPERATOR]}
        self.processes: list[subprocess.Popen[bytes]] = []
        try:
            paths = [str(path) for path in self.sockets.values()]
            switch = [sys.executable, "-m", "cimvm.switch", *paths]
            self.processes.append(qemu.spawn_program(switch, log, Path(__file__).parents[1]))
            self.wait(paths)
            self.processes.append(qemu.spawn(self.operator(cidr, operator, forwards), log))
        except BaseException:
            self.close()
            raise

    def operator(self, cidr: str, address: str, forwards: Mapping[tuple[str, int], int]) -> list[str]:
        """A QEMU without a machine, whose one card is the operator's."""
        # Names and leases come from nobody; their addresses only must not be somebody's.
        network = ipaddress.ip_network(cidr)
        user = [
            f"user,id=user,net={cidr},host={address},dns={network[-2]},dhcpstart={network[-3]}",
            "restrict=on,ipv6=off",
            *(f"hostfwd=tcp:127.0.0.1:{port}-{there}:{served}" for (there, served), port in forwards.items()),
        ]
        lan = f"stream,id=lan,server=off,addr.type=unix,addr.path={self.sockets[OPERATOR]}"
        return [
            *("-machine", "none", "-nodefaults", "-display", "none"),
            *("-netdev", ",".join(user), "-netdev", "hubport,id=a,hubid=0,netdev=user"),
            *("-netdev", lan, "-netdev", "hubport,id=b,hubid=0,netdev=lan"),
        ]

    def wait(self, paths: list[str]) -> None:
        """A socket is bound a moment before it listens; QEMU does not try twice."""
        until = time.monotonic() + 20
        for path in paths:
            while not listens(path):
                if self.processes[0].poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"the switch does not start: {' '.join(self.log.read_text().split())}")
                time.sleep(0.02)

    def check(self) -> None:
        """An error when a part of it has ended."""
        if any(process.poll() is not None for process in self.processes):
            raise RuntimeError(f"the network ended: {' '.join(self.log.read_text().split())}")

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def listens(path: str) -> bool:
    if not os.path.exists(path):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == 0


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports
