"""The catalogue of metrics: every metric that edge publishes, with the sentence that explains it.

Names follow the Prometheus conventions: base units (seconds, bytes) and ``_total`` for counters. Metrics of requests
are read from the shared state: they cover all workers exactly, whichever process is asked, and survive the death of any
process.

Label values come only from the configuration and from fixed sets, never from what a client sends: requests for unknown
models, methods and paths are counted without naming them.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

from edge.terms.target_state import QUARANTINED, RATE_LIMITED

Kind = Literal["counter", "gauge", "histogram", "summary"]


class Metric(Struct, frozen=True):
    """A family of metrics: its name, kind, labels in order, and the sentence that explains it."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str


ROUTE: Final = ("route",)
TARGET: Final = ("target",)
WORKER: Final = ("worker",)
KEY: Final = ("key",)
CREDENTIAL: Final = ("credential",)

REQUESTS = Metric(
    "edge_requests_total",
    "counter",
    ROUTE,
    "Requests admitted to this route. Requests refused with 429 are not counted.",
)
RESPONSES = Metric(
    "edge_responses_total",
    "counter",
    ("route", "class"),
    "Requests that ended, by what the client saw: a status class, cancelled (the client left), or broken (an "
    "error after content had been sent).",
)
REQUESTS_INFLIGHT = Metric("edge_requests_inflight", "gauge", ROUTE, "Requests in progress.")
RETRIES = Metric("edge_retries_total", "counter", ROUTE, "Attempts after the first one of a request.")
FAILOVERS = Metric(
    "edge_failovers_total", "counter", ROUTE, "Requests answered by another target than the first one tried."
)
UNAVAILABLE = Metric(
    "edge_unavailable_total", "counter", ROUTE, "Requests refused with 503 because no target was usable."
)
BUDGET_REFUSED = Metric(
    "edge_retry_budget_refused_total",
    "counter",
    ROUTE,
    "Retries that were not made because the retry budget was used up.",
)
KEEPALIVES = Metric(
    "edge_keepalive_comments_total", "counter", ROUTE, "Comments sent to keep the stream of a waiting client open."
)
CACHE_HITS = Metric("edge_cache_hits_total", "counter", ROUTE, "Requests answered from the cache.")
CACHE_JOINED = Metric("edge_cache_joined_total", "counter", ROUTE, "Requests that shared the answer to another one.")
CACHE_STALE = Metric("edge_cache_stale_total", "counter", ROUTE, "Requests that got an old answer instead of an error.")
CACHE_MISSES = Metric("edge_cache_misses_total", "counter", ROUTE, "Requests that found no answer in the cache.")
STREAMS = Metric("edge_streams_total", "counter", ROUTE, "Requests that asked for an event stream.")
TIME_TO_FIRST_TOKEN = Metric(
    "edge_time_to_first_token_seconds",
    "histogram",
    ROUTE,
    "Time from the head of a request to the first content sent to the client, failed attempts included.",
)
ROUTE_TOTAL = Metric(
    "edge_request_seconds", "histogram", ROUTE, "Time from the head of a request to the end of its response."
)
OVERHEAD = Metric(
    "edge_overhead_seconds",
    "summary",
    ROUTE,
    "Time that edge itself took, from the complete request (services: its head) to sending it upstream. "
    "Connecting is left out, and so are requests that waited in the queue.",
)
SHED = Metric(
    "edge_shed_total",
    "counter",
    ("route", "priority"),
    "Requests refused with 503 because no target had a free place, by priority.",
)
QUEUED = Metric("edge_queued_total", "counter", ROUTE, "Requests that waited for a place.")
WAITING = Metric("edge_queue_waiting", "gauge", ROUTE, "Requests that wait for a place now.")
QUEUE_TIME = Metric("edge_queue_seconds", "histogram", ROUTE, "Time that requests waited for a place.")
RATE_LIMITED_REQUESTS = Metric(
    "edge_rate_limited_total", "counter", ROUTE, "Requests refused with 429 because the caller's allowance was used up."
)
SPILLED = Metric(
    "edge_spilled_total", "counter", ROUTE, "Requests answered by a later tier because a better one was full or down."
)
PEER_RESPONSES = Metric("edge_peer_responses_total", "counter", ROUTE, "Requests answered by another region's edge.")
ROUTE_TOKENS = Metric(
    "edge_tokens_total",
    "counter",
    ("route", "kind"),
    "Tokens of prompts and outputs, as the targets reported them.",
)
ROUTE_COST = Metric("edge_cost_usd_total", "counter", ROUTE, "US dollars spent, by the configured prices.")

ATTEMPTS = Metric("edge_attempts_total", "counter", ("target", "outcome"), "Attempts that ended, by outcome.")
ATTEMPTS_STARTED = Metric("edge_attempts_started_total", "counter", TARGET, "Attempts that were started.")
TARGET_INFLIGHT = Metric("edge_attempts_inflight", "gauge", TARGET, "Attempts in progress, over all workers.")
ATTEMPT_TIME_TO_FIRST_TOKEN = Metric(
    "edge_attempt_time_to_first_token_seconds",
    "histogram",
    TARGET,
    "Time from the start of an attempt to its first content (whole responses and services: first byte), "
    "successes only.",
)
TARGET_TOTAL = Metric(
    "edge_attempt_seconds", "histogram", TARGET, "Time from the start of an attempt to its end, successes only."
)
STATE = Metric(
    "edge_target_state",
    "gauge",
    ("target", "state"),
    "1 for the state that edge status shows for the target, 0 for the other states.",
)
CIRCUIT = Metric("edge_target_circuit", "gauge", TARGET, "State of the circuit: 0 closed, 1 open, 2 half-open.")
TARGET_RATE_LIMITED = Metric(
    "edge_target_rate_limited", "gauge", TARGET, f"1 while the target is rate-limited: {RATE_LIMITED.sentence}."
)
TARGET_QUARANTINED = Metric(
    "edge_target_quarantined", "gauge", TARGET, f"1 while the target is quarantined: {QUARANTINED.sentence}."
)
MANUAL = Metric("edge_target_manual", "gauge", TARGET, "Manual override: 0 none, 1 drained, 2 ejected.")
TRIPS = Metric("edge_target_trips_total", "counter", TARGET, "Times the circuit opened.")
TRIALS = Metric(
    "edge_target_trials_total", "counter", TARGET, "Trial requests admitted while the circuit was half-open."
)
SLOW = Metric("edge_target_slow_total", "counter", TARGET, "Attempts that were slower than the route's slow_threshold.")
ABANDONED_ATTEMPTS = Metric(
    "edge_abandoned_attempts_total", "counter", TARGET, "Attempts that were given up here and made elsewhere."
)
CONNECTS = Metric("edge_target_connects_total", "counter", TARGET, "Connections opened.")
CONNECT_FAILURES = Metric(
    "edge_target_connect_failures_total", "counter", TARGET, "Connections that could not be opened."
)
TARGET_PRIORITY = Metric(
    "edge_attempts_inflight_priority", "gauge", ("target", "priority"), "Attempts in progress, by priority."
)
TARGET_TOKENS = Metric(
    "edge_target_tokens_total", "counter", ("target", "kind"), "Tokens, as the target reported them."
)
TARGET_COST = Metric("edge_target_cost_usd_total", "counter", TARGET, "US dollars spent, by the configured prices.")
TARGET_SPILLED = Metric(
    "edge_target_spilled_total", "counter", TARGET, "Attempts made here because a better tier was full or down."
)
EXHAUSTED = Metric(
    "edge_target_exhausted_total",
    "counter",
    TARGET,
    "Times the target was passed over because the allowance of its credential was used up.",
)
FULL = Metric(
    "edge_target_full_total",
    "counter",
    TARGET,
    "Times the target was passed over because its concurrency limit was reached.",
)
LIMIT = Metric("edge_target_limit", "gauge", TARGET, "Learned limit of concurrent requests; 0: no limit.")
LIMIT_FLOOR = Metric(
    "edge_target_limit_floor_seconds",
    "gauge",
    TARGET,
    "Time to the first token when no request waits at the target; 0: not known.",
)
SPILL = Metric(
    "edge_target_spill_allowance", "gauge", TARGET, "Low-priority requests that may be spilled to the target at once."
)

KEY_REQUESTS = Metric("edge_key_requests_total", "counter", KEY, "Requests admitted with this key.")
KEY_REFUSED = Metric(
    "edge_key_refused_total",
    "counter",
    ("key", "reason"),
    "Requests refused with 429, by what was used up: requests, tokens, concurrent or budget.",
)
KEY_TOKENS = Metric("edge_key_tokens_total", "counter", ("key", "kind"), "Tokens used with this key.")
KEY_COST = Metric(
    "edge_key_cost_usd_total", "counter", KEY, "US dollars spent with this key, by the configured prices."
)
KEY_SPENT = Metric("edge_key_spent_usd", "gauge", KEY, "US dollars spent with this key in this calendar month (UTC).")
KEY_BUDGET = Metric(
    "edge_key_budget_usd",
    "gauge",
    KEY,
    "US dollars that the key may spend here in this month; of a shared budget this node's part. Only for keys "
    "with a budget.",
)
KEY_INFLIGHT = Metric("edge_key_inflight", "gauge", KEY, "Requests of this key in progress.")
KEY_REMAINING = Metric(
    "edge_key_remaining_ratio",
    "gauge",
    ("key", "bound"),
    "Requests or tokens that may be used at once, as a share of the burst. Only for keys with such a limit.",
)
CREDENTIAL_REQUESTS = Metric(
    "edge_credential_requests_total", "counter", CREDENTIAL, "Requests made with this provider's credential."
)
CREDENTIAL_COST = Metric(
    "edge_credential_cost_usd_total",
    "counter",
    CREDENTIAL,
    "US dollars spent with this credential, by the configured prices.",
)
CREDENTIAL_TOKENS = Metric(
    "edge_credential_tokens_total", "counter", ("credential", "kind"), "Tokens used with this credential."
)
CREDENTIAL_LEARNED = Metric(
    "edge_credential_learned_total",
    "counter",
    CREDENTIAL,
    "Times the provider reported that less is left than edge had counted (x-ratelimit fields).",
)
CREDENTIAL_REMAINING = Metric(
    "edge_credential_remaining_ratio",
    "gauge",
    ("credential", "bound"),
    "Requests or tokens that may be used at once, as a share of the burst. Only for credentials with such a limit.",
)

ACCEPTED = Metric("edge_worker_accepted_total", "counter", WORKER, "Client connections accepted.")
CONNECTIONS = Metric("edge_worker_connections", "gauge", WORKER, "Open client connections.")
UPSTREAMS = Metric("edge_worker_upstream_connections", "gauge", WORKER, "Open upstream connections.")
IDLE = Metric(
    "edge_worker_upstream_idle_connections",
    "gauge",
    WORKER,
    "Idle HTTP/1.1 upstream connections, as of the last second.",
)
WORKER_REQUESTS = Metric("edge_worker_requests_total", "counter", WORKER, "Requests read.")
MALFORMED = Metric("edge_worker_malformed_total", "counter", WORKER, "Requests refused because of their framing.")
UNROUTED = Metric(
    "edge_worker_unrouted_total", "counter", WORKER, "Requests that matched no route: unknown models and unknown paths."
)
REFUSED = Metric(
    "edge_worker_refused_total",
    "counter",
    WORKER,
    "Other requests refused before an attempt: for their method, body or JSON.",
)
REFUSED_KEYS = Metric("edge_worker_refused_keys_total", "counter", WORKER, "Requests refused with 401 or 403.")
RECORDED = Metric("edge_worker_recorded_total", "counter", WORKER, "Requests recorded for traces and the access log.")
UNRECORDED = Metric(
    "edge_worker_unrecorded_total",
    "counter",
    WORKER,
    "Records that were dropped because control did not take them in time.",
)
HOPS_REFUSED = Metric(
    "edge_worker_hops_refused_total",
    "counter",
    WORKER,
    "Requests from other regions refused because of the regions they had been in.",
)
BUFFERED = Metric(
    "edge_worker_buffered_bytes",
    "gauge",
    WORKER,
    "Bytes of requests held in memory; limits.max_buffered bounds them.",
)
UNBUFFERED = Metric(
    "edge_worker_unbuffered_total",
    "counter",
    WORKER,
    "Requests refused with 503 because their bytes would not have fit into limits.max_buffered.",
)
BYTES_IN = Metric("edge_worker_received_bytes_total", "counter", WORKER, "Bytes received from clients.")
BYTES_OUT = Metric("edge_worker_sent_bytes_total", "counter", WORKER, "Bytes sent to clients.")
LOOP_LAG = Metric(
    "edge_worker_loop_lag_seconds",
    "gauge",
    WORKER,
    "Delay of a timer of the event loop, the largest of the last second.",
)
HEARTBEAT = Metric("edge_worker_heartbeat_age_seconds", "gauge", WORKER, "Time since the worker's last heartbeat.")
RESTARTS = Metric("edge_restarts_total", "counter", ("process",), "Times the supervisor started a process again.")
WORKER_SNAPSHOT = Metric(
    "edge_worker_snapshot_version", "gauge", WORKER, "Version of the Snapshot that the worker uses."
)
SNAPSHOT_VERSION = Metric("edge_snapshot_version", "gauge", (), "Version of the Snapshot that control publishes.")
SNAPSHOT_AGE = Metric("edge_snapshot_age_seconds", "gauge", (), "Age of that Snapshot.")
RELOADS = Metric("edge_reloads_total", "counter", ("result",), "Reloads of the configuration, by result.")
LAST_RELOAD = Metric(
    "edge_last_reload_timestamp_seconds",
    "gauge",
    ("result",),
    "Unix time of the last reload with that result; 0: none.",
)
STARTED_FROM_STATE = Metric(
    "edge_started_from_state",
    "gauge",
    (),
    "1 while the node uses the last good configuration from disk, because its file was missing or broken.",
)
DRAINING = Metric("edge_draining", "gauge", (), "1 since the node began to drain.")
STATE_WRITTEN = Metric(
    "edge_state_written_timestamp_seconds",
    "gauge",
    (),
    "Unix time when the last good configuration was written to disk; 0: never.",
)
STATE_FAILURES = Metric(
    "edge_state_write_failures_total",
    "counter",
    (),
    "Failed writes of the last good configuration (a full disk, for example), since control was started.",
)
HISTORY_WRITTEN = Metric(
    "edge_history_written_timestamp_seconds",
    "gauge",
    (),
    "Unix time when the history was last written; 0: never since control was started.",
)
HISTORY_LOST = Metric(
    "edge_history_lost_total",
    "counter",
    (),
    "Rows of the history that were never written, because the disk refused them for too long.",
)
INCIDENTS = Metric("edge_incidents_open", "gauge", (), "Incidents that are open, as this node sees them.")
ALERTS = Metric(
    "edge_alerts_total",
    "counter",
    ("result",),
    "Notices of incidents for webhooks, by result: sent, failed (refused, or given up) or dropped (too many waited).",
)
EXPORTED = Metric(
    "edge_traces_exported_total",
    "counter",
    ("result",),
    "Recorded requests for the collector, by result: sent, dropped (the queue was full), failed (the "
    "collector did not take them).",
)
METRICS_EXPORTED = Metric(
    "edge_metrics_exported_total", "counter", ("result",), "Exports of these metrics to the collector, by result."
)
CLUSTER_CONNECTED = Metric(
    "edge_cluster_connected", "gauge", (), "1 while the shared store answers. Only with a cluster."
)
CLUSTER_VIEW_AGE = Metric(
    "edge_cluster_view_age_seconds",
    "gauge",
    (),
    "Time since the store last proved that this node's copy is right. Above 15 s the node ignores what others said.",
)
CLUSTER_WRITES = Metric(
    "edge_cluster_writes_total",
    "counter",
    ("result",),
    "Digests of this node for the shared store, by result: written or failed.",
)
NAME_CONFLICT = Metric(
    "edge_name_conflict",
    "gauge",
    (),
    "1 while another node has the name of this one, so that both hold back their shares.",
)
CLUSTER_RELISTS = Metric(
    "edge_cluster_relists_total", "counter", (), "Times the whole store was listed: every minute, and after a break."
)
REGIONS_FRESH = Metric(
    "edge_regions_fresh", "gauge", (), "Regions heard within the last 15 s, this node's own included."
)
REGION_SUSPECT = Metric(
    "edge_region_suspect",
    "gauge",
    ("region",),
    "1 while most providers look bad from that region at once. Its own network is the likely cause, so its "
    "reports are ignored.",
)
SHARE = Metric(
    "edge_share_per_minute",
    "gauge",
    ("allowance", "bound"),
    "Requests or tokens per minute that this node may grant of a limit with scope: global (bound: requests, tokens).",
)
SHARE_CONCURRENT = Metric(
    "edge_share_concurrent",
    "gauge",
    ("allowance",),
    "Concurrent requests that this node may admit of a key with scope: global.",
)
SHARE_MOVES = Metric("edge_share_moves_total", "counter", (), "Times this node's part of a shared limit was changed.")
BUILD = Metric(
    "edge_build_info", "gauge", ("version", "region", "node"), "Always 1; the labels say which version runs here."
)

ALL: Final[tuple[Metric, ...]] = tuple(value for value in list(vars().values()) if isinstance(value, Metric))
