"""How many, how long, how often?  Reads the Board and writes Prometheus text (exposition format 0.0.4).

The numbers of a family stand together under its HELP and TYPE, in the order of the catalogue. Counters keep their
value when control is restarted, because they live on the Board and not here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.native import HIST_BOUNDS_S, Outcome, RouteCounter, TargetCounter, WorkerCounter
from edge.telemetry import catalog
from edge.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.native import Board, RouteView, TargetView
    from edge.telemetry.catalog import Metric
    from edge.terms.snapshot import Snapshot

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_CIRCUITS: Final = {"closed": 0, "open": 1, "half_open": 2}
_CLASSES: Final = {
    RouteCounter.R_2XX: "2xx",
    RouteCounter.R_3XX: "3xx",
    RouteCounter.R_4XX: "4xx",
    RouteCounter.R_5XX: "5xx",
    RouteCounter.R_CANCELLED: "cancelled",
    RouteCounter.R_BROKEN: "broken",
}
_OF_ROUTE: Final = {
    catalog.REQUESTS: RouteCounter.R_REQUESTS,
    catalog.RETRIES: RouteCounter.R_RETRIES,
    catalog.FAILOVERS: RouteCounter.R_FAILOVERS,
    catalog.UNAVAILABLE: RouteCounter.R_UNAVAILABLE,
    catalog.BUDGET_REFUSED: RouteCounter.R_BUDGET,
    catalog.KEEPALIVES: RouteCounter.R_KEEPALIVES,
    catalog.STREAMS: RouteCounter.R_STREAMS,
}
_OF_TARGET: Final = {
    catalog.ATTEMPTS_STARTED: TargetCounter.T_ATTEMPTS,
    catalog.TRIPS: TargetCounter.T_TRIPS,
    catalog.TRIALS: TargetCounter.T_TRIALS,
    catalog.SLOW: TargetCounter.T_SLOW,
    catalog.LEFT: TargetCounter.T_RETRIED,
    catalog.CONNECTS: TargetCounter.T_CONNECTS,
    catalog.CONNECT_FAILURES: TargetCounter.T_CONNECT_FAILURES,
}
_OF_WORKER: Final = {
    catalog.ACCEPTED: WorkerCounter.W_ACCEPTED,
    catalog.CONNECTIONS: WorkerCounter.W_CONNECTIONS,
    catalog.UPSTREAMS: WorkerCounter.W_UPSTREAMS,
    catalog.WORKER_REQUESTS: WorkerCounter.W_REQUESTS,
    catalog.MALFORMED: WorkerCounter.W_MALFORMED,
    catalog.UNROUTED: WorkerCounter.W_UNROUTED,
    catalog.BYTES_IN: WorkerCounter.W_BYTES_IN,
    catalog.BYTES_OUT: WorkerCounter.W_BYTES_OUT,
}


class NodeFacts(Struct, frozen=True):
    """What the Board does not know of the node."""

    workers: int  # columns of the Board in use
    serving: dict[int, int]  # worker index -> version of the snapshot it decides by
    restarts: dict[str, int]  # process name -> times started again
    reloads: dict[str, int] = {}  # result -> how many
    last_reloads: dict[str, float] = {}  # result -> Unix time of the last, 0 = never
    started_from_state: bool = False
    draining: bool = False
    state_written: float = 0.0  # Unix time, 0 = never
    state_failures: int = 0


class _Page:
    """Collects samples by family, so that each family is written once and whole."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}

    def add(self, metric: Metric, labels: Sequence[str], value: float, *, suffix: str = "", le: str = "") -> None:
        pairs = [f'{name}="{_escape(label)}"' for name, label in zip(metric.labels, labels, strict=True)]
        if le:
            pairs.append(f'le="{le}"')
        shown = f"{{{','.join(pairs)}}}" if pairs else ""
        self._lines.setdefault(metric.name, []).append(f"{metric.name}{suffix}{shown} {value:.10g}")

    def add_histogram(self, metric: Metric, labels: Sequence[str], buckets: Sequence[int], sum_us: int) -> None:
        count = 0
        for bucket, bound in zip(buckets, (*HIST_BOUNDS_S, None), strict=True):
            count += bucket
            self.add(metric, labels, count, suffix="_bucket", le="+Inf" if bound is None else f"{bound:g}")
        self.add(metric, labels, sum_us / 1e6, suffix="_sum")
        self.add(metric, labels, count, suffix="_count")

    def text(self) -> str:
        out: list[str] = []
        for metric in catalog.ALL:
            lines = self._lines.get(metric.name)
            if lines:
                out += [
                    f"# HELP {metric.name} {_escape_help(metric.help)}",
                    f"# TYPE {metric.name} {metric.kind}",
                    *lines,
                ]
        return "\n".join(out) + "\n"


def render(board: Board, snapshot: Snapshot, facts: NodeFacts, *, now_ns: int, wall_s: float) -> str:
    """Return the whole page.

    Args:
        board: the node's Board.
        snapshot: what control publishes: names of slots.
        facts: what the Board does not know.
        now_ns: monotonic nanoseconds, for ages.
        wall_s: Unix time, for the snapshot's age.
    """
    page = _Page()
    page.add(catalog.BUILD, (VERSION, snapshot.region, snapshot.node), 1)
    page.add(catalog.SNAPSHOT_VERSION, (), snapshot.version)
    page.add(catalog.SNAPSHOT_AGE, (), max(wall_s - snapshot.created, 0.0))
    for process, restarts in facts.restarts.items():
        page.add(catalog.RESTARTS, (process,), restarts)
    _add_node(page, facts)
    for route in snapshot.routes:
        _add_route(page, route.name, board.read_route(route.slot))
    for target in snapshot.targets:
        _add_target(page, target.id, board.read_target(target.slot, now_ns), now_ns)
    _add_workers(page, board, facts, now_ns)
    return page.text()


def _add_node(page: _Page, facts: NodeFacts) -> None:
    for result, count in facts.reloads.items():
        page.add(catalog.RELOADS, (result,), count)
    for result, when in facts.last_reloads.items():
        page.add(catalog.LAST_RELOAD, (result,), when)
    page.add(catalog.STARTED_FROM_STATE, (), facts.started_from_state)
    page.add(catalog.DRAINING, (), facts.draining)
    page.add(catalog.STATE_WRITTEN, (), facts.state_written)
    page.add(catalog.STATE_FAILURES, (), facts.state_failures)


def _add_route(page: _Page, name: str, view: RouteView) -> None:
    counts = view["counts"]
    for metric, counter in _OF_ROUTE.items():
        page.add(metric, (name,), counts[counter])
    for counter, status_class in _CLASSES.items():
        page.add(catalog.ANSWERS, (name, status_class), counts[counter])
    page.add(catalog.REQUESTS_INFLIGHT, (name,), view["inflight"])
    page.add_histogram(catalog.ROUTE_FIRST, (name,), view["first_hist"], view["first_sum_us"])
    page.add_histogram(catalog.ROUTE_TOTAL, (name,), view["total_hist"], view["total_sum_us"])


def _add_target(page: _Page, name: str, view: TargetView, now_ns: int) -> None:
    counts = view["counts"]
    for metric, counter in _OF_TARGET.items():
        page.add(metric, (name,), counts[counter])
    for outcome in Outcome:
        page.add(catalog.ATTEMPTS, (name, outcome.name.lower()), counts[outcome])
    page.add(catalog.TARGET_INFLIGHT, (name,), view["inflight"])
    page.add(catalog.CIRCUIT, (name,), _CIRCUITS[view["state"]])
    page.add(catalog.RESTING, (name,), view["rest_until_ns"] > now_ns)
    page.add(catalog.OUT, (name,), view["out_until_ns"] > now_ns)
    page.add(catalog.MANUAL, (name,), view["manual"])
    page.add_histogram(catalog.TARGET_FIRST, (name,), view["first_hist"], view["first_sum_us"])
    page.add_histogram(catalog.TARGET_TOTAL, (name,), view["total_hist"], view["total_sum_us"])


def _add_workers(page: _Page, board: Board, facts: NodeFacts, now_ns: int) -> None:
    for index in range(facts.workers):
        name = str(index)
        view = board.read_worker(index)
        for metric, counter in _OF_WORKER.items():
            page.add(metric, (name,), view["counts"][counter])
        page.add(catalog.LOOP_LAG, (name,), view["counts"][WorkerCounter.W_LOOP_LAG_US] / 1e6)
        if view["heartbeat_ns"]:
            page.add(catalog.HEARTBEAT, (name,), max(now_ns - view["heartbeat_ns"], 0) / 1e9)
    for index, version in sorted(facts.serving.items()):
        page.add(catalog.WORKER_SNAPSHOT, (str(index),), version)


def _escape(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _escape_help(sentence: str) -> str:
    return sentence.replace("\\", "\\\\").replace("\n", "\\n")
