"""Reader of the shared state: it turns counters into samples of the catalogue.

The samples of a family are consecutive, in the order of the catalogue. Counters live in the shared state, so they keep
their values when control restarts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.native import HIST_BOUNDS_S, Outcome, RouteCounter, TargetCounter, WorkerCounter
from edge.telemetry import allowances, catalog, catalog_node, shadows, sharing
from edge.telemetry.reading import Histogram, Reading, Total
from edge.telemetry.sharing import SharingFacts  # noqa: TC001  # msgspec reads the annotation at run time
from edge.terms.capabilities import NAMES
from edge.terms.snapshot import PRIORITIES
from edge.terms.target_state import REPORTED
from edge.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.native import RouteView, SharedState, TargetView
    from edge.terms.snapshot import Snapshot

_NANO: Final = 1e-9
_CIRCUITS: Final = {"closed": 0, "open": 1, "half_open": 2}
_ANSWERS: Final = {
    RouteCounter.R_2XX: "2xx",
    RouteCounter.R_3XX: "3xx",
    RouteCounter.R_4XX: "4xx",
    RouteCounter.R_5XX: "5xx",
    RouteCounter.R_CANCELLED: "cancelled",
    RouteCounter.R_BROKEN: "broken",
}
_SHED: Final = (RouteCounter.R_SHED_HIGH, RouteCounter.R_SHED_NORMAL, RouteCounter.R_SHED_LOW)
_HEDGES: Final = {
    RouteCounter.R_HEDGES_WON: "won",
    RouteCounter.R_HEDGES_LOST: "lost",
    RouteCounter.R_HEDGES_UNANSWERED: "unanswered",
    RouteCounter.R_HEDGES_NO_BUDGET: "no_budget",
    RouteCounter.R_HEDGES_NO_TARGET: "no_target",
}
_OF_ROUTE: Final = {
    catalog.REQUESTS: RouteCounter.R_REQUESTS,
    catalog.RETRIES: RouteCounter.R_RETRIES,
    catalog.FAILOVERS: RouteCounter.R_FAILOVERS,
    catalog.UNAVAILABLE: RouteCounter.R_UNAVAILABLE,
    catalog.BUDGET_REFUSED: RouteCounter.R_BUDGET,
    catalog.KEEPALIVES: RouteCounter.R_KEEPALIVES,
    catalog.STREAMS: RouteCounter.R_STREAMS,
    catalog.QUEUED: RouteCounter.R_QUEUED,
    catalog.WAITING: RouteCounter.R_WAITING,
    catalog.RATE_LIMITED_REQUESTS: RouteCounter.R_LIMITED,
    catalog.SPILLED: RouteCounter.R_SPILLED,
    catalog.PEER_RESPONSES: RouteCounter.R_PEER,
    catalog.CACHE_HITS: RouteCounter.R_CACHE_HITS,
    catalog.CACHE_JOINED: RouteCounter.R_CACHE_JOINED,
    catalog.CACHE_STALE: RouteCounter.R_CACHE_STALE,
    catalog.CACHE_MISSES: RouteCounter.R_CACHE_MISSES,
    catalog.KEPT: RouteCounter.R_KEPT,
    catalog.MOVED: RouteCounter.R_MOVED,
    catalog.CACHED_TOKENS: RouteCounter.R_CACHED_TOKENS,
    catalog.RESCUES: RouteCounter.R_RESCUES,
    catalog.RESCUED: RouteCounter.R_RESCUED,
}
_OF_TARGET: Final = {
    catalog.ATTEMPTS_STARTED: TargetCounter.T_ATTEMPTS,
    catalog.TRIPS: TargetCounter.T_TRIPS,
    catalog.TRIALS: TargetCounter.T_TRIALS,
    catalog.SLOW: TargetCounter.T_SLOW,
    catalog.ABANDONED_ATTEMPTS: TargetCounter.T_RETRIED,
    catalog.CONNECTS: TargetCounter.T_CONNECTS,
    catalog.CONNECT_FAILURES: TargetCounter.T_CONNECT_FAILURES,
    catalog.TARGET_SPILLED: TargetCounter.T_SPILLED,
    catalog.EXHAUSTED: TargetCounter.T_EXHAUSTED,
    catalog.FULL: TargetCounter.T_FULL,
    catalog.DROPPED_EVENTS: TargetCounter.T_DROPPED_EVENTS,
}
_OF_WORKER: Final = {
    catalog_node.ACCEPTED: WorkerCounter.W_ACCEPTED,
    catalog_node.CONNECTIONS: WorkerCounter.W_CONNECTIONS,
    catalog_node.EVICTED: WorkerCounter.W_EVICTED,
    catalog_node.TURNED_AWAY: WorkerCounter.W_TURNED_AWAY,
    catalog_node.UPSTREAMS: WorkerCounter.W_UPSTREAMS,
    catalog_node.IDLE: WorkerCounter.W_UPSTREAMS_IDLE,
    catalog_node.WORKER_REQUESTS: WorkerCounter.W_REQUESTS,
    catalog_node.MALFORMED: WorkerCounter.W_MALFORMED,
    catalog_node.UNROUTED: WorkerCounter.W_UNROUTED,
    catalog_node.REFUSED: WorkerCounter.W_REFUSED,
    catalog_node.REFUSED_KEYS: WorkerCounter.W_REFUSED_KEYS,
    catalog_node.RECORDED: WorkerCounter.W_RECORDED,
    catalog_node.UNRECORDED: WorkerCounter.W_UNRECORDED,
    catalog_node.HOPS_REFUSED: WorkerCounter.W_HOPS_REFUSED,
    catalog_node.BUFFERED: WorkerCounter.W_BUFFERED,
    catalog_node.UNBUFFERED: WorkerCounter.W_UNBUFFERED,
    catalog_node.BYTES_IN: WorkerCounter.W_BYTES_IN,
    catalog_node.BYTES_OUT: WorkerCounter.W_BYTES_OUT,
}


class NodeFacts(Struct, frozen=True):
    """Facts about the node that are not in the shared state."""

    workers: int  # columns of the shared state in use
    serving: dict[int, int]  # worker index -> version of the snapshot that the worker uses
    restarts: dict[str, int]  # process name -> number of restarts
    reloads: dict[str, int] = {}  # result -> count
    last_reloads: dict[str, float] = {}  # result -> Unix time of the last reload, 0: never
    started_from_state: bool = False
    draining: bool = False
    state_written: float = 0.0  # Unix time, 0: never
    state_failures: int = 0
    history_written: float = 0.0  # Unix time, 0: never
    history_lost: int = 0
    incidents: int = 0
    alerts: dict[str, int] = {}  # result -> number of notices
    exported: dict[str, int] = {}  # result -> number of records
    metrics_exported: dict[str, int] = {}  # result -> number of readings
    discovery: dict[str, tuple[int, float | None, int]] = {}  # by source: addresses, age in seconds, failures
    issuers: dict[str, tuple[int, float, int]] = {}  # by source: signing keys, seconds that they count, failures
    sharing: SharingFacts | None = None  # None: the node has no cluster
    states: dict[str, str] = {}  # id of a target that a route uses -> label of its state


def read(shared_state: SharedState, snapshot: Snapshot, facts: NodeFacts, *, now_ns: int, wall_s: float) -> Reading:
    """Return all samples.

    Args:
        shared_state: the node's shared state.
        snapshot: the Snapshot that control publishes; it names the slots.
        facts: what the shared state does not contain.
        now_ns: monotonic nanoseconds, for ages.
        wall_s: Unix time, for the snapshot's age and the current month.
    """
    page = Reading()
    page.add(catalog_node.BUILD, (VERSION, snapshot.region, snapshot.node), 1)
    page.add(catalog_node.SNAPSHOT_VERSION, (), snapshot.version)
    page.add(catalog_node.SNAPSHOT_AGE, (), max(wall_s - snapshot.created, 0.0))
    for process, restarts in facts.restarts.items():
        page.add(catalog_node.RESTARTS, (process,), restarts)
    _add_node(page, facts)
    copied = snapshot.shadows
    for index, route in enumerate(snapshot.routes):
        if index not in copied:
            _add_route(page, route.name, shared_state.read_route(route.slot))
    for target in snapshot.told_targets:
        _add_target(page, target.id, shared_state.read_target(target.slot, now_ns), now_ns)
    for name, state in facts.states.items():
        for each in REPORTED:
            page.add(catalog.STATE, (name, each.label), each.label == state)
    shadows.add(page, shared_state, snapshot, now_ns)
    allowances.add(page, shared_state, snapshot, now_ns, wall_s)
    _add_workers(page, shared_state, facts, now_ns)
    return page


def seconds(buckets: Sequence[int], sum_us: int) -> Histogram:
    """Return a latency histogram in seconds from the buckets of the shared state."""
    return Histogram(HIST_BOUNDS_S, tuple(buckets), sum_us / 1e6)


def _add_node(page: Reading, facts: NodeFacts) -> None:
    for result, count in facts.reloads.items():
        page.add(catalog_node.RELOADS, (result,), count)
    for result, when in facts.last_reloads.items():
        page.add(catalog_node.LAST_RELOAD, (result,), when)
    page.add(catalog_node.STARTED_FROM_STATE, (), facts.started_from_state)
    page.add(catalog_node.DRAINING, (), facts.draining)
    page.add(catalog_node.STATE_WRITTEN, (), facts.state_written)
    page.add(catalog_node.STATE_FAILURES, (), facts.state_failures)
    page.add(catalog_node.HISTORY_WRITTEN, (), facts.history_written)
    page.add(catalog_node.HISTORY_LOST, (), facts.history_lost)
    for source, (addresses, age_s, failures) in facts.discovery.items():
        page.add(catalog_node.SOURCE_ADDRESSES, (source,), addresses)
        if age_s is not None:
            page.add(catalog_node.SOURCE_AGE, (source,), age_s)
        page.add(catalog_node.SOURCE_FAILURES, (source,), failures)
    for source, (keys, usable_s, failures) in facts.issuers.items():
        page.add(catalog_node.ISSUER_KEYS, (source,), keys)
        page.add(catalog_node.ISSUER_USABLE, (source,), usable_s)
        page.add(catalog_node.ISSUER_FAILURES, (source,), failures)
    page.add(catalog_node.INCIDENTS, (), facts.incidents)
    for result, count in facts.alerts.items():
        page.add(catalog_node.ALERTS, (result,), count)
    for result, count in facts.exported.items():
        page.add(catalog_node.EXPORTED, (result,), count)
    for result, count in facts.metrics_exported.items():
        page.add(catalog_node.METRICS_EXPORTED, (result,), count)
    sharing.add(page, facts.sharing)


def _add_route(page: Reading, name: str, view: RouteView) -> None:
    counts = view["counts"]
    for metric, counter in _OF_ROUTE.items():
        page.add(metric, (name,), counts[counter])
    for counter, status_class in _ANSWERS.items():
        page.add(catalog.RESPONSES, (name, status_class), counts[counter])
    for counter, result in _HEDGES.items():
        page.add(catalog.HEDGES, (name, result), counts[counter])
    for priority, counter in zip(PRIORITIES, _SHED, strict=True):
        page.add(catalog.SHED, (name, priority), counts[counter])
    page.add(catalog.ROUTE_TOKENS, (name, "prompt"), counts[RouteCounter.R_PROMPT_TOKENS])
    page.add(catalog.ROUTE_TOKENS, (name, "output"), counts[RouteCounter.R_OUTPUT_TOKENS])
    page.add(catalog.ROUTE_COST, (name,), counts[RouteCounter.R_COST_NANO] * _NANO)
    page.add(catalog.REQUESTS_INFLIGHT, (name,), view["inflight"])
    page.add(catalog.TIME_TO_FIRST_TOKEN, (name,), seconds(view["first_hist"], view["first_sum_us"]))
    page.add(catalog.ROUTE_TOTAL, (name,), seconds(view["total_hist"], view["total_sum_us"]))
    page.add(catalog.QUEUE_TIME, (name,), seconds(view["queue_hist"], view["queue_sum_us"]))
    page.add(catalog.OVERHEAD, (name,), Total(view["overhead_count"], view["overhead_sum_ns"] * _NANO))


def _add_target(page: Reading, name: str, view: TargetView, now_ns: int) -> None:
    counts = view["counts"]
    for metric, counter in _OF_TARGET.items():
        page.add(metric, (name,), counts[counter])
    for outcome in Outcome:
        page.add(catalog.ATTEMPTS, (name, outcome.name.lower()), counts[outcome])
    for priority, running in zip(PRIORITIES, view["inflight_by_priority"], strict=True):
        page.add(catalog.TARGET_PRIORITY, (name, priority), running)
    page.add(catalog.TARGET_TOKENS, (name, "prompt"), counts[TargetCounter.T_PROMPT_TOKENS])
    page.add(catalog.TARGET_TOKENS, (name, "output"), counts[TargetCounter.T_OUTPUT_TOKENS])
    page.add(catalog.TARGET_COST, (name,), counts[TargetCounter.T_COST_NANO] * _NANO)
    page.add(catalog.TARGET_INFLIGHT, (name,), view["inflight"])
    page.add(catalog.CIRCUIT, (name,), _CIRCUITS[view["state"]])
    for number, part in view["capabilities"].items():
        if not (part["failures"] or part["trips"]):
            continue  # or each target would have a series for all that its requests have ever needed
        about = (name, NAMES[number])
        page.add(catalog.CAPABILITY_CIRCUIT, about, _CIRCUITS[part["state"]])
        page.add(catalog.CAPABILITY_FAILURES, about, part["failures"])
        page.add(catalog.CAPABILITY_TRIPS, about, part["trips"])
        page.add(catalog.CAPABILITY_TRIALS, about, part["trials"])
    page.add(catalog.TARGET_RATE_LIMITED, (name,), view["rate_limited_until_ns"] > now_ns)
    page.add(catalog.TARGET_QUARANTINED, (name,), view["quarantined_until_ns"] > now_ns)
    page.add(catalog.MANUAL, (name,), view["manual"])
    page.add(catalog.LIMIT, (name,), view["limit"])
    page.add(catalog.LIMIT_FLOOR, (name,), view["limit_floor_ms"] / 1e3)
    page.add(catalog.SPILL, (name,), view["spill"])
    page.add(catalog.ATTEMPT_TIME_TO_FIRST_TOKEN, (name,), seconds(view["first_hist"], view["first_sum_us"]))
    page.add(catalog.TARGET_TOTAL, (name,), seconds(view["total_hist"], view["total_sum_us"]))


def _add_workers(page: Reading, shared_state: SharedState, facts: NodeFacts, now_ns: int) -> None:
    for index in range(facts.workers):
        name = str(index)
        view = shared_state.read_worker(index)
        for metric, counter in _OF_WORKER.items():
            page.add(metric, (name,), view["counts"][counter])
        page.add(catalog_node.LOOP_LAG, (name,), view["counts"][WorkerCounter.W_LOOP_LAG_US] / 1e6)
        if view["heartbeat_ns"]:
            page.add(catalog_node.HEARTBEAT, (name,), max(now_ns - view["heartbeat_ns"], 0) / 1e9)
    for index, version in sorted(facts.serving.items()):
        page.add(catalog_node.WORKER_SNAPSHOT, (str(index),), version)
