"""Which numbers does edge publish, and what does each mean?  Every metric with its sentence; nothing else may be shown.

Names follow the Prometheus conventions: base units (seconds, bytes), ``_total`` for counters. All are read from the
Board, so they are exact over all workers whichever process is asked, and survive the death of any of them.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

Kind = Literal["counter", "gauge", "histogram"]


class Metric(Struct, frozen=True):
    """One family: its name, kind, labels in order, and the sentence people read."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


ROUTE: Final = ("route",)
TARGET: Final = ("target",)
WORKER: Final = ("worker",)

REQUESTS = Metric("edge_requests_total", "counter", ROUTE, "Requests that were given this route.")
ANSWERS = Metric(
    "edge_answers_total",
    "counter",
    ("route", "class"),
    "Requests that ended, by what the client saw: a status class, cancelled (the client left), or broken (an honest "
    "error after content had been sent).",
)
REQUESTS_INFLIGHT = Metric("edge_requests_inflight", "gauge", ROUTE, "Requests being answered now.")
RETRIES = Metric("edge_retries_total", "counter", ROUTE, "Attempts after the first of a request.")
FAILOVERS = Metric(
    "edge_failovers_total", "counter", ROUTE, "Requests answered by another target than the first one tried."
)
UNAVAILABLE = Metric(
    "edge_unavailable_total", "counter", ROUTE, "Requests refused with 503 because no target was usable."
)
BUDGET_REFUSED = Metric(
    "edge_retry_budget_refused_total", "counter", ROUTE, "Retries not made because the retry budget was used up."
)
KEEPALIVES = Metric(
    "edge_keepalive_comments_total", "counter", ROUTE, "Comments sent to keep a waiting client's stream alive."
)
STREAMS = Metric("edge_streams_total", "counter", ROUTE, "Requests answered as an event stream.")
ROUTE_FIRST = Metric(
    "edge_request_first_seconds",
    "histogram",
    ROUTE,
    "From a request's head to the first content sent to the client, failed attempts included.",
)
ROUTE_TOTAL = Metric("edge_request_seconds", "histogram", ROUTE, "From a request's head to the end of its answer.")

ATTEMPTS = Metric("edge_attempts_total", "counter", ("target", "outcome"), "Attempts that ended, by how.")
ATTEMPTS_STARTED = Metric("edge_attempts_started_total", "counter", TARGET, "Attempts begun.")
TARGET_INFLIGHT = Metric("edge_attempts_inflight", "gauge", TARGET, "Attempts running now, over all workers.")
TARGET_FIRST = Metric(
    "edge_attempt_first_seconds",
    "histogram",
    TARGET,
    "From an attempt's start to its first content (whole answers and services: first byte), successes only.",
)
TARGET_TOTAL = Metric(
    "edge_attempt_seconds", "histogram", TARGET, "From an attempt's start to its end, successes only."
)
CIRCUIT = Metric("edge_target_circuit", "gauge", TARGET, "The circuit: 0 closed, 1 open, 2 half-open.")
RESTING = Metric(
    "edge_target_resting", "gauge", TARGET, "1 while the target rests because it asked for fewer requests (429)."
)
OUT = Metric(
    "edge_target_out",
    "gauge",
    TARGET,
    "1 while the target is out because its credential was refused or it does not know its model: needs a person.",
)
MANUAL = Metric("edge_target_manual", "gauge", TARGET, "What a person did: 0 nothing, 1 drained, 2 ejected.")
TRIPS = Metric("edge_target_trips_total", "counter", TARGET, "Times the circuit opened.")
TRIALS = Metric("edge_target_trials_total", "counter", TARGET, "Trial requests admitted while half-open.")
SLOW = Metric("edge_target_slow_total", "counter", TARGET, "Attempts that were slower than the route's slow_after.")
LEFT = Metric("edge_target_left_total", "counter", TARGET, "Attempts that were given up here and made elsewhere.")
CONNECTS = Metric("edge_target_connects_total", "counter", TARGET, "Connections opened.")
CONNECT_FAILURES = Metric(
    "edge_target_connect_failures_total", "counter", TARGET, "Connections that could not be opened."
)

ACCEPTED = Metric("edge_worker_accepted_total", "counter", WORKER, "Client connections accepted.")
CONNECTIONS = Metric("edge_worker_connections", "gauge", WORKER, "Client connections open now.")
UPSTREAMS = Metric("edge_worker_upstream_connections", "gauge", WORKER, "Upstream connections open now.")
WORKER_REQUESTS = Metric("edge_worker_requests_total", "counter", WORKER, "Requests read.")
MALFORMED = Metric("edge_worker_malformed_total", "counter", WORKER, "Requests refused because of their framing.")
UNROUTED = Metric("edge_worker_unrouted_total", "counter", WORKER, "Requests that matched no route.")
BYTES_IN = Metric("edge_worker_received_bytes_total", "counter", WORKER, "Bytes received from clients.")
BYTES_OUT = Metric("edge_worker_sent_bytes_total", "counter", WORKER, "Bytes sent to clients.")
LOOP_LAG = Metric(
    "edge_worker_loop_lag_seconds", "gauge", WORKER, "How late the event loop ran a timer, worst of the last second."
)
HEARTBEAT = Metric("edge_worker_heartbeat_age_seconds", "gauge", WORKER, "Since the worker last said that it lives.")
RESTARTS = Metric("edge_restarts_total", "counter", ("process",), "Times the supervisor started a process again.")
WORKER_SNAPSHOT = Metric(
    "edge_worker_snapshot_version", "gauge", WORKER, "Version of the snapshot the worker decides by."
)
SNAPSHOT_VERSION = Metric("edge_snapshot_version", "gauge", (), "Version of the snapshot that control publishes.")
SNAPSHOT_AGE = Metric("edge_snapshot_age_seconds", "gauge", (), "Since that snapshot was made.")
RELOADS = Metric("edge_reloads_total", "counter", ("result",), "Times the configuration was read again, by result.")
LAST_RELOAD = Metric(
    "edge_last_reload_timestamp_seconds",
    "gauge",
    ("result",),
    "Unix time of the last reload with that result; 0 if there was none.",
)
STARTED_FROM_STATE = Metric(
    "edge_started_from_state",
    "gauge",
    (),
    "1 while the node runs by the last good configuration from disk, because its file was missing or broken.",
)
DRAINING = Metric("edge_draining", "gauge", (), "1 once the node was told to drain.")
STATE_WRITTEN = Metric(
    "edge_state_written_timestamp_seconds",
    "gauge",
    (),
    "Unix time when the last good configuration was written to disk; 0 if it was not.",
)
STATE_FAILURES = Metric(
    "edge_state_write_failures_total",
    "counter",
    (),
    "Times that could not be written (a full disk, say), since control was last started.",
)
BUILD = Metric("edge_build_info", "gauge", ("version", "region", "node"), "Always 1; its labels say what runs here.")

ALL: Final[tuple[Metric, ...]] = tuple(value for value in list(vars().values()) if isinstance(value, Metric))
