"""edge's own gRPC errors have the right status, in fields that every client can read."""

from __future__ import annotations

import json
from urllib.parse import unquote_to_bytes

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.listen import reply
from edge.listen.grpc_status import MESSAGE_LIMIT, ROWS, Code, call_end, call_fields, code_for, encode_message
from edge.listen.problems import PROBLEMS


def test_the_codes_are_gRPCs() -> None:  # noqa: N802  # that is its name
    """Names and numbers are those of the official library."""
    assert {code.name: code.value for code in Code} == {code.name: code.value[0] for code in grpc.StatusCode}


def test_every_problem_of_ours_has_a_code_of_its_own_row() -> None:
    """Every status that edge itself sends has a row in the table, and none is OK."""
    known = {row.status: row.code for row in ROWS}
    assert len(known) == len(ROWS)
    for kind, row in PROBLEMS.items():
        assert row.status in known, kind
        assert code_for(row.status, row.code) not in {Code.OK, Code.UNKNOWN}


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (404, "unknown_path", Code.UNIMPLEMENTED),
        (404, "model_not_found", Code.NOT_FOUND),
        (429, None, Code.RESOURCE_EXHAUSTED),
        (503, "no_usable_target", Code.UNAVAILABLE),
        (504, None, Code.DEADLINE_EXCEEDED),
        (418, None, Code.INVALID_ARGUMENT),
        (529, None, Code.UNKNOWN),
    ],
)
def test_codes(status: int, kind: str | None, code: Code) -> None:
    """Each HTTP status of edge has this gRPC code."""
    assert code_for(status, kind) == code


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("", b""),
        ("plain words ~ and !", b"plain words ~ and !"),
        ("100%", b"100%25"),
        ("a\tb\r\n", b"a%09b%0D%0A"),
        ("\x7f\x00", b"%7F%00"),
        ("ü😈", b"%C3%BC%F0%9F%98%88"),
    ],
)
def test_messages_are_encoded_as_the_protocol_says(text: str, encoded: bytes) -> None:
    """PROTOCOL-HTTP2: %x20-%x24 / %x26-%x7E as they are, all other bytes of the UTF-8 as %XX in capitals."""
    assert encode_message(text) == encoded


@given(st.text(max_size=6000))
def test_any_message_survives_or_is_cut_between_characters(text: str) -> None:
    """A message reads back the same, or cut with an ellipsis within the limit, and has no control characters."""
    encoded = encode_message(text)
    assert len(encoded) <= MESSAGE_LIMIT
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    read = unquote_to_bytes(encoded).decode()
    assert read == text or (read.endswith("…") and text.startswith(read[:-1]) and len(encoded) > MESSAGE_LIMIT - 12)


def test_a_lone_surrogate_is_no_reason_to_fail() -> None:
    """A lone surrogate is replaced by a question mark."""
    assert encode_message("a\ud800b") == b"a?b"


def test_ends() -> None:
    """A call ends with its status, and with a message if there is one."""
    assert call_end(Code.OK, "") == [(b"grpc-status", b"0")]
    assert call_end(14, "50%") == [(b"grpc-status", b"14"), (b"grpc-message", b"50%25")]


def test_a_problem_becomes_a_trailers_only_answer() -> None:
    """The sentence is the message, Retry-After the pushback in milliseconds; edge's other fields stay."""
    status, fields, content = reply.unavailable("chat", [("one/small", "fail_reset", "gone")], [], 7.0, False)
    said = dict(call_fields(status, [*fields, (b"x-edge-region", b"eu")], content))
    assert said[b"grpc-status"] == b"14"
    assert said[b"grpc-message"].startswith(b"No target of 'chat' can answer now")
    assert (said[b"grpc-retry-pushback-ms"], said[b"x-edge-region"]) == (b"7000", b"eu")
    assert said[b"content-type"] == b"application/grpc"
    assert b"content-length" not in said


@pytest.mark.parametrize("body", [b"upstream says no", b"[]", b'{"error": "flat"}', b"\xff\xfe", b'{"error": {}}'])
def test_a_providers_own_words_are_passed_on_whatever_their_shape(body: bytes) -> None:
    """A body of another shape is the message as it is."""
    said = dict(call_fields(400, [], body))
    assert said[b"grpc-status"] == b"3"
    assert unquote_to_bytes(said[b"grpc-message"]).decode() == body.decode("utf-8", "replace")


@pytest.mark.parametrize(
    "body", [b'{"error":{"message":"\xff"}}', b'{"error":{"message":"no","x":' + b"[" * 60_000], ids=["no text", "deep"]
)
def test_a_providers_noise_is_an_answer_too(body: bytes) -> None:
    """A malformed error body is truncated, and the call still ends with its status."""
    said = dict(call_fields(400, [], body))
    assert said[b"grpc-status"] == b"3"
    assert unquote_to_bytes(said[b"grpc-message"]).startswith(b'{"error"')


def test_a_providers_error_object_gives_its_sentence() -> None:
    """The message of an error in OpenAI's shape is used alone."""
    body = json.dumps({"error": {"message": "no such tool", "code": None}}).encode()
    assert dict(call_fields(422, [], body))[b"grpc-message"] == b"no such tool"
