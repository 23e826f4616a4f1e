"""All exported readings agree about when the counters were 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from plans import snapshot

from edge.control import measuring
from edge.control.measuring import Measuring
from edge.control.node import Node
from edge.control.publish import Publisher
from edge.native import SharedState
from edge.routing.planner import capacities

if TYPE_CHECKING:
    from edge.telemetry.measured import Moment

pytestmark = pytest.mark.timeout(30)

S = 1_000_000_000


class Taken:
    """The values that were offered."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []

    def offer(self, moment: Moment) -> None:
        """Keep a value."""
        self.moments.append(moment)


async def test_the_start_stays_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new start time means a reset to a collector, so the start moves only if it would be in the future."""
    plan = snapshot()
    shared_state = SharedState.create(*capacities(plan), 1, 5 * S)
    node = Node(shared_state, Publisher(plan), 1, dict)
    sends, exported = Measuring({}), Taken()
    now: dict[str, Any] = {"now_ns": 10 * S, "wall": 1_000.0}
    monkeypatch.setattr(measuring.clock, "now_ns", lambda: now["now_ns"])
    monkeypatch.setattr(measuring.clock, "wall", lambda: now["wall"])
    sends._wanted = sends._known = None
    sends._export = exported  # type: ignore[assignment]
    for slew in (0.0, 0.000_4, -0.02, 3_600.0, 3_600.001, -5.0, -3_600.0, 0.0):
        now["now_ns"] += 15 * S
        now["wall"] = now["now_ns"] / S + 9_990.0 + slew
        sends._wanted = (None, 15 * S)  # type: ignore[assignment]
        assert await sends._turn(node) == 15.0
    starts = [moment.started_ns for moment in exported.moments]
    assert starts[0] == pytest.approx(9_995 * S, abs=10_000)
    assert starts[:6] == [starts[0]] * 6
    assert starts[6] == starts[7] == pytest.approx(starts[0] - 3_600 * S, abs=10_000)
    assert all(moment.started_ns <= moment.now_ns for moment in exported.moments)
