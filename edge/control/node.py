"""What is the state of this node?  The facts that control holds, in one place, for whoever shows them.

Everything is read when asked: nothing here is a copy that could be stale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from edge.control.board_watch import read_targets
from edge.telemetry.meters import NodeFacts

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.balance.report import TargetReport
    from edge.control.publish import Publisher
    from edge.native import Board
    from edge.terms.snapshot import Snapshot


class PoolState(Struct, frozen=True):
    """How many of a route's targets could take a request now."""

    usable: int
    of: int


class Readiness(Struct, frozen=True):
    """May a load balancer in front send requests here?  ``pools`` is for people: it does not decide.

    Ready means that requests are accepted and answered, be it with an honest 503 and its Retry-After. A node whose
    upstreams are down stays ready: taking it away would not bring them back, all nodes would go at once, and the
    routes that still work would go with them.
    """

    ready: bool
    why: str
    workers: int  # that accept now
    of: int
    snapshot: int
    pools: dict[str, PoolState]


class Node:
    """The node as control sees it.

    Args:
        board: shared state.
        publisher: the current Snapshot, and what each worker serves by.
        workers: columns of the Board in use.
        restarts: returns how often each process was started again.
    """

    def __init__(
        self, board: Board, publisher: Publisher, workers: int, restarts: Callable[[], dict[str, int]]
    ) -> None:
        self.board = board
        self._publisher = publisher
        self._workers = workers
        self._restarts = restarts

    @property
    def snapshot(self) -> Snapshot:
        """The Snapshot that control publishes."""
        return self._publisher.snapshot

    def facts(self) -> NodeFacts:
        """Return what the metrics need beside the Board."""
        serving = {index: status.version for index, status in self._publisher.serving.items()}
        return NodeFacts(self._workers, serving, self._restarts())

    def targets(self, now_ns: int) -> dict[str, TargetReport]:
        """Return a report per target id."""
        return read_targets(self.board, self.snapshot, now_ns)

    def readiness(self, now_ns: int) -> Readiness:
        """Return whether requests are accepted here, and how each pool stands."""
        accepting = sum(not status.draining for status in self._publisher.serving.values())
        reports = self.targets(now_ns)
        snapshot = self.snapshot
        pools = {}
        for route in snapshot.routes:
            members = [reports[snapshot.targets[member.target].id] for member in route.members]
            pools[route.name] = PoolState(sum(member.usable for member in members), len(members))
        if accepting:
            why = ""
        elif self._publisher.serving:
            why = "every worker is draining"
        else:
            why = "no worker serves yet"
        return Readiness(accepting > 0, why, accepting, self._workers, snapshot.version, pools)
