"""The state of the node as control sees it, for the admin API and the metrics.

Values are read on request; nothing here is a copy that could be stale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct, structs

from edge import clock
from edge.control.ledger import Reloads
from edge.control.recent_traces import RecentTraces
from edge.control.state_watch import read_targets
from edge.control.weighing import told
from edge.native import WorkerCounter
from edge.telemetry import meters
from edge.telemetry.meters import NodeFacts
from edge.telemetry.usage import credential_report, key_report
from edge.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.balance.report import TargetReport
    from edge.control.chronicle import Chronicle
    from edge.control.discovering import Discovering
    from edge.control.issuers import Issuers, IssuerState
    from edge.control.operations import Operations
    from edge.control.provider_tokens import ProviderTokens, TokenState
    from edge.control.publish import Publisher
    from edge.control.recorder import Recorder
    from edge.control.shared_keys import KeysState, SharedKeys
    from edge.control.sharing import Sharing
    from edge.control.sharing_deps import SharingState
    from edge.discovery.source import SourceState
    from edge.incidents.history import HistoryState
    from edge.native import SharedState
    from edge.telemetry.exposition import Exemplars
    from edge.telemetry.reading import Reading
    from edge.telemetry.usage import CredentialReport, KeyReport
    from edge.terms.snapshot import Snapshot


MOST_MEASURED: Final = 1000
"""Keys of the cluster that the metrics show; a series for each of 100,000 would be more than collectors take."""


class PoolState(Struct, frozen=True):
    """Number of a route's targets that could take a request now."""

    usable: int
    of: int


class Readiness(Struct, frozen=True):
    """Whether a load balancer in front may send requests here; ``pools`` is informative and does not affect it.

    A node is ready if it accepts and answers requests, even with a 503 and Retry-After. It stays ready while its
    upstreams are down: removing it would not repair them, all nodes would be removed at once, and routes that still
    work would be lost.
    """

    ready: bool
    why: str
    workers: int  # that accept connections now
    of: int
    snapshot: int
    pools: dict[str, PoolState]


class OpenIncident(Struct, frozen=True):
    """An incident that is open now; ``since`` is the Unix time of its first symptom."""

    id: str
    title: str
    since: float
    acknowledged: str


class NodeState(Struct, frozen=True):
    """The state of the node as a whole. Times are Unix seconds, 0: never."""

    version: str
    region: str
    node: str
    snapshot: int
    snapshot_created: float
    workers: int
    draining: bool
    config: str  # path of the file; "" = the environment, or simulated
    started_from: float | None  # when the stored state in force was written; None: the file is in force
    reloads_applied: int
    reloads_refused: int
    last_applied: float
    last_refused: float
    problems: tuple[str, ...]  # of the last reload, if it was refused
    state_file: str  # path of the stored state; "" = none is stored
    state_written: float
    state_failures: int
    state_error: str  # why the newest state could not be written; "" = it is on disk
    buffered: tuple[int, ...]  # bytes of requests that each worker buffers
    buffered_limit: int  # limits.max_buffered
    unbuffered: int  # requests refused because of that limit, by all workers since the node was started
    discovery: tuple[SourceState, ...]  # one for each source that the configuration names
    issuers: tuple[IssuerState, ...]  # of tokens
    provider_tokens: tuple[TokenState, ...]  # of providers whose credential is fetched
    shared_keys: KeysState | None  # the cluster's keys; None: there are none
    sharing: SharingState | None  # with other regions; None: there is no cluster
    history: HistoryState | None  # None: nothing is remembered
    incidents: tuple[OpenIncident, ...]


class Node:
    """The node, as the admin API and the metrics read it.

    Args:
        shared_state: the node's shared state.
        publisher: the current Snapshot, and the version that each worker uses.
        workers: number of columns of the shared state in use.
        restarts: returns the number of restarts by process name.
        leaving: returns whether the node drains.
        operations: changes that operators may make; None: none.
        recorder: writer of the stored state; None: none is stored.
        recent_traces: the last recorded exchanges; None: an empty store of them.
        exemplars: traces for buckets of histograms.
        exported: returns the number of exported records by result.
        metrics_exported: returns the number of exported readings of the metrics by result.
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
        self.discovering: Discovering | None = None
        self.issuers: Issuers | None = None
        self.chronicle: Chronicle | None = None
        self.shared_keys: SharedKeys | None = None
        self.provider_tokens: ProviderTokens | None = None

    @property
    def snapshot(self) -> Snapshot:
        """The Snapshot that control publishes."""
        return self._publisher.snapshot

    @property
    def accounted(self) -> Snapshot:
        """The Snapshot with those of the cluster's keys that have been used here."""
        used = self.shared_keys.used() if self.shared_keys is not None else ()
        return structs.replace(self.snapshot, keys=(*self.snapshot.keys, *used)) if used else self.snapshot

    @property
    def leaving(self) -> bool:
        """Whether the node is draining."""
        return self._leaving()

    def facts(self) -> NodeFacts:
        """Return the facts that the metrics need besides the shared state."""
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
            history_written=state.history.written if state.history is not None else 0.0,
            history_lost=state.history.lost if state.history is not None else 0,
            incidents=len(state.incidents),
            alerts=self.chronicle.alerting.counts if self.chronicle is not None else {},
            exported=self._exported(),
            metrics_exported=self._metrics_exported(),
            discovery={source.url: (source.endpoints, source.age_s, source.failures) for source in state.discovery},
            issuers={one.source: (one.keys, one.usable_s, one.failures) for one in state.issuers},
            sharing=self.sharing.facts() if self.sharing is not None and self.sharing.shared else None,
            states={name: report.state for name, report in self.targets(clock.now_ns()).items()},
        )

    def read(self) -> Reading:
        """Return the current value of every metric."""
        snapshot = self.accounted
        most = len(self.snapshot.keys) + MOST_MEASURED
        snapshot = structs.replace(snapshot, keys=snapshot.keys[:most])
        return meters.read(self.shared_state, snapshot, self.facts(), now_ns=clock.now_ns(), wall_s=clock.wall())

    def state(self) -> NodeState:
        """Return the state of the node as a whole."""
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
            discovery=() if self.discovering is None else self.discovering.states(),
            issuers=() if self.issuers is None else self.issuers.states(),
            provider_tokens=() if self.provider_tokens is None else self.provider_tokens.states(),
            shared_keys=self.shared_keys.state() if self.shared_keys is not None and self.shared_keys.shared else None,
            sharing=self.sharing.state() if self.sharing is not None and self.sharing.shared else None,
            history=self.chronicle.history.state if self.chronicle is not None else None,
            incidents=self._open_incidents(),
        )

    def _open_incidents(self) -> tuple[OpenIncident, ...]:
        found = () if self.chronicle is None else self.chronicle.book.open.values()
        return tuple(OpenIncident(each.id, each.title, each.first_symptom, each.acknowledged) for each in found)

    async def applied(self, version: int, limit_s: float) -> int:
        """Wait until every connected worker uses this version or a later one; return the number of those that do."""
        end_ns = clock.now_ns() + int(limit_s * 1e9)
        while True:
            serving = [status.version >= version for status in self._publisher.serving.values()]
            if all(serving) or clock.now_ns() > end_ns:
                return sum(serving)
            await clock.sleep(0.005)

    def targets(self, now_ns: int) -> dict[str, TargetReport]:
        """Return a report per target id; a manual override adds its reason and time."""
        reports = read_targets(self.shared_state, self.snapshot, now_ns)
        by_hand = self.operations.ledger.by_hand if self.operations is not None else {}
        for name, done in by_hand.items():
            if name in reports:
                why = f"{reports[name].why}: {done.reason}"
                reports[name] = structs.replace(reports[name], why=why, since=done.since)
        weights = self.operations.ledger.weights if self.operations is not None else {}
        for name, weight in weights.items():
            if name in reports:
                whys = [reports[name].why] if reports[name].why else []
                reports[name] = structs.replace(reports[name], why="; ".join([*whys, told(weight)]))
        return reports

    def keys(self, now_ns: int) -> list[KeyReport]:
        """Return the usage of each key, in the order of the file."""
        wall = clock.wall()
        return [
            key_report(key, key.allowance, self.shared_state, now_ns, wall)
            for key in self.accounted.keys
            if key.allowance is not None
        ]

    def credentials(self, now_ns: int) -> list[CredentialReport]:
        """Return the usage of each provider credential with known limits."""
        return [credential_report(limited, self.shared_state, now_ns) for limited in self.snapshot.credentials]

    def readiness(self, now_ns: int) -> Readiness:
        """Return whether requests are accepted, and the usable targets of each route."""
        accepting = sum(not status.draining for status in self._publisher.serving.values())
        reports = self.targets(now_ns)
        snapshot = self.snapshot
        pools = {}
        for route in snapshot.told_routes:
            members = [reports[snapshot.targets[member.target].id] for member in route.members]
            pools[route.name] = PoolState(sum(member.usable for member in members), len(members))
        leaving = self._leaving()
        if leaving:
            why = "the node is draining"
        elif accepting:
            why = ""
        elif self._publisher.serving:
            why = "every worker is draining"
        else:
            why = "no worker serves yet"
        return Readiness(accepting > 0 and not leaving, why, accepting, self._workers, snapshot.version, pools)
