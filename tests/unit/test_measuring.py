"""Do all readings that are sent say the same of when the counters were 0?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from plans import snapshot

from edge.control import measuring
from edge.control.measuring import Measuring
from edge.control.node import Node
from edge.control.publish import Publisher
from edge.native import Board
from edge.routing.planner import capacities

if TYPE_CHECKING:
    from edge.telemetry.measured import Moment

pytestmark = pytest.mark.timeout(30)

S = 1_000_000_000


class Taken:
    """What was offered."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []

    def offer(self, moment: Moment) -> None:
        """Keep it."""
        self.moments.append(moment)


async def test_the_start_moves_only_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """To a collector another start is a reset: a clock that is slewed a little makes none, one that jumps does."""
    plan = snapshot()
    board = Board.create(*capacities(plan), 1, 5 * S)
    node = Node(board, Publisher(plan), 1, dict)
    sends, exported = Measuring({}), Taken()
    now: dict[str, Any] = {"now_ns": 10 * S, "wall": 1_000.0}
    monkeypatch.setattr(measuring.clock, "now_ns", lambda: now["now_ns"])
    monkeypatch.setattr(measuring.clock, "wall", lambda: now["wall"])
    sends._wanted = sends._known = None
    sends._export = exported  # type: ignore[assignment]
    for slew in (0.0, 0.000_4, -0.02, 3_600.0, 3_600.001):
        now["now_ns"] += 15 * S
        now["wall"] = now["now_ns"] / S + 990.0 + slew
        sends._wanted = (None, 15 * S)  # type: ignore[assignment]
        assert await sends._turn(node) == 15.0
    starts = [moment.began_ns for moment in exported.moments]
    assert starts[0] == pytest.approx(995 * S, abs=1_000)
    assert starts[0] == starts[1] == starts[2]
    assert starts[3] == starts[4] == pytest.approx(starts[0] + 3_600 * S, abs=1_000)
