"""What is the state of this node?  The facts that control holds, in one place, for whoever shows them.

Everything is read when asked: nothing here is a copy that could be stale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, structs

from edge import clock
from edge.admission.report import credential_report, key_report
from edge.control.ledger import Reloads
from edge.control.recent_traces import RecentTraces
from edge.control.state_watch import read_targets
from edge.native import WorkerCounter
from edge.telemetry import meters
from edge.telemetry.meters import NodeFacts
from edge.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.admission.report import CredentialReport, KeyReport
    from edge.balance.report import TargetReport
    from edge.control.operations import Operations
    from edge.control.publish import Publisher
    from edge.control.recorder import Recorder
    from edge.control.sharing import Sharing
    from edge.control.sharing_deps import SharingState
    from edge.native import SharedState
    from edge.telemetry.exposition import Exemplars
    from edge.telemetry.reading import Reading
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


class NodeState(Struct, frozen=True):
    """What is true of the node as a whole. Times are Unix seconds, 0: never."""

    version: str
    region: str
    node: str
    snapshot: int
    snapshot_created: float
    workers: int
    draining: bool
    config: str  # the file; "" = the environment, or simulated
    started_from: float | None  # when the state on disk that holds was written; None: the file itself holds
    reloads_applied: int
    reloads_refused: int
    last_applied: float
    last_refused: float
    problems: tuple[str, ...]  # of the last reload, if it was refused
    state_file: str  # "" = none is kept
    state_written: float
    state_failures: int
    state_error: str  # why the newest could not be written; "" = it was
    buffered: tuple[int, ...]  # bytes of requests that each worker holds
    buffered_limit: int  # and may hold
    unbuffered: int  # requests refused because they did not fit, of all workers since the node's start
    sharing: SharingState | None  # with the other regions; None: this node is by itself


class Node:
    """The node as control sees it.

    Args:
        shared_state: shared state.
        publisher: the current Snapshot, and what each worker serves by.
        workers: columns of the shared state in use.
        restarts: returns how often each process was started again.
        leaving: tells whether the node was told to drain.
        operations: what operators may change; None: nothing.
        recorder: what writes the state on disk; None: nothing does.
        recent_traces: the last recorded exchanges; None: an empty one.
        exemplars: traces for the buckets of histograms.
        exported: returns what became of records that were to be exported, by result.
        metrics_exported: returns the same of readings of the metrics.
    """

    def __init__(
        self,
        shared_state: SharedState,
        publisher: Publisher,
        workers: int,
        restarts: Callable[[], dict[str, int]],
        *,
        leaving: Callable[[], bool] = lambda: False,
        operations: Operations | None = None,
        recorder: Recorder | None = None,
        recent_traces: RecentTraces | None = None,
        exemplars: Exemplars | None = None,
        exported: Callable[[], dict[str, int]] = dict,
        metrics_exported: Callable[[], dict[str, int]] = dict,
    ) -> None:
        self.shared_state = shared_state
        self._publisher = publisher
        self._workers = workers
        self._restarts = restarts
        self._leaving = leaving
        self.operations = operations
        self._recorder = recorder
        self.recent_traces = recent_traces if recent_traces is not None else RecentTraces()
        self.exemplars = exemplars if exemplars is not None else {}
        self._exported = exported
        self._metrics_exported = metrics_exported
        self.sharing: Sharing | None = None

    @property
    def snapshot(self) -> Snapshot:
        """The Snapshot that control publishes."""
        return self._publisher.snapshot

    @property
    def leaving(self) -> bool:
        """Whether the node was told to drain."""
        return self._leaving()

    def facts(self) -> NodeFacts:
        """Return what the metrics need beside the shared state."""
        serving = {index: status.version for index, status in self._publisher.serving.items()}
        state = self.state()
        return NodeFacts(
            self._workers,
            serving,
            self._restarts(),
            reloads={"applied": state.reloads_applied, "refused": state.reloads_refused},
            last_reloads={"applied": state.last_applied, "refused": state.last_refused},
            started_from_state=state.started_from is not None,
            draining=state.draining,
            state_written=state.state_written,
            state_failures=state.state_failures,
            exported=self._exported(),
            metrics_exported=self._metrics_exported(),
            sharing=self.sharing.facts() if self.sharing is not None and self.sharing.shared else None,
        )

    def read(self) -> Reading:
        """Return every metric as it is now."""
        return meters.read(self.shared_state, self.snapshot, self.facts(), now_ns=clock.now_ns(), wall_s=clock.wall())

    def state(self) -> NodeState:
        """Return what is true of the node as a whole."""
        ledger = self.operations.ledger if self.operations is not None else None
        reloads = ledger.reloads if ledger is not None else Reloads()
        recorder = self._recorder
        counts = [self.shared_state.read_worker(index)["counts"] for index in range(self._workers)]
        return NodeState(
            version=VERSION,
            region=self.snapshot.region,
            node=self.snapshot.node,
            snapshot=self.snapshot.version,
            snapshot_created=self.snapshot.created,
            workers=sum(not status.draining for status in self._publisher.serving.values()),
            draining=self._leaving(),
            config=ledger.source if ledger is not None else "",
            started_from=ledger.started_from if ledger is not None else None,
            reloads_applied=reloads.applied,
            reloads_refused=reloads.refused,
            last_applied=reloads.last_applied,
            last_refused=reloads.last_refused,
            problems=reloads.problems,
            state_file=recorder.path if recorder is not None else "",
            state_written=recorder.written if recorder is not None else 0.0,
            state_failures=recorder.failures if recorder is not None else 0,
            state_error=recorder.error if recorder is not None else "",
            buffered=tuple(count[WorkerCounter.W_BUFFERED] for count in counts),
            buffered_limit=self.snapshot.limits.max_buffered,
            unbuffered=sum(count[WorkerCounter.W_UNBUFFERED] for count in counts),
            sharing=self.sharing.state() if self.sharing is not None and self.sharing.shared else None,
        )

    async def taken(self, version: int, limit_s: float) -> int:
        """Wait until every worker that follows decides by this version or a later one; return how many do."""
        end_ns = clock.now_ns() + int(limit_s * 1e9)
        while True:
            serving = [status.version >= version for status in self._publisher.serving.values()]
            if all(serving) or clock.now_ns() > end_ns:
                return sum(serving)
            await clock.sleep(0.005)

    def targets(self, now_ns: int) -> dict[str, TargetReport]:
        """Return a report per target id; of one that was taken out by hand, with the reason and since when."""
        reports = read_targets(self.shared_state, self.snapshot, now_ns)
        by_hand = self.operations.ledger.by_hand if self.operations is not None else {}
        for name, done in by_hand.items():
            if name in reports:
                why = f"{reports[name].why}: {done.reason}"
                reports[name] = structs.replace(reports[name], why=why, since=done.since)
        return reports

    def keys(self, now_ns: int) -> list[KeyReport]:
        """Return what each caller's key has used, in the order of the file."""
        wall = clock.wall()
        return [
            key_report(key, key.allowance, self.shared_state, now_ns, wall)
            for key in self.snapshot.keys
            if key.allowance is not None
        ]

    def credentials(self, now_ns: int) -> list[CredentialReport]:
        """Return what each provider's credential has used, where its limits are known."""
        return [credential_report(each, self.shared_state, now_ns) for each in self.snapshot.credentials]

    def readiness(self, now_ns: int) -> Readiness:
        """Return whether requests are accepted here, and how each pool stands."""
        accepting = sum(not status.draining for status in self._publisher.serving.values())
        reports = self.targets(now_ns)
        snapshot = self.snapshot
        pools = {}
        for route in snapshot.routes:
            members = [reports[snapshot.targets[member.target].id] for member in route.members]
            pools[route.name] = PoolState(sum(member.usable for member in members), len(members))
        leaving = self._leaving()
        if leaving:
            why = "the node drains"
        elif accepting:
            why = ""
        elif self._publisher.serving:
            why = "every worker is draining"
        else:
            why = "no worker serves yet"
        return Readiness(accepting > 0 and not leaving, why, accepting, self._workers, snapshot.version, pools)
