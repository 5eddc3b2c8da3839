"""A host listens where the inventory says and nowhere else, and runs nothing that its role does not need."""

from typing import Any

# What the test driver itself brings: its shell, and the address of the machine's first card.
OF_THE_DRIVER = {"backdoor.service", "dhcpcd.service"}


def listeners(machine: Any) -> set[str]:
    """Protocol and port of everything that waits for somebody from outside."""
    lines = machine.succeed("ss --no-header --listening --tcp --udp --numeric").splitlines()
    found = set()
    for line in lines:
        protocol, _, _, _, local = line.split()[:5]
        address, port = local.rsplit(":", 1)
        if not (address.startswith("127.") or address.startswith("[::1]") or address.startswith("127.0.0.53%")):
            found.add(f"{protocol}/{port}")
    return found


def run(machines: dict[str, Any], tcp: list[int], services: list[str], packages: list[str], unwanted: list[str]) -> None:
    host, operator = machines["host"], machines["operator"]
    host.start()
    operator.start()
    host.wait_for_unit("multi-user.target")
    host.wait_for_unit("nats.service")
    host.wait_for_open_port(tcp[-1])

    # 68 and 546 are the test driver's DHCP client.
    extra = listeners(host) - {f"tcp/{port}" for port in tcp} - {"udp/68", "udp/546"}
    assert not extra, f"the host listens on {sorted(extra)}"

    lines = host.succeed("systemctl list-units --type=service --state=running --plain --no-legend").splitlines()
    running = {line.split()[0] for line in lines} - OF_THE_DRIVER
    allowed = set(services)
    extra = {unit for unit in running if unit not in allowed and not unit.startswith(("getty@", "serial-getty@", "user@"))}
    assert not extra, f"the host runs {sorted(extra)}"

    found = sorted(set(unwanted) & set(packages))
    assert not found, f"the host has {found} installed"
    for program in unwanted:
        host.fail(f"command -v {program}")

    # From outside the packet filter decides, whatever listens.
    operator.wait_for_unit("multi-user.target")
    for port in tcp:
        operator.succeed(f"timeout 5 bash -c 'exec 3<>/dev/tcp/{host.name}/{port}'")
    host.succeed("systemd-run --unit=stranger nc --listen 0.0.0.0 9999 || systemd-run --unit=stranger nc -l 9999")
    host.wait_for_open_port(9999)
    operator.fail(f"timeout 5 bash -c 'exec 3<>/dev/tcp/{host.name}/9999'")

    failed = host.succeed("systemctl --failed --plain --no-legend")
    assert failed == "", f"units failed:\n{failed}"
