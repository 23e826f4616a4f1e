"""The rows of the table of problems (edge.listen.problems) that only a WebSocket of Responses has.

Codes are OpenAI's where it has one for the case, so that clients do what they do for it.
"""

from __future__ import annotations

from typing import Final

SOCKET_PROBLEMS: Final[dict[str, tuple[int, str, str | None, str | None, str]]] = {
    "socket_version": (
        426,
        "invalid_request_error",
        "websocket_version",
        None,
        "Only version 13 of WebSocket is supported; send Sec-WebSocket-Version: 13.",
    ),
    "socket_key": (
        400,
        "invalid_request_error",
        "websocket_key",
        None,
        "Sec-WebSocket-Key is missing or malformed; it must be 16 random bytes in base64.",
    ),
    "socket_kind": (
        400,
        "invalid_request_error",
        "unsupported_event",
        "type",
        "A message of the type {0!r} is not supported; begin each turn with one of the type 'response.create'.",
    ),
    "socket_member": (
        400,
        "invalid_request_error",
        "invalid_event",
        None,
        "A member of the message stands in it twice or has a value of a wrong type (byte {0}).",
    ),
    "socket_lane_name": (
        400,
        "invalid_request_error",
        "invalid_stream_id",
        "stream_id",
        "stream_id must have 1 to 256 characters: letters, numbers, underscores, hyphens and periods.",
    ),
    "socket_lanes": (
        400,
        "invalid_request_error",
        "websocket_stream_limit_reached",
        "stream_id",
        "This connection has {0} different stream ids, the most there may be; use one of them, or another connection.",
    ),
    "socket_queue": (
        429,
        "requests",
        "websocket_queue_full",
        None,
        "{0} turns of this connection are waiting already; wait until one of them is over.",
    ),
    "socket_background": (
        400,
        "invalid_request_error",
        "unsupported_parameter",
        "background",
        "background is not supported over WebSocket; leave it out, or send the request over HTTP.",
    ),
    "socket_previous": (
        400,
        "invalid_request_error",
        "previous_response_not_found",
        "previous_response_id",
        "Previous response with id {0!r} not found; send the whole input without previous_response_id.",
    ),
    "socket_age": (
        400,
        "invalid_request_error",
        "websocket_connection_limit_reached",
        None,
        "This connection has reached its longest time (limits.websocket_age); open another one.",
    ),
    "socket_stopping": (
        503,
        "overloaded",
        "websocket_closing",
        None,
        "This node is about to stop; open another connection and send the turn there.",
    ),
    "socket_event_too_long": (
        502,
        "server_error",
        "event_too_long",
        None,
        "An event of the answer has more than {0} bytes; limits.max_response sets that limit.",
    ),
    "socket_turn_ambiguous": (
        503,
        "server_error",
        "turn_ambiguous",
        None,
        (
            "The connection to the provider was lost, or it did not answer in time, after the whole turn was sent. It "
            "may have carried the turn out, and edge has asked no other; send the turn again if that does no harm."
        ),
    ),
    "socket_turn_broken": (502, "server_error", "stream_broken", None, "The response broke off, and is incomplete."),
}
"""Status, type, code, the member at fault, and the message of each kind."""
