"""A plugin of pytest: runs the claimed tests of a suite, and compares their outcomes with the lists.

The environment names the folder of the lists (CIM_S3_LISTS) and the file for the outcomes
(CIM_S3_OUTCOMES), and says whether to run unclaimed tests too (CIM_S3_ALL=1), and whether only some
tests were asked for (CIM_S3_SELECTED=1).
"""

import json
import os
import pathlib
from typing import Any

from expected import Expected, judge

LISTS = pathlib.Path(os.environ["CIM_S3_LISTS"])
ALL = os.environ.get("CIM_S3_ALL") == "1"
SELECTED = os.environ.get("CIM_S3_SELECTED") == "1"

EXPECTED = Expected.read(LISTS)
OUTCOMES: dict[str, str] = {}
WHY: dict[str, str] = {}
REASONS: dict[str, str] = {}
IDLE: list[str] = []


def name_of(item: Any) -> str:
    return f"{pathlib.Path(item.path).stem}::{item.name}"


def pytest_collection_modifyitems(config: Any, items: list[Any]) -> None:
    tests = {name_of(item): [mark.name for mark in item.iter_markers()] for item in items}
    IDLE.extend(rule.pattern for rule in EXPECTED.idle(tests))
    kept: list[Any] = []
    left: list[Any] = []
    for item in items:
        name = name_of(item)
        rule = EXPECTED.unclaimed(name, tests[name])
        if rule:
            REASONS[name] = rule.reason
        (left if rule and not ALL else kept).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = kept


def pytest_runtest_logreport(report: Any) -> None:
    module, _, test = report.nodeid.rpartition("::")
    name = f"{pathlib.Path(module).stem}::{test}"
    if report.failed:
        OUTCOMES[name] = "failed"
        crash = getattr(report.longrepr, "reprcrash", None)
        WHY.setdefault(name, f"{report.when}: {crash.message if crash else report.longrepr}")
    elif report.skipped:
        OUTCOMES.setdefault(name, "skipped")
        WHY.setdefault(name, str(report.longrepr))
    elif report.when == "call":
        OUTCOMES.setdefault(name, "passed")


def pytest_sessionfinish(session: Any) -> None:
    rows = [
        {"test": name, "outcome": outcome, "why": WHY.get(name), "unclaimed": REASONS.get(name)}
        for name, outcome in sorted(OUTCOMES.items())
    ]
    document = {"tests": rows, "not_run": {name: why for name, why in REASONS.items() if name not in OUTCOMES}}
    pathlib.Path(os.environ["CIM_S3_OUTCOMES"]).write_text(json.dumps(document, indent=1), encoding="utf-8")
    claimed = {name: outcome for name, outcome in OUTCOMES.items() if name not in REASONS or outcome == "passed"}
    verdict = judge(EXPECTED, claimed, SELECTED)
    session.exitstatus = 0 if verdict.holds else 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    claimed = {name: outcome for name, outcome in OUTCOMES.items() if name not in REASONS or outcome == "passed"}
    verdict = judge(EXPECTED, claimed, SELECTED)

    def section(title: str, names: list[str]) -> None:
        if names:
            terminalreporter.write_line(f"{title}:")
            for name in names:
                first = WHY.get(name, "").splitlines()
                terminalreporter.write_line(f"  {name}" + (f": {first[0]}" if first else ""))

    section("passed until now, and does not any more", verdict.regressed)
    section("in the list of those that pass, and not in the suite", verdict.missing)
    section("fails, and is neither claimed nor listed as unclaimed", verdict.unexplained)
    section("passes and is not in the list yet (`ci/s3-tests --accept` adds it)", verdict.newly)
    if not SELECTED:
        section("lines of unclaimed.txt that match no test", IDLE)
