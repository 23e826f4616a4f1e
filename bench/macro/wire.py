"""The fixed bytes of the macro benchmarks: a chat request, its response, and its response as a stream.

The header fields are those that SDKs and providers send, but only a few, because a proxy pays for every field.
"""

from __future__ import annotations

import json
from typing import Any, Final

EVENTS = 200
PACED_EVENTS = 40
PACE_MS = 50  # between two events of a paced stream: 20 tokens a second, as a large model writes
KEY = "sk-not-a-key"  # sent by every client; one of edge's keys, if edge has keys
_QUESTION = "Name three rivers that cross Berlin, and say in one sentence where each of them ends."


def _chat(question: str = _QUESTION, **more: Any) -> bytes:
    return json.dumps({"model": "chat", "messages": [{"role": "user", "content": question}], **more}).encode()


def _post(body: bytes, fields: str = "") -> bytes:
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n"
        f"user-agent: bench/1\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
    )
    return f"{head}{fields}content-length: {len(body)}\r\n\r\n".encode() + body


def _event(choice: dict[str, Any]) -> bytes:
    chunk = {"id": "chatcmpl-9x8y7z6w5v4u3t2s1r", "object": "chat.completion.chunk", "created": 1730000000}
    chunk |= {"model": "gpt-4.1-mini", "choices": [{"index": 0, "finish_reason": None, **choice}]}
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_SERVED = (
    "HTTP/1.1 200 OK\r\ndate: Mon, 01 Sep 2025 12:00:00 GMT\r\nserver: upstream\r\nx-request-id: req_1f2e3d4c5b6a\r\n"
)

# A request body of about 200 bytes and a response of about 400.
WHOLE_BODY = _chat(max_tokens=64, temperature=0.2, user="u-1029384756")
WHOLE_REQUEST = _post(WHOLE_BODY)
# The same with a prompt of 64 KiB: lines of prose, so that JSON escapes one character in eighty.
_LINE = "The Spree joins the Havel in Spandau, which flows to the Elbe and the North Sea."
LONG_PROMPT = f"{_LINE}\n" * (64 * 1024 // (len(_LINE) + 1))
LONG_PROMPT += "." * (64 * 1024 - len(LONG_PROMPT))
LONG_REQUEST = _post(_chat(LONG_PROMPT, max_tokens=64))
WHOLE_CONTENT = json.dumps(
    {
        "id": "chatcmpl-9x8y7z6w5v4u3t2s1r",
        "object": "chat.completion",
        "created": 1730000000,
        "model": "gpt-4.1-mini",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "The Spree, the Havel and the Dahme. " * 3},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 21, "completion_tokens": 27, "total_tokens": 48},
    }
).encode()
WHOLE_ANSWER = (
    f"{_SERVED}content-type: application/json\r\ncontent-length: {len(WHOLE_CONTENT)}\r\n\r\n".encode() + WHOLE_CONTENT
)

# EVENTS events of about 200 bytes, each in a separate chunk and write.
STREAM_BODY = _chat(max_tokens=256, stream=True)
STREAM_REQUEST = _post(STREAM_BODY)
STREAM_HEAD = f"{_SERVED}content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".encode()
SAID = _event({"delta": {"content": " Spree"}})
_STOP = _event({"delta": {}, "finish_reason": "stop"})
_DONE = b"data: [DONE]\n\n"
LAST_CHUNK = b"0\r\n\r\n"


def _writes(events: int) -> tuple[bytes, ...]:
    return (
        STREAM_HEAD + _chunk(_event({"delta": {"role": "assistant", "content": ""}})),
        *[_chunk(SAID)] * (events - 3),
        _chunk(_STOP),
        _chunk(_DONE) + LAST_CHUNK,
    )


STREAM_WRITES = _writes(EVENTS)

# PACED_EVENTS events that are PACE_MS apart; the upstream knows such a request by its user.
PACED: Final = b'"user": "paced"'
PACED_REQUEST = _post(_chat(max_tokens=256, stream=True, user="paced"))
PACED_WRITES = _writes(PACED_EVENTS)

# The same answers in Anthropic's dialect: what a translated exchange gets from its target. A client gets as many events
# for them as for the others: a role, the texts, the end, [DONE].
MESSAGES: Final = b"POST /v1/messages "
_USED = {"input_tokens": 21, "output_tokens": 27}
_MESSAGE = {"id": "msg_9x8y7z6w5v4u3t2s1r", "type": "message", "role": "assistant", "model": "gpt-4.1-mini"}
MESSAGE_CONTENT = json.dumps(
    {
        **_MESSAGE,
        "content": [{"type": "text", "text": "The Spree, the Havel and the Dahme. " * 3}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": _USED,
    }
).encode()
MESSAGE_ANSWER = (
    f"{_SERVED}content-type: application/json\r\ncontent-length: {len(MESSAGE_CONTENT)}\r\n\r\n".encode()
    + MESSAGE_CONTENT
)


def _named(name: str, **more: Any) -> bytes:
    return _chunk(f"event: {name}\ndata: {json.dumps({'type': name, **more}, separators=(',', ':'))}\n\n".encode())


MESSAGE_WRITES = (
    STREAM_HEAD
    + _named("message_start", message={**_MESSAGE, "content": [], "stop_reason": None, "usage": _USED})
    + _named("content_block_start", index=0, content_block={"type": "text", "text": ""}),
    *[_named("content_block_delta", index=0, delta={"type": "text_delta", "text": " Spree"})] * (EVENTS - 3),
    _named("content_block_stop", index=0)
    + _named("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage=_USED),
    _named("message_stop") + LAST_CHUNK,
)
