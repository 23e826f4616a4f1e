"""Former names of keys of edge.yaml, so that a file that has one is refused with the name that holds now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.config.schema_limits import Limits
from edge.config.schema_listen import Listen
from edge.config.schema_peers import Peers
from edge.config.schema_policy import Breaker, Timeouts
from edge.config.schema_telemetry import Telemetry

if TYPE_CHECKING:
    from msgspec import Struct

RENAMED: Final[dict[type[Struct], dict[str, str]]] = {
    Listen: {"open": "allow_anonymous"},
    Timeouts: {"between_tokens": "stream_idle"},
    Breaker: {
        "consecutive": "consecutive_failures",
        "ratio": "failure_ratio",
        "slow": "slow_ratio",
        "slow_after": "slow_threshold",
        "open": "open_duration",
        "open_max": "open_duration_max",
        "ramp": "slow_start",
    },
    Limits: {
        "answer": "max_response",
        "stall": "client_idle",
        "replay": "retry_buffer",
        "buffered": "max_buffered",
    },
    Telemetry: {"trust": "propagation", "asked_per_second": "forced_samples_per_second"},
    Peers: {"names": "allowed_names"},
}
"""By section, the former name of each key and its name now. A former name is an error, never an alias."""
