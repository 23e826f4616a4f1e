"""The availability report adds up the history: alone, with edge, budget, credits and evidence."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from edge.incidents import incident as incidents
from edge.incidents.availability import Asked, month_bounds, parts, percent, report, terms
from edge.incidents.database import Database, Wanted
from edge.incidents.incident import Incident
from edge.incidents.minutes import Minute, Series
from edge.incidents.packing import HOUR, pack_hour
from edge.incidents.report_page import html

if TYPE_CHECKING:
    from pathlib import Path

MAY = (2026, 5)
START, END = month_bounds(MAY)
FIRST = START // 60


def minute(at: int, requests: int, failed: int = 0, *, own: int = 0, open_s: float = 0.0, first: int = 10) -> Minute:
    """Return a minute of May with failures of the target and of its callers."""
    failures = {name: count for name, count in (("fail_status", failed), ("client_fault", own)) if count}
    return Minute(FIRST + at, requests, failures, {first: requests - failed}, {}, 1, 1, 1_000_000_000, open_s)


def asked(**given: object) -> Asked:
    """Ask for deepseek in May."""
    facts = {"provider": "deepseek", "model": "", "region": "", "month": MAY, "slo": 0.999, **given}
    return Asked(**facts)  # type: ignore[arg-type]


@pytest.fixture
def db(tmp_path: Path) -> Database:
    """A month with one bad hour of the provider, which the route's callers did not notice much."""
    found = Database(tmp_path / "h.db")
    target, route = Series("target", "deepseek", "chat", "eu"), Series("route", "", "chat", "eu")
    other = Series("target", "deepseek", "coder", "us")
    rows = [(target, minute(at, 100, own=10)) for at in range(50)]
    rows += [(target, minute(at, 10, 10, open_s=60.0)) for at in range(100, 160)]
    rows += [(route, minute(at, 100, 1 if at == 100 else 0, first=12)) for at in range(200)]
    rows += [(other, minute(1, 50)), (Series("route", "", "else", "eu"), minute(1, 50, 50))]
    rows += [
        (target, Minute(FIRST - 1, 9, {}, {}, {}, 0, 0, 0, 0.0)),
        (target, Minute(END // 60, 9, {}, {}, {}, 0, 0, 0, 0.0)),
    ]
    one = Incident(
        "i-1",
        "provider:deepseek",
        START + 6000.0,
        START + 5900.0,
        ["target_down"],
        recovered=START + 9600.0,
        closed=START + 9700.0,
    )
    two = Incident("i-2", "provider:openai", START + 6000.0, START + 5900.0, closed=START + 9700.0)
    found.write(rows, (), [(each.id, each.opened, each.closed, incidents.encode(each)) for each in (one, two)])
    return found


@pytest.mark.parametrize("packed", [False, True])
def test_both_sides_add_up(db: Database, *, packed: bool) -> None:
    """Requests, failures, availability, minutes of outage and the budget are exact, packed or not."""
    if packed:
        db.tidy(FIRST + 10_000, 10**9)
    found = report(db, asked(model="chat", terms=terms("99.9=10,99=25")), {"chat"}, END + 1.0)
    assert (found.alone.requests, found.alone.failed, found.alone.outage_minutes) == (50 * 90 + 600, 600, 60)
    assert found.alone.availability == pytest.approx(1 - 600 / 5100)
    assert found.alone.failures == {"client_fault": 500, "fail_status": 600}
    assert (found.with_edge.requests, found.with_edge.failed, found.with_edge.outage_minutes) == (20_000, 1, 0)
    assert found.with_edge.budget_burnt == pytest.approx(0.05)
    assert (found.minutes_out, found.complete) == (60.0, True)
    assert (found.credit_share, found.credit_usd) == (0.25, pytest.approx(110 * 0.25))
    assert [each["id"] for each in found.incidents] == ["i-1"]
    assert (found.alone.first_s[0], found.with_edge.first_s[0]) == (0.2, 0.5)


def test_filters_and_an_empty_month(db: Database) -> None:
    """Model and region choose series; a month without data has no availability, and is not called perfect."""
    assert report(db, asked(region="us"), (), START).alone.requests == 50
    empty = report(db, asked(month=(2026, 4), provider="openai"), (), START)
    assert (empty.alone.availability, empty.alone.budget_burnt, empty.credit_usd) == (None, None, 0.0)
    assert report(db, asked(), (), START).complete is False


def test_each_capability_has_its_own_availability(db: Database) -> None:
    """Requests that need vision fail alone and are answered elsewhere: both sides say so, and a report of it alone."""
    target, route = Series("target", "deepseek", "chat", "eu", "vision"), Series("route", "", "chat", "eu", "vision")
    db.write([(target, minute(300, 40, 40)), (route, minute(300, 40))])
    found = report(db, asked(model="chat"), {"chat"}, END + 1.0)
    assert found.alone.requests == 5140
    alone, edge = found.by_capability["vision"]
    assert (alone.requests, alone.failed, alone.availability) == (40, 40, 0.0)
    assert (edge.requests, edge.failed, edge.availability) == (40, 0, 1.0)
    assert found.by_capability[""][0].requests == 5100
    assert ("vision", "0.0000% of 40", "100.0000% of 40") in parts(found)
    assert "100.0000% of 40" in html(found)
    vision = report(db, asked(model="chat", capability="vision"), {"chat"}, END + 1.0)
    assert (vision.alone.requests, vision.with_edge.requests, set(vision.by_capability)) == (40, 40, {"vision"})
    assert parts(report(db, asked(region="us"), (), START)) == []


def test_terms_are_percentages() -> None:
    """Terms read as availability=credit; anything else is refused."""
    assert terms("99.9%=10%, 99=25") == ((0.999, 0.1), (0.99, 0.25))
    assert terms("") == ()
    for text in ("x", "99", "101=5", "99=1=2"):
        with pytest.raises(ValueError):  # the text is Python's
            terms(text)
    assert percent("99.95%") == 0.9995


def test_the_document_stands_alone(db: Database) -> None:
    """The HTML has both sides and the evidence, escapes names, and asks nothing of anybody."""
    found = report(db, asked(model="chat"), {"chat", "<b>"}, END + 1.0)
    text = html(found)
    assert "88.2353%" in text
    assert "i-1" in text
    assert "&lt;b&gt;" in text
    for word in ("<b>", "<script", "http://", "https://", "src="):
        assert word not in text


def test_a_month_of_many_models_is_read_in_seconds(tmp_path: Path) -> None:
    """A report of one model among many takes time for its own rows only: more series cost little."""
    db = Database(tmp_path / "h.db")
    body = pack_hour([minute(at, 5) for at in range(HOUR)])
    for name in map(str, range(20)):
        db.write([(Series("target", "p", name, "eu"), minute(-60, 0))])
    rows = [(number, FIRST + hour * HOUR, body) for number, _ in db.series(Wanted(0, 1)) for hour in range(24 * 30)]
    db._db.executemany("INSERT INTO hours VALUES (?, ?, ?)", rows)

    def took(model: str) -> float:
        began = time.process_time()
        found = report(db, asked(provider="p", model=model), (), END + 1.0)
        assert found.alone.requests == 5 * 60 * 24 * 30 * (1 if model else 20)
        return time.process_time() - began

    one, everything = min(took("3") for _ in range(3)), took("")
    assert everything > 3 * one
