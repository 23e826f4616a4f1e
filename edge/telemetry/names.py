"""Names of span and metric attributes: the only place that follows changes of OpenTelemetry's conventions.

Sources: OpenTelemetry semantic conventions 1.44 for HTTP (stable) and RPC (release candidate); for GenAI (development)
the last set in the main repository, which open-telemetry/semantic-conventions-genai continues. ``edge.*`` is our own.
"""

from __future__ import annotations

from typing import Final

# HTTP
METHOD: Final = "http.request.method"
STATUS: Final = "http.response.status_code"
RESEND: Final = "http.request.resend_count"
ROUTE: Final = "http.route"
SCHEME: Final = "url.scheme"
PATH: Final = "url.path"
URL: Final = "url.full"
ADDRESS: Final = "server.address"
PORT: Final = "server.port"
VERSION: Final = "network.protocol.version"
ERROR: Final = "error.type"

# RPC
RPC_SYSTEM: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_STATUS: Final = "rpc.response.status_code"

# GenAI
OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
MODEL: Final = "gen_ai.request.model"
STREAM: Final = "gen_ai.request.stream"
FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"

# Metrics
SERVER_DURATION: Final = "http.server.request.duration"
SERVER_ACTIVE: Final = "http.server.active_requests"
CLIENT_DURATION: Final = "http.client.request.duration"
MODEL_DURATION: Final = "gen_ai.client.operation.duration"
MODEL_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  # not a password

# Our own
REQUEST_ID: Final = "edge.request_id"
KEPT: Final = "edge.kept"
EDGE_ROUTE: Final = "edge.route"
REGION: Final = "edge.region"
ATTEMPTS: Final = "edge.attempts"
KEY: Final = "edge.key"
PRIORITY: Final = "edge.priority"
QUEUED: Final = "edge.queued"  # seconds
COST: Final = "edge.cost"  # US dollars
HOPS: Final = "edge.hops"
CACHE: Final = "edge.cache"
RESCUES: Final = "edge.rescues"  # how often another target went on with a stream that had broken off
CANCELLED: Final = "edge.cancelled"
TARGET: Final = "edge.target"
TARGET_KIND: Final = "edge.target.kind"
OUTCOME: Final = "edge.outcome"
DROPPED_EVENTS: Final = "edge.dropped_events"  # malformed ones of a stream
HEDGE: Final = "edge.hedge"  # true: the attempt was started beside another one that showed no content yet
REASON: Final = "edge.reason"
CONNECTED: Final = "edge.time_to_connection"  # in seconds from the attempt's start, like the next three
SENT: Final = "edge.time_to_sent"
FIRST_BYTE: Final = "edge.time_to_first_byte"
FIRST_CONTENT: Final = "edge.time_to_first_content"
CIRCUIT_OPENED: Final = "edge.circuit.opened"  # name of an event

OTHER: Final = "_OTHER"
"""Replaces unknown methods, so that clients cannot create span names at will."""

METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"))
"""HTTP methods that appear by name."""

OPERATIONS: Final = {
    "chat": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "responses": "chat",
    "image": "generate_content",
    "image_edit": "generate_content",
    "image_variation": "generate_content",
    "speech": "generate_content",
}
"""GenAI's names of operations on models, by edge's names."""

PROVIDERS: Final = {
    "azure-openai": "azure.ai.openai",
    "gemini": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "bedrock": "aws.bedrock",
}
"""GenAI's names of providers that differ from edge's; all others are named as in the configuration."""

CODES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""Names of gRPC's status codes, by number."""

SERVER_FAULTS: Final = frozenset(
    ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
)
"""gRPC statuses that make a SERVER span an error; a CLIENT span is an error with any status but OK."""

VERSIONS: Final = {10: "1.0", 11: "1.1", 20: "2"}
