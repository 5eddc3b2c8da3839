"""Drives one scenario and keeps what it leaves, whether it passed or not."""

import json
from typing import Any

import driver
import junit

OPERATOR = "operator"
# What `run_scenario` leaves there on the operator's machine is what is kept.
DIRECTORY = "/var/lib/cim-scenario"


def run(machines: dict[str, Any], name: str, lab: dict[str, Any], flags: list[str]) -> None:
    operator = machines[OPERATOR]
    others = [machine for machine in machines.values() if machine.name != OPERATOR]
    operator.start()
    operator.wait_for_unit("multi-user.target")
    try:
        status = driver.run_scenario(operator, others, name, lab, [*flags, "--json"], directory=DIRECTORY)
        print(f"scenario {name} ended with status {status}")
    finally:
        keep(operator, others)


def keep(operator: Any, others: list[Any]) -> None:
    """Writes the report in both forms, the progress and the status, and the journals of what is still up."""
    kept = operator.out_dir
    text = {file: operator.succeed(f"cat {DIRECTORY}/{file} || true") for file in ("report", "progress", "status")}
    (kept / "progress").write_text(text["progress"])
    # Without a status the harness never ended, which is not the same as a scenario that failed.
    (kept / "status").write_text(text["status"] or "3\n")
    (kept / "report.json").write_text(text["report"])
    try:
        (kept / "junit.xml").write_text(junit.junit(json.loads(text["report"])))
    except (KeyError, ValueError) as error:
        print(f"no JUnit file: the report is not whole: {error}")
    for machine in others:
        if machine.is_up():
            (kept / f"{machine.name}.journal").write_text(machine.succeed("journalctl --no-pager --boot"))
