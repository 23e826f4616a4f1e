"""The catalogue of a node's own metrics: its processes, its configuration, and what it hears of others."""

from __future__ import annotations

from typing import Final

from edge.telemetry.metric import Metric

WORKER: Final = ("worker",)

ACCEPTED = Metric("edge_worker_accepted_total", "counter", WORKER, "Client connections accepted.")
CONNECTIONS = Metric("edge_worker_connections", "gauge", WORKER, "Open client connections.")
EVICTED = Metric(
    "edge_worker_evicted_connections_total",
    "counter",
    WORKER,
    "Idle client connections that were closed to make room for new ones, because limits.connections was reached.",
)
TURNED_AWAY = Metric(
    "edge_worker_refused_connections_total",
    "counter",
    WORKER,
    "Client connections that were closed at once, because limits.connections was reached and none was idle.",
)
UPSTREAMS = Metric("edge_worker_upstream_connections", "gauge", WORKER, "Open upstream connections.")
IDLE = Metric(
    "edge_worker_upstream_idle_connections",
    "gauge",
    WORKER,
    "Idle HTTP/1.1 upstream connections, as of the last second.",
)
WORKER_REQUESTS = Metric("edge_worker_requests_total", "counter", WORKER, "Requests read.")
MALFORMED = Metric(
    "edge_worker_malformed_total",
    "counter",
    WORKER,
    "Requests refused because of their framing or size (400, 414, 431), and connections that ended because the PROXY "
    "header that their listener demands was missing, malformed, or of an address outside trusted_proxies.",
)
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
    "Bytes of requests and answers held in memory; limits.max_buffered bounds them.",
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
SOURCE_ADDRESSES = Metric("edge_discovery_addresses", "gauge", ("source",), "Addresses that a source names, by URL.")
SOURCE_AGE = Metric("edge_discovery_age_seconds", "gauge", ("source",), "Time since the source last confirmed them.")
SOURCE_FAILURES = Metric("edge_discovery_failures_total", "counter", ("source",), "Failures and empty answers.")
ISSUER_KEYS = Metric("edge_issuer_keys", "gauge", ("source",), "Signing keys of an issuer of tokens, by their URL.")
ISSUER_USABLE = Metric(
    "edge_issuer_usable_seconds",
    "gauge",
    ("source",),
    "How much longer these keys count if the issuer stays dark. At 0 tokens that were not verified before are refused.",
)
ISSUER_FAILURES = Metric("edge_issuer_failures_total", "counter", ("source",), "Fetches of the keys that failed.")
BUILD = Metric(
    "edge_build_info", "gauge", ("version", "region", "node"), "Always 1; the labels say which version runs here."
)

ALL: Final[tuple[Metric, ...]] = tuple(value for value in list(vars().values()) if isinstance(value, Metric))
