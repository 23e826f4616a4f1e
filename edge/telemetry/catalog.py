"""The catalogue of metrics: every metric that edge publishes, with the sentence that explains it (``ALL``).

The metrics of requests, targets and keys stand here, those of the node itself in :mod:`edge.telemetry.catalog_node`.

Names follow the Prometheus conventions: base units (seconds, bytes) and ``_total`` for counters. Metrics of requests
are read from the shared state: they cover all workers exactly, whichever process is asked, and survive the death of any
process.

Label values come only from the configuration and from fixed sets, never from what a client sends: requests for unknown
models, methods and paths are counted without naming them.
"""

from __future__ import annotations

from typing import Final

from edge.telemetry import catalog_node, catalog_shadow
from edge.telemetry.metric import Metric
from edge.terms.target_state import QUARANTINED, RATE_LIMITED

ROUTE: Final = ("route",)
TARGET: Final = ("target",)
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
HEDGES = Metric(
    "edge_hedges_total",
    "counter",
    ("route", "result"),
    "Second targets asked beside a slow one (hedge of a model), by result: won (its answer was used), lost (another "
    "one was first), unanswered (nobody answered, or the client left); and those that were due but not made: "
    "no_budget, and no_target (no other one of the tier was well and had room).",
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
RESCUES = Metric(
    "edge_rescues_total",
    "counter",
    ROUTE,
    "Times that another target was asked to go on with a stream that broke off.",
)
RESCUED = Metric("edge_rescued_total", "counter", ROUTE, "Streams that broke off and were completed by another target.")
KEPT = Metric(
    "edge_affinity_kept_total", "counter", ROUTE, "Requests answered by the target that has their prompt in its cache."
)
MOVED = Metric(
    "edge_affinity_moved_total", "counter", ROUTE, "Conversations that moved from a target that failed or rested."
)
CACHED_TOKENS = Metric(
    "edge_cached_tokens_total",
    "counter",
    ROUTE,
    "Tokens of prompts that targets had in their caches, as they reported them.",
)
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
CAPABILITY = ("target", "capability")
CAPABILITY_CIRCUIT = Metric(
    "edge_target_capability_circuit",
    "gauge",
    CAPABILITY,
    "Circuit of a capability: 0 closed, 1 open, 2 half-open. Only of capabilities that have failed.",
)
CAPABILITY_FAILURES = Metric(
    "edge_target_capability_failures_total",
    "counter",
    CAPABILITY,
    "Failed attempts that were blamed on a capability, and so not on the target.",
)
CAPABILITY_TRIPS = Metric(
    "edge_target_capability_trips_total", "counter", CAPABILITY, "Times the circuit of a capability opened."
)
CAPABILITY_TRIALS = Metric(
    "edge_target_capability_trials_total",
    "counter",
    CAPABILITY,
    "Trial requests admitted while the circuit of a capability was half-open.",
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
DROPPED_EVENTS = Metric(
    "edge_target_dropped_events_total",
    "counter",
    TARGET,
    "Events of the target's streams that were not relayed because their data is no JSON object.",
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

ALL: Final[tuple[Metric, ...]] = (
    *(value for value in list(vars().values()) if isinstance(value, Metric)),
    *catalog_shadow.ALL,
    *catalog_node.ALL,
)
