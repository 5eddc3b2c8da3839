"""A host listens only where the inventory says, and runs only the services that its role needs."""

from typing import Any

# Units of the test driver itself: its shell, and the address of the machine's first card.
OF_THE_DRIVER = {"backdoor.service", "dhcpcd.service"}
DHCP = {"udp/68", "udp/546"}
NOT_OPEN = 9999


def listeners(output: str) -> set[str]:
    """Returns protocol and port of all sockets that listen beyond loopback, from the output of `ss`."""
    found = set()
    for line in output.splitlines():
        protocol, _, _, _, local = line.split()[:5]
        address, port = local.rsplit(":", 1)
        if not address.startswith(("127.", "[::1]")):
            found.add(f"{protocol}/{port}")
    return found


def reach(port: int) -> str:
    """Returns a command that succeeds if the host answers on a port."""
    return f"timeout 5 bash -c 'exec 3<>/dev/tcp/host/{port}'"


def run(machines: dict[str, Any], tcp: list[int], services: list[str], unwanted: list[str]) -> None:
    host, operator = machines["host"], machines["operator"]
    host.start()
    operator.start()
    host.wait_for_unit("multi-user.target")
    operator.wait_for_unit("multi-user.target")
    for port in tcp:
        host.wait_for_open_port(port)

    extra = listeners(host.succeed("ss --no-header --listening --tcp --udp --numeric"))
    extra -= {f"tcp/{port}" for port in tcp} | DHCP
    assert not extra, f"the host listens on {sorted(extra)}"

    lines = host.succeed("systemctl list-units --type=service --state=running --plain --no-legend").splitlines()
    running = {line.split()[0] for line in lines} - OF_THE_DRIVER - set(services)
    extra = {unit for unit in running if not unit.startswith(("getty@", "serial-getty@", "user@"))}
    assert not extra, f"the host runs {sorted(extra)}"

    for program in unwanted:
        host.fail(f"command -v {program}")

    # From elsewhere the packet filter decides, independent of listening programs.
    for port in tcp:
        operator.succeed(reach(port))
    host.succeed(f"systemd-run --unit=stranger nc -l 0.0.0.0 {NOT_OPEN}")
    host.wait_until_succeeds(f"ss --no-header --listening --tcp --numeric | grep -q :{NOT_OPEN}", timeout=30)
    operator.fail(reach(NOT_OPEN))

    failed = host.succeed("systemctl --failed --plain --no-legend")
    assert failed.strip() == "", f"units failed:\n{failed}"
