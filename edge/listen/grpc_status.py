"""gRPC status codes and trailers for edge's local replies: one table from HTTP status to gRPC code.

The table is for responses that edge itself generates. It differs from gRPC's own mapping of HTTP statuses
(http-grpc-status-mapping.md), by which a client interprets a response that is not gRPC: edge relays such a response of
an upstream unchanged, and the client applies that mapping.
Source of the codes: grpc/grpc, doc/statuscodes.md; of the trailers: PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from edge.listen.reply import Fields


class Code(IntEnum):
    """gRPC's status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Row(msgspec.Struct, frozen=True):
    """An HTTP status, the gRPC code it becomes, and what it means."""

    status: int
    code: Code
    why: str


ROWS: Final[tuple[Row, ...]] = (
    Row(308, Code.FAILED_PRECONDITION, "This address only redirects to https; call there."),
    Row(400, Code.INVALID_ARGUMENT, "The request cannot be read; the message says where."),
    Row(401, Code.UNAUTHENTICATED, "The key is missing or unknown to this node."),
    Row(402, Code.RESOURCE_EXHAUSTED, "The caller's own account is used up."),
    Row(403, Code.PERMISSION_DENIED, "The key does not permit this."),
    Row(404, Code.NOT_FOUND, "The model does not exist. An unknown method is UNIMPLEMENTED."),
    Row(405, Code.UNIMPLEMENTED, "The method is not supported on this path."),
    Row(408, Code.DEADLINE_EXCEEDED, "The request did not arrive completely in time."),
    Row(409, Code.ABORTED, "The request conflicts with another of the caller's requests."),
    Row(412, Code.FAILED_PRECONDITION, "A condition that the request names does not hold."),
    Row(413, Code.RESOURCE_EXHAUSTED, "A message is too large; gRPC's own servers use this code too."),
    Row(414, Code.INVALID_ARGUMENT, "The path of the method is too long."),
    Row(415, Code.INVALID_ARGUMENT, "The coding of the body is not supported; the message names those that are."),
    Row(416, Code.OUT_OF_RANGE, "The requested range is past the end."),
    Row(426, Code.UNIMPLEMENTED, "Another version of the protocol is needed; the message names it."),
    Row(429, Code.RESOURCE_EXHAUSTED, "The rate limit is exceeded; grpc-retry-pushback-ms says when to retry."),
    Row(431, Code.RESOURCE_EXHAUSTED, "The metadata is too large."),
    Row(499, Code.CANCELLED, "The caller closed the connection."),
    Row(500, Code.INTERNAL, "An internal error occurred."),
    Row(501, Code.UNIMPLEMENTED, "The feature or the compression is not supported."),
    Row(502, Code.UNAVAILABLE, "The last target gave no usable response; a retry may succeed."),
    Row(503, Code.UNAVAILABLE, "No target can answer now; grpc-retry-pushback-ms says when to retry."),
    Row(504, Code.DEADLINE_EXCEEDED, "The deadline of the call, the route or the target expired."),
)

_CODES: Final = {row.status: row.code for row in ROWS}
_FIRST_SERVER_STATUS: Final = 500
_UNKNOWN_METHOD: Final = "unknown_path"  # a kind in edge.listen.problems.PROBLEMS

# Clients accept 8 KiB of trailers by default (grpc-java; grpc-go recommends it) and report a misleading error beyond
# that, so the encoded message stays well below.
MESSAGE_LIMIT: Final = 4096
_CUT: Final = "%E2%80%A6"  # an ellipsis

_PLAIN: Final = frozenset(range(0x20, 0x7F)) - {ord("%")}
_ENCODED: Final = tuple(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in range(256))


def code_for(status: int, kind: str | None = None) -> Code:
    """Return the gRPC code for an HTTP status; ``kind`` is edge's name of the problem, where it has one."""
    if kind == _UNKNOWN_METHOD:
        return Code.UNIMPLEMENTED
    return _CODES.get(status, Code.UNKNOWN if status >= _FIRST_SERVER_STATUS else Code.INVALID_ARGUMENT)


def encode_message(text: str) -> bytes:
    """Return a grpc-message: UTF-8, percent-encoded except for printable ASCII other than the percent sign.

    A message that would exceed ``MESSAGE_LIMIT`` bytes is cut between two characters and ends with an ellipsis.
    """
    encoded = "".join([_ENCODED[byte] for byte in text.encode("utf-8", "replace")])
    if len(encoded) <= MESSAGE_LIMIT:
        return encoded.encode()
    kept: list[str] = []
    room = MESSAGE_LIMIT - len(_CUT)
    for character in text:
        piece = "".join([_ENCODED[byte] for byte in character.encode("utf-8", "replace")])
        room -= len(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join([*kept, _CUT]).encode()


def call_end(code: int, text: str) -> Fields:
    """Return the trailers that end a gRPC call with a status and, unless ``text`` is empty, a message."""
    trailers = [(b"grpc-status", str(int(code)).encode())]
    if text:
        trailers.append((b"grpc-message", encode_message(text)))
    return trailers


def call_fields(status: int, fields: Fields, content: bytes) -> Fields:
    """Return the header fields of a trailers-only response that carries the error in ``content``, a JSON body.

    Retry-After becomes ``grpc-retry-pushback-ms`` (gRPC proposal A6).
    """
    try:
        error = msgspec.json.decode(content)["error"]
        message, kind = str(error["message"]), error.get("code")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError, AttributeError):
        message, kind = content[:MESSAGE_LIMIT].decode("utf-8", "replace"), None
    said = [(b"content-type", b"application/grpc"), *call_end(code_for(status, kind), message)]
    for name, value in fields:
        if name == b"retry-after" and value.isdigit():
            said.append((b"grpc-retry-pushback-ms", value + b"000"))
        elif name.startswith(b"x-edge-"):
            said.append((name, value))
    return said


def broken_call(code: int, detail: str, target: str) -> Fields:
    """Return the trailers of a call that failed after its first message was sent; 0 stands for UNAVAILABLE."""
    return call_end(code or Code.UNAVAILABLE, f"The call broke off: {detail} ({target}).")
