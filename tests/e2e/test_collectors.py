"""A collector that is dead, slow or refuses costs traces, which are counted, and neither a request nor its time."""

from __future__ import annotations

import pytest

from bench.macro.collectors import NONE, measure
from edge.telemetry.export import BATCH, QUEUE

pytestmark = pytest.mark.alone


# The full run is ``python -m bench.macro.collectors``. Other work on the machine makes a short run's p99 jump;
# who waited for the slow one would be a hundred times later.
SECONDS = 6.0
AT_MOST = 2.0


async def test_nobody_waits_for_a_collector() -> None:
    """Beside an edge that exports nothing, p99 stays what it was, no answer is wrong, and no record goes missing."""
    kinds = {kind.collector: kind for kind in await measure(SECONDS, count=1000)}
    assert set(kinds) == {NONE, "dead", "well", "slow", "refuses"}
    for name, kind in kinds.items():
        assert kind.wrong == 0, name
        assert kind.ratio <= AT_MOST, kind
    assert kinds["well"].sent > 0
    assert kinds["refuses"].failed > 0
    assert kinds["refuses"].sent == kinds["dead"].sent == 0
    for name in ("dead", "slow"):
        lost = kinds[name].dropped + kinds[name].failed
        # what is neither lost nor sent waits: a full queue, a batch that is on its way, and what workers still hold
        waiting = QUEUE + BATCH + 1024
        assert kinds[name].requests - waiting <= lost + kinds[name].sent <= kinds[name].requests
