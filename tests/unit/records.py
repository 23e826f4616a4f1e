"""A recorded exchange that succeeded, for tests to vary."""

from __future__ import annotations

from typing import Any

from edge.terms.trace import AttemptRecord, ExchangeRecord

MS = 1_000_000
BEGAN_NS = 1_790_000_000 * 10**9


def attempt(**more: Any) -> AttemptRecord:
    """An attempt of 9 ms whose answer began after 5 ms."""
    facts: dict[str, Any] = {
        "target": "p0/m",
        "outcome": "ok",
        "detail": "",
        "span_id": "a" * 16,
        "started_ns": 1 * MS,
        "connected_ns": 2 * MS,
        "asked_ns": 3 * MS,
        "head_ns": 6 * MS,
        "content_ns": 6 * MS,
        "ended_ns": 10 * MS,
        "status": 200,
        "grpc_status": -1,
        "pushback_ms": -2,
        "tripped": False,
        "dropped_events": 0,
    }
    return AttemptRecord(**{**facts, **more})


def record(**more: Any) -> ExchangeRecord:
    """A chat exchange of 10 ms with one attempt."""
    facts: dict[str, Any] = {
        "request_id": "0123456789ab00000001",
        "trace_id": "1" * 32,
        "span_id": "2" * 16,
        "parent_span_id": "",
        "link": "",
        "sampled": True,
        "kept": "sampled",
        "worker": 0,
        "route": "chat",
        "kind": "model",
        "method": "POST",
        "http_version": 11,
        "scheme": "http",
        "path": "/v1/chat/completions",
        "operation": "chat",
        "grpc": False,
        "model": "chat",
        "status": 200,
        "grpc_status": -1,
        "stream": False,
        "key": "",
        "priority": "",
        "started_ns": BEGAN_NS,
        "duration_ns": 10 * MS,
        "first_ns": 6 * MS,
        "prompt_tokens": -1,
        "output_tokens": -1,
        "cost_nano": 0,
        "region": "eu",
        "hops": 0,
        "queue_ns": 0,
        "cache": "",
        "attempts": (attempt(),),
    }
    return ExchangeRecord(**{**facts, **more})
