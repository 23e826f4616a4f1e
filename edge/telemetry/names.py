"""Under which names do spans say things?  The one table: a convention that moves is followed here and nowhere else.

Sources: OpenTelemetry semantic conventions 1.44 for HTTP (stable) and RPC (release candidate); for GenAI (development)
the last set of the main repository, which open-telemetry/semantic-conventions-genai goes on from. ``edge.*`` is ours.
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

# metrics
SERVER_DURATION: Final = "http.server.request.duration"
SERVER_ACTIVE: Final = "http.server.active_requests"
CLIENT_DURATION: Final = "http.client.request.duration"
MODEL_DURATION: Final = "gen_ai.client.operation.duration"
MODEL_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  # no password

# ours
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
CANCELLED: Final = "edge.cancelled"
TARGET: Final = "edge.target"
TARGET_KIND: Final = "edge.target.kind"
OUTCOME: Final = "edge.outcome"
REASON: Final = "edge.reason"
CONNECTED: Final = "edge.time_to_connection"  # seconds, this and the next three, from the attempt's start
SENT: Final = "edge.time_to_sent"
FIRST_BYTE: Final = "edge.time_to_first_byte"
FIRST_CONTENT: Final = "edge.time_to_first_content"
CIRCUIT_OPENED: Final = "edge.circuit.opened"  # an event

OTHER: Final = "_OTHER"
"""What stands for a method that nobody knows, so that callers cannot invent names of spans."""

METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"))
"""Methods of HTTP that are told by name."""

OPERATIONS: Final = {
    "chat": "chat",
    "completions": "text_completion",
    "embeddings": "embeddings",
    "responses": "chat",
}
"""GenAI's name for what is asked of a model, by edge's."""

PROVIDERS: Final = {"gemini": "gcp.gemini", "mistral": "mistral_ai", "xai": "x_ai", "bedrock": "aws.bedrock"}
"""GenAI's name for a provider, where edge's differs; the others are called as they are in the configuration."""

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
"""gRPC's statuses by number."""

SERVER_FAULTS: Final = frozenset(
    ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
)
"""gRPC's statuses that make a SERVER span an error; a CLIENT span is one with any but OK."""

VERSIONS: Final = {10: "1.0", 11: "1.1", 20: "2"}
