"""`ci/vm/check-units`: the rendered units, firewalls and NATS users, on machines that installed them."""

import ipaddress
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .checking import CheckFailed, Skipped, expect
from .commands import MachineError
from .console import ConsoleError
from .lab import ROOT, Lab, LabError, log
from .machine import Machine
from .nats import refused_on_anothers_subjects, refused_without_a_key
from .run import INTERRUPTED, LAB_FAILED, interrupt

# Beside those of services: SSH, NATS's monitoring, cluster and leaf nodes, both consoles of S3 services.
LISTENER = 9999
PORTS = [22, 4222, 6222, 7422, 8222, 9000, 9001, LISTENER]
# No machine of the inventory has it.
STRANGER = "10.99.0.1"
EXPOSURE = 2.0
RULE = re.compile(r"ip saddr (?P<cidr>\S+) tcp dport (?P<port>\d+) accept")


class Checks:
    """Runs checks, one after the other, and counts."""

    def __init__(self) -> None:
        self.passed = self.failed = self.skipped = 0

    def check(self, name: str, run: Callable[..., None], *arguments: object) -> None:
        try:
            run(*arguments)
        except Skipped as reason:
            self.skipped += 1
            log(f"skipped: {name}: {reason}")
        except (CheckFailed, MachineError, ConsoleError) as error:
            self.failed += 1
            log(f"FAILED: {name}: {error}")
        else:
            self.passed += 1
            log(f"passed: {name}")


def preset_units(lab: Lab, machine: Machine) -> list[str]:
    """The units that start at boot."""
    preset = lab.rendered(machine.name) / "etc/systemd/system-preset/10-cim.preset"
    return re.findall(r"^enable (\S+)", preset.read_text(), re.MULTILINE)


def units_are_active(lab: Lab, machine: Machine) -> None:
    for unit in preset_units(lab, machine):
        machine.wait_for_unit(unit, timeout=240)


def nothing_failed(machine: Machine) -> None:
    machine.execute("systemctl is-system-running --wait", timeout=240)
    failed = machine.succeed("systemctl --failed --no-legend --plain --no-pager").strip()
    expect(not failed, f"`systemctl --failed`: {failed}")
    for unit in machine.succeed("systemctl list-units --type=service --no-legend --plain").splitlines():
        name = unit.split()[0]
        restarts = machine.get_unit_property(name, "NRestarts")
        expect(restarts in ("", "0") or name == "cim-console.service", f"`{name}` was restarted {restarts} times")


def hardening(lab: Lab, machine: Machine) -> None:
    """systemd's own score, of the unit as this systemd understood it."""
    rendered = sorted(path.name for path in (lab.rendered(machine.name) / "etc/systemd/system").glob("*.service"))
    expect(bool(rendered), "no unit is rendered")
    for unit in rendered:
        said = machine.succeed(f"systemd-analyze security --no-pager {unit} | tail -n 1")
        match = re.search(r"exposure level for \S+: ([0-9.]+)", said)
        expect(match is not None, f"`systemd-analyze security {unit}` says: {said.strip()}")
        assert match is not None
        expect(float(match[1]) <= EXPOSURE, f"`{unit}` scores {match[1]}, more than {EXPOSURE}")


def verified(lab: Lab, machine: Machine) -> None:
    """A directive that this systemd does not know is ignored by it, and only said here."""
    units = " ".join(str(p.name) for p in (lab.rendered(machine.name) / "etc/systemd/system").glob("*.service"))
    status, said = machine.execute(f"systemd-analyze verify --man=no {units} 2>&1", timeout=120)
    expect(status == 0 and not said.strip(), said.strip())


def storage_manager_runs(host: Machine) -> None:
    host.succeed("systemctl start cim-storage-manager.service", timeout=180)
    host.wait_for_unit("cim-storage-manager.service", timeout=60)
    host.wait_until_succeeds(
        "journalctl --no-pager --unit=cim-storage-manager.service | grep -q 'tiering'", timeout=60
    )
    said = host.execute("cim-run-storage-manager restore --all --from nas --json", timeout=120)
    expect(said[0] == 0, f"`cim-run-storage-manager restore` ended with status {said[0]}: {said[1]}")


def allowed(lab: Lab, target: str, source_address: str) -> set[int]:
    """The ports of a machine that its rendered firewall opens to an address."""
    rules = RULE.finditer((lab.rendered(target) / "etc/nftables.conf").read_text())
    source = ipaddress.ip_address(source_address)
    return {int(rule["port"]) for rule in rules if source in ipaddress.ip_network(rule["cidr"])}


def open_ports(source: Machine, address: str, options: str = "") -> set[int]:
    """What a machine can connect to. All at once: a port that is filtered takes the whole time."""
    probes = " ".join(f"(nc {options} -z -w 6 {address} {port} && echo {port}) &" for port in PORTS)
    return {int(port) for port in source.succeed(f"{probes} wait", timeout=60).split()}


def listening(machine: Machine) -> set[int]:
    """The TCP ports with a listener that is not on the loopback interface."""
    said = machine.succeed("ss --no-header --listening --tcp --numeric")
    ends = [line.split()[3] for line in said.splitlines()]
    return {int(end.rpartition(":")[2]) for end in ends if not end.startswith(("127.", "[::1]"))}


def reachable(lab: Lab, source: Machine, target: Machine) -> None:
    host, peer = lab.inventory["hosts"][target.name], lab.inventory["hosts"][source.name]
    wanted = allowed(lab, target.name, peer["address"]) & listening(target)
    seen = open_ports(source, host["address"])
    expect(seen == wanted, f"`{source.name}` reaches ports {sorted(seen)}, the core says {sorted(wanted)}")


def stranger(lab: Lab, source: Machine, target: Machine) -> None:
    """Somebody in the same LAN whose address the core does not know, with a way there and back.

    Twice: at the firewall, and, once that is open to him, at the unit's own filter. That something of the
    machine's then answers him shows that he was kept out and not merely lost.
    """
    hosts = lab.inventory["hosts"]
    address = hosts[target.name]["address"]
    source.succeed(f"ip address add {STRANGER}/32 dev lo")
    target.succeed(
        f"ip route add {STRANGER}/32 via {hosts[source.name]['address']}",
        # A listener that no unit confines.
        f"systemd-run --quiet --unit=listener nc -k -l {LISTENER}",
    )
    try:
        target.wait_for_open_port(LISTENER, timeout=30)
        seen = open_ports(source, address, f"-s {STRANGER}")
        expect(not seen, f"{STRANGER} gets through the firewall to ports {sorted(seen)}")
        target.succeed(f"nft insert rule inet cim input ip saddr {STRANGER} accept")
        seen = open_ports(source, address, f"-s {STRANGER}")
        expect(seen == {LISTENER}, f"with the firewall open, {STRANGER} reaches ports {sorted(seen)}")
    finally:
        target.execute(f"systemctl reload nftables.service; systemctl stop listener; ip route del {STRANGER}/32")
        source.execute(f"ip address del {STRANGER}/32 dev lo")


def run(image: Path, logs: Path, service: str) -> Checks:
    checks = Checks()
    with Lab(image, logs, service) as lab:
        machines = list(lab.machines.values())
        host, nas = lab.machines["host"], lab.machines["nas"]
        for machine in machines:
            machine.start()
        for machine in machines:
            checks.check(f"{machine.name}: its units are active", units_are_active, lab, machine)
        checks.check("host: the storage manager starts, and runs a restore", storage_manager_runs, host)
        for machine in machines:
            checks.check(f"{machine.name}: no unit failed or was restarted", nothing_failed, machine)
            checks.check(f"{machine.name}: systemd understands its units", verified, lab, machine)
            checks.check(f"{machine.name}: its units score {EXPOSURE} or better", hardening, lab, machine)
            for other in machines:
                if other is not machine:
                    name = f"{machine.name}: reachable from {other.name} only where the core says"
                    checks.check(name, reachable, lab, other, machine)
        checks.check("host: reachable from no other address", stranger, lab, nas, host)
        checks.check("NATS: nobody without a key", refused_without_a_key, lab)
        checks.check("NATS: a component is refused on another's subjects", refused_on_anothers_subjects, lab)
        checks.check("host: everything is back after a power cut", after_power_cut, lab, host)
    return checks


def after_power_cut(lab: Lab, host: Machine) -> None:
    host.crash()
    host.start()
    units_are_active(lab, host)
    nothing_failed(host)


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, interrupt)
    logs = ROOT / "runs" / f"vm-{time.strftime('%Y%m%d-%H%M%S')}-check-units"
    try:
        image, service = arguments
        checks = run(Path(image), logs, service)
    except KeyboardInterrupt:
        return INTERRUPTED
    except (LabError, MachineError, ConsoleError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        log(f"error: {error}")
        return LAB_FAILED
    if checks.failed:
        log(f"the machines' consoles: {logs}")
    else:
        shutil.rmtree(logs)
    print(f"{checks.passed} passed, {checks.failed} failed, {checks.skipped} skipped")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
