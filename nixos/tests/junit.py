"""A scenario's JSON report as a JUnit file, which CI systems show."""

import sys
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

# Counts of the oracle that must be 0; docs/scenarios.md says what each means.
DEFECTS = ("lost", "duplicated", "reordered", "changed", "phantom", "consumers_wrong", "streams_wrong")


def junit(report: Mapping[str, Any]) -> str:
    """One test case for the verdict, each step, each expectation and each kind of defect."""
    cases: list[tuple[str, float, str | None]] = [
        (step["what"], step["end"] - step["start"], None if step["outcome"] == "done" else step["outcome"])
        for step in report["steps"]
    ]
    for expected in report["expectations"]:
        broken = None if expected["met"] else f"{expected['measured']} is beyond {expected['bound']}"
        cases.append((f"expect {expected['what']}", 0.0, broken))
    for defect in DEFECTS:
        count = report["oracle"].get(defect, 0)
        cases.append((f"oracle: {defect}", 0.0, f"{count} {defect}" if count else None))
    reason = report.get("reason") or report["verdict"]
    cases.append(("verdict", 0.0, None if report["verdict"] != "failed" else reason))

    suite = ElementTree.Element(
        "testsuite",
        name=f"{report['scenario']} on {report['substrate']}",
        timestamp=report["started_at"],
        time=f"{report['seconds']:.3f}",
        tests=str(len(cases)),
        failures=str(sum(failure is not None for _, _, failure in cases)),
        skipped=str(int(report["verdict"] == "skipped")),
    )
    for name, seconds, failure in cases:
        case = ElementTree.SubElement(suite, "testcase", name=name, classname=report["scenario"], time=f"{seconds:.3f}")
        if failure is not None:
            ElementTree.SubElement(case, "failure", message=failure)
        if name == "verdict" and report["verdict"] == "skipped":
            ElementTree.SubElement(case, "skipped", message=reason)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


if __name__ == "__main__":
    import json

    sys.stdout.write(junit(json.load(sys.stdin)))
