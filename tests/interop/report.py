"""What a suite found, compared with the known deviations."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class MissingToolError(Exception):
    """A suite cannot run here; the sentence says what is missing and how to get it."""


@dataclass(frozen=True)
class Case:
    """One case of a suite, through edge.

    Args:
        passed: whether it passed through edge.
        direct: whether it passed without edge; None: it cannot run without.
        detail: why it failed.
        times: how many cases it stands for, where a suite names only those that fail.
    """

    name: str
    passed: bool
    direct: bool | None = None
    detail: str = ""
    times: int = 1

    @property
    def is_ours(self) -> bool:
        """Whether it fails because of edge."""
        return not self.passed and self.direct is not False


@dataclass(frozen=True)
class Deviation:
    """A case of a suite that edge is known to fail, by a pattern of names, and why it is left so."""

    suite: str
    case: str
    reason: str


@dataclass
class Outcome:
    """A suite that ran, or was skipped for a reason."""

    suite: str
    cases: list[Case] = field(default_factory=list)
    skipped: str = ""
    known: list[Case] = field(default_factory=list)
    new: list[Case] = field(default_factory=list)
    gone: list[Deviation] = field(default_factory=list)

    @property
    def passed(self) -> int:
        """How many cases passed."""
        return sum(case.times for case in self.cases if case.passed)

    @property
    def total(self) -> int:
        """How many cases ran."""
        return sum(case.times for case in self.cases)

    @property
    def without(self) -> int:
        """How many fail without edge as well."""
        return sum(not case.passed and case.direct is False for case in self.cases)

    @property
    def holds(self) -> bool:
        """Whether every failure is known, and every known failure still fails."""
        return not self.new and not self.gone


FIELDS: Final = {"suite", "case", "reason"}


def read_deviations(path: Path) -> list[Deviation]:
    """Read the file of known deviations; a ValueError names an entry that is incomplete."""
    found: list[Deviation] = []
    entries: list[dict[str, Any]] = yaml.safe_load(path.read_text()) or []
    for at, entry in enumerate(entries, 1):
        if set(entry) != FIELDS or not all(isinstance(value, str) and value.strip() for value in entry.values()):
            raise ValueError(f"{path.name}: entry {at} needs suite, case and reason, each a text; it has {entry}")
        found.append(Deviation(**entry))
    return found


def judge(suite: str, cases: Iterable[Case], deviations: Iterable[Deviation]) -> Outcome:
    """Compare what a suite found with the deviations that are known of it."""
    outcome = Outcome(suite, list(cases))
    mine = [deviation for deviation in deviations if deviation.suite == suite]
    for case in outcome.cases:
        if case.is_ours:
            known = any(fnmatchcase(case.name, deviation.case) for deviation in mine)
            (outcome.known if known else outcome.new).append(case)
    outcome.gone = [
        deviation for deviation in mine if not any(fnmatchcase(case.name, deviation.case) for case in outcome.known)
    ]
    if not outcome.total:
        outcome.new.append(Case("(the suite)", passed=False, detail="it ran no case"))
    return outcome


def markdown(outcomes: Iterable[Outcome]) -> str:
    """Return the table of suites as Markdown."""
    lines = [
        "| suite | passed | of | fail without edge too | known deviations | new |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in outcomes:
        if one.skipped:
            lines.append(f"| {one.suite} | skipped: {one.skipped} | | | | |")
        else:
            lines.append(
                f"| {one.suite} | {one.passed} | {one.total} | {one.without} | {len(one.known)} | {len(one.new)} |"
            )
    return "\n".join(lines) + "\n"
