"""What `make interop` makes of the results of its suites."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop.report import Case, Deviation, Outcome, judge, markdown, read_deviations

FILE = Path(__file__).parents[1] / "interop" / "deviations.yaml"
GOOD = Case("a", passed=True, times=3)
OURS = Case("b one", passed=False, detail="reset")
THEIRS = Case("c", passed=False, direct=False)
KNOWN = Deviation("x", "b *", "as RFC 9113 wants it")


def test_a_failure_that_nobody_knows_fails_the_suite() -> None:
    """A case that fails through edge is new, unless it fails without edge too."""
    outcome = judge("x", [GOOD, OURS, THEIRS], [])
    assert (outcome.passed, outcome.total, outcome.without) == (3, 5, 1)
    assert (outcome.new, outcome.known, outcome.holds) == ([OURS], [], False)


def test_a_known_deviation_holds_until_its_case_passes() -> None:
    """A failure that the file names holds; an entry whose case passes, or is not there, does not."""
    assert judge("x", [GOOD, OURS], [KNOWN]).holds
    assert not judge("y", [GOOD, OURS], [KNOWN]).holds
    passing = judge("x", [GOOD], [KNOWN])
    assert (passing.gone, passing.holds) == ([KNOWN], False)


def test_a_suite_that_ran_nothing_does_not_hold() -> None:
    """No case is no success."""
    assert not judge("x", [], []).holds


def test_the_file_of_deviations_gives_reasons(tmp_path: Path) -> None:
    """Each entry has a suite, a case and a reason; one without is refused by its number."""
    assert all(len(deviation.reason) > 20 for deviation in read_deviations(FILE))
    (tmp_path / "d.yaml").write_text("- {suite: x, case: b}\n")
    with pytest.raises(ValueError, match=r"d\.yaml: entry 1 needs suite, case and reason"):
        read_deviations(tmp_path / "d.yaml")


def test_the_table_tells_what_was_skipped() -> None:
    """A suite that could not run stands in the table with what is missing."""
    table = markdown([judge("x", [GOOD, OURS], [KNOWN]), Outcome("y", skipped="no go")])
    assert "| x | 3 | 4 | 0 | 1 | 0 |" in table
    assert "| y | skipped: no go |" in table
