"""A component's container: the peers that it reaches, its secrets, and its limits."""

from typing import Any

MIB = 1024 * 1024


def inside(container: str, command: str) -> str:
    """Returns a command that runs in a container of the host."""
    return f"nixos-container run {container} -- {command}"


def connect(address: str, port: int) -> str:
    """Returns a command that succeeds if a program answers there."""
    return f"timeout 5 bash -c 'exec 3<>/dev/tcp/{address}/{port}'"


def run(
    machines: dict[str, Any],
    gateway: str,
    nats_port: int,
    nas: dict[str, Any],
    operator: str,
    addresses: dict[str, str],
    storage_manager: str,
) -> None:
    host = machines["host"]
    for machine in machines.values():
        machine.start()
    for machine in machines.values():
        machine.wait_for_unit("multi-user.target")
    machines["nas"].wait_for_open_port(nas["port"])
    machines["operator"].succeed("systemd-run --unit=listener nc -lk 0.0.0.0 8000")
    host.wait_for_open_port(nats_port)
    containers = [*addresses, "storage-manager"]
    for container in containers:
        host.wait_for_unit(f"container@{container}.service")
        host.wait_until_succeeds(inside(container, "true"), timeout=120)

    # A program listens in each, so that a refused connection is refused by the packet filter.
    for container in containers:
        host.succeed(inside(container, "systemd-run --unit=listener --property=Restart=always nc -lk 0.0.0.0 7000"))

    for container in containers:
        host.succeed(inside(container, connect(gateway, nats_port)))
        host.fail(inside(container, connect(gateway, 22)))
        host.fail(inside(container, connect(operator, 8000)))
        for other, address in {**addresses, "storage-manager": storage_manager}.items():
            if other != container:
                host.fail(inside(container, connect(address, 7000)))
    for container in addresses:
        host.fail(inside(container, connect(nas["address"], nas["port"])))
    host.succeed(inside("storage-manager", connect(nas["address"], nas["port"])))
    machines["operator"].fail(connect(storage_manager, 7000))

    # Each has its own secret, and cannot read the host's.
    for container in addresses:
        secrets = host.succeed(inside(container, "ls /var/lib/cim-secrets")).split()
        assert secrets == [f"{container}.nk"], f"`{container}` sees {secrets}"

    # The kernel enforces the limits.
    for container in addresses:
        properties = host.succeed(f"systemctl show container@{container} --property=MemoryMax,TasksMax,After")
        assert f"MemoryMax={256 * MIB}" in properties, properties
        assert "TasksMax=64" in properties, properties
        assert "nats.service" in properties, properties
    # Started by the container's own systemd: a shell from the host is not in the container's control group.
    hungry = f"head -c {512 * MIB} /dev/zero | tail"
    host.fail(inside("information-units", f"systemd-run --quiet --wait bash -c '{hungry}'"))
    host.wait_for_unit("nats.service")
