"""Measures the scanning of streamed chunks beside parsing: ``python -m bench.micro.sse [--json]``."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from bench.micro.measure import Row, main, per_call
from native.codec import sse


def event(data: Any, name: str = "") -> bytes:
    """Return an event as providers write it."""
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(data).encode() + b"\n\n"


CHAT = {
    "id": "chatcmpl-9x8y7z6w5v4u3t2s1r",
    "object": "chat.completion.chunk",
    "created": 1730000000,
    "model": "gpt-4.1-mini",
    "choices": [{"index": 0, "delta": {"content": " hello"}, "finish_reason": None}],
}
DELTA = {
    "type": "response.output_text.delta",
    "item_id": "msg_1",
    "output_index": 0,
    "content_index": 0,
    "delta": " hi",
}
BLOCK = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " hello"}}
TYPICAL = "chat chunk"
CASES = {
    TYPICAL: event(CHAT),
    "16 chat chunks in one read": event(CHAT) * 16,
    "responses delta": event(DELTA, "response.output_text.delta"),
    "anthropic delta": event(BLOCK, "content_block_delta"),
    "comment": b": keep-alive\n\n",
}


def parse(chunk: bytes) -> list[Any]:
    """Do the minimum that a proxy in Python would do: split lines and parse the data."""
    return [json.loads(line[6:]) for line in chunk.split(b"\n") if line.startswith(b"data: ")]


def rows() -> list[Row]:
    """Measure each chunk beside splitting it and ``json.loads``."""
    measured = []
    for case, chunk in CASES.items():
        ns = per_call(partial(sse.Scanner().push, chunk))
        measured.append(Row(case, ns, len(chunk), "split and json.loads", per_call(partial(parse, chunk))))
    chunk = CASES[TYPICAL]
    scanner = sse.Scanner()
    first, second = chunk[:100], chunk[100:]

    def halves() -> None:
        scanner.push(first)
        scanner.push(second)

    measured.append(Row("chat chunk in two reads", per_call(halves), len(chunk)))
    return measured


if __name__ == "__main__":
    main("sse", rows)
