"""Drives one scenario and keeps what it leaves, whether it passed or not."""

from typing import Any

import driver

OPERATOR = "operator"
DIRECTORY = "/var/lib/cim-scenario"
# What is kept, by the names under which `run_scenario` and the harness leave it there.
KEPT = {"report": "report.json", "junit.xml": "junit.xml", "progress": "progress", "status": "status"}
# The harness's own word for a lab that could not be set up: there is no status when it never ended.
NO_LAB = "3\n"


def run(machines: dict[str, Any], name: str, lab: dict[str, Any], flags: list[str]) -> None:
    operator = machines[OPERATOR]
    others = [machine for machine in machines.values() if machine.name != OPERATOR]
    operator.start()
    operator.wait_for_unit("multi-user.target")
    reports = ["--json", "--junit", f"{DIRECTORY}/junit.xml"]
    try:
        status = driver.run_scenario(operator, others, name, lab, [*flags, *reports], directory=DIRECTORY)
        print(f"scenario {name} ended with status {status}")
    finally:
        keep(operator, others)


def keep(operator: Any, others: list[Any]) -> None:
    """Writes what there is next to the test's other results, and the journals of the machines that are up."""
    kept = operator.out_dir
    for file, name in KEPT.items():
        (kept / name).write_text(operator.succeed(f"cat {DIRECTORY}/{file} 2>/dev/null || true"))
    if not (kept / "status").read_text():
        (kept / "status").write_text(NO_LAB)
    for machine in others:
        if machine.is_up():
            (kept / f"{machine.name}.journal").write_text(machine.succeed("journalctl --no-pager --boot"))
