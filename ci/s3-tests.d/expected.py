"""The expected results of the suite: the tests that pass, and those that are not claimed, with the reason."""

import dataclasses
import fnmatch
import pathlib
from collections.abc import Iterable, Mapping

PASSING = "passing.txt"
UNCLAIMED = "unclaimed.txt"


class Malformed(Exception):
    """A list that cannot be read."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """Tests that are not claimed: by a glob over their names, or by `@` and a marker."""

    pattern: str
    reason: str

    def matches(self, name: str, markers: Iterable[str]) -> bool:
        if self.pattern.startswith("@"):
            return self.pattern[1:] in markers
        return fnmatch.fnmatchcase(name, self.pattern)


@dataclasses.dataclass(frozen=True)
class Expected:
    passing: frozenset[str]
    rules: tuple[Rule, ...]

    @staticmethod
    def read(folder: pathlib.Path) -> "Expected":
        passing = frozenset(lines(folder / PASSING))
        return Expected(passing, tuple(rule(line) for line in lines(folder / UNCLAIMED)))

    def unclaimed(self, name: str, markers: Iterable[str]) -> Rule | None:
        """Returns the rule by which a test is not claimed. A test that is listed as passing is always claimed."""
        if name in self.passing:
            return None
        markers = tuple(markers)
        return next((rule for rule in self.rules if rule.matches(name, markers)), None)

    def idle(self, tests: Mapping[str, Iterable[str]]) -> list[Rule]:
        """Returns rules that match no test: the suite has changed, or they were never right."""
        used = {self.unclaimed(name, markers) for name, markers in tests.items()}
        return [rule for rule in self.rules if rule not in used]


def lines(path: pathlib.Path) -> list[str]:
    """Returns the lines of a list, without comments."""
    if not path.exists():
        return []
    stripped = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


def rule(line: str) -> Rule:
    pattern, _, reason = line.partition(" ")
    if not reason.strip():
        raise Malformed(f"`{line}` in {UNCLAIMED} has no reason: write one after the pattern")
    return Rule(pattern, reason.strip())


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The differences between a whole run and the list."""

    regressed: list[str]
    missing: list[str]
    unexplained: list[str]
    newly: list[str]

    @property
    def holds(self) -> bool:
        return not (self.regressed or self.missing or self.unexplained)


def judge(expected: Expected, outcomes: Mapping[str, str], selected: bool) -> Verdict:
    """Compares outcomes with the list.

    `outcomes` has `passed`, `failed` or `skipped` by test; `selected` is whether only some ran.
    """
    by = {
        outcome: {name for name, got in outcomes.items() if got == outcome} for outcome in ("passed", "failed", "skipped")
    }
    passing = expected.passing
    return Verdict(
        regressed=sorted(passing & (by["failed"] | by["skipped"])),
        missing=[] if selected else sorted(passing - outcomes.keys()),
        unexplained=sorted(by["failed"] - passing),
        newly=sorted(by["passed"] - passing),
    )
