"""A whole history of 400 days and 200 series stays under 2 GB, and a month's report of it under 5 s."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from edge.incidents.availability import Asked, report
from edge.incidents.database import Database, Wanted
from edge.incidents.minutes import Minute, Series
from edge.incidents.packing import HOUR, pack_hour

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DAYS, MODELS, ALIASES = 400, 100, 100
BEGIN = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) // 60
MONTH = (2026, 10)
HOURS_OF_MONTH = 31 * 24


def busy_hour(chance: random.Random) -> bytes:
    """Return an hour in which each minute has some dozens of requests, and one minute in five a failure."""
    minutes = []
    for at in range(HOUR):
        requests = chance.randrange(10, 60)
        buckets = [min(max(int(chance.gauss(12, 1.5)), 0), 23) for _ in range(requests)]
        first = {place: buckets.count(place) for place in set(buckets)}
        failures = {"fail_status": 1} if chance.random() < 0.2 else {}
        output = chance.randrange(9_000)
        minutes.append(
            Minute(at, requests, failures, first, first, chance.randrange(20_000), output, output * 600, 0.0)
        )
    return pack_hour(minutes)


@pytest.mark.prove
@pytest.mark.alone
@pytest.mark.timeout(600)
def test_a_year_of_hundreds_of_series_as_it_stands_on_a_disk(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Every hour of every series is written as it is packed in life; the largest possible report reads half of them."""
    chance = random.Random(7)
    hours = [busy_hour(chance) for _ in range(500)]
    path = tmp_path / "h.db"
    db = Database(path)
    nothing = Minute(BEGIN - 10**6, 0, {}, {}, {}, 0, 0, 0, 0.0)
    series = [Series("target", "p", f"m{number}", "eu") for number in range(MODELS)]
    series += [Series("route", "", f"alias-{number}", "eu") for number in range(ALIASES)]
    db.write([(one, nothing) for one in series])
    numbers = [number for number, _ in db.series(Wanted(0, 1))]
    db._db.execute("BEGIN")
    for hour in range(DAYS * 24):
        rows = [(number, BEGIN + hour * HOUR, chance.choice(hours)) for number in numbers]
        db._db.executemany("INSERT INTO hours VALUES (?, ?, ?)", rows)
    db._db.execute("COMMIT")
    db.close()
    size = path.stat().st_size
    db = Database(path)
    took_s = {}
    for model, aliases in (("m3", ["alias-1"]), ("", [f"alias-{number}" for number in range(ALIASES)])):
        began = time.process_time()  # others may use the machine
        part = report(db, Asked("p", model, "", MONTH, 0.999), aliases, 2e9)
        took_s[model or "all"] = round(time.process_time() - began, 2)
        assert part.alone.requests > 30 * 60 * HOURS_OF_MONTH * (1 if model else MODELS)
    db.close()
    record_property("gigabytes", round(size / 1e9, 2))
    record_property("seconds", took_s)
    assert size < 2e9
    assert max(took_s.values()) < 5
