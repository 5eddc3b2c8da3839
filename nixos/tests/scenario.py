"""Drives one scenario and keeps its results, whether it passed or not."""

from typing import Any

import driver

OPERATOR = "operator"
DIRECTORY = "/var/lib/cim-scenario"
# Files to keep, by the names under which `run_scenario` and the harness leave them there.
KEPT = {"report": "report.json", "junit.xml": "junit.xml", "progress": "progress"}
# The harness's status for a lab that could not be set up, and for a scenario that did not end.
NO_END = 3


def run(machines: dict[str, Any], name: str, lab: dict[str, Any], flags: list[str]) -> None:
    operator = machines[OPERATOR]
    others = [machine for machine in machines.values() if machine.name != OPERATOR]
    operator.start()
    operator.wait_for_unit("multi-user.target")
    reports = ["--json", "--junit", f"{DIRECTORY}/junit.xml"]
    try:
        status = driver.run_scenario(operator, others, name, lab, [*flags, *reports], directory=DIRECTORY)
        ended = f"scenario {name} ended with status {status}"
    except driver.DriverError as error:
        status = NO_END
        ended = f"scenario {name} came to no end: {error}"
    print(ended)
    keep(operator, others, status, ended)


def keep(operator: Any, others: list[Any], status: int, ended: str) -> None:
    """Writes the results beside the test's other ones, and the journals of the running machines."""
    kept = operator.out_dir
    for file, name in KEPT.items():
        (kept / name).write_text(operator.succeed(f"cat {DIRECTORY}/{file} 2>/dev/null || true"))
    with (kept / "progress").open("a") as progress:
        progress.write(f"{ended}\n")
    for machine in others:
        if machine.is_up():
            (kept / f"{machine.name}.journal").write_text(machine.succeed("journalctl --no-pager --boot"))
    # Last: once the status exists, all other files do.
    (kept / "status").write_text(f"{status}\n")
