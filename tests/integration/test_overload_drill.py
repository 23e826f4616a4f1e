"""A primary dies before a small backup under load of two classes: a shorter ``edge demo overload``."""

from __future__ import annotations

from edge.sim import overload


async def test_a_dead_primary_does_not_take_the_backup_with_it() -> None:
    """High is always answered; low is answered or told to retry; the backup stays within 1.5 times its idle latency."""
    summary = await overload.run(overload.phases(fast=True), lambda _at_s, _phase: None)
    assert summary.high_failed == 0
    assert summary.low_failed == 0
    assert summary.low_shed == summary.low_shed_with_retry_after > 0
    assert 1 <= summary.retry_after_s[0] <= summary.retry_after_s[1] <= 10
    assert summary.times_unloaded <= 1.5
    assert summary.backup_trips == 0
    assert summary.low_ok > 0
    during = [point for point in summary.series if summary.dead_from_s + 2 < point.at_s <= summary.dead_until_s]
    assert during
    assert all(point.inflight[overload.BACKUP] <= 1.6 * overload.CAPACITY[overload.BACKUP] for point in during)
    last = summary.series[-1]
    assert (last.low_shed, last.failed) == (0, 0), "after the primary's return everybody is answered again"
