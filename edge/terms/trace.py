"""Records of exchanges and attempts, from which spans, the access log and ``edge trace`` are made.

The data plane writes them as plain tuples in this order (``native/proxy/response.pyx``, ``record`` and ``tell_of``), a
worker sends them to control in batches, and control exports them. They hold no header, no body and no query, so they
cannot leak what a client or a provider sent; ``client`` reaches the access log alone. They cannot be part of a
reference cycle, so Python's cycle collector can skip them (``gc=False``).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Kept = Literal["sampled", "failed", "slow", "retried", "logged"]  # logged: for the access log alone


class AttemptRecord(Struct, frozen=True, array_like=True, gc=False):
    """One attempt at one target. Times are nanoseconds since the exchange began; -1: the event did not happen."""

    target: str
    outcome: str  # native.state.counters.Outcome in lower case; "": the attempt did not end
    detail: str  # of a failure, as text
    span_id: str  # 16 hex digits; sent to the target as the parent span
    started_ns: int
    connected_ns: int  # -1: an open connection was reused
    asked_ns: int  # when the request had been sent completely
    head_ns: int
    content_ns: int
    ended_ns: int
    status: int  # HTTP status; 0: no response
    grpc_status: int  # -1: none
    pushback_ms: int  # the gRPC server's pushback; -1 forbade a retry, -2: none was sent
    tripped: bool  # whether it opened the target's circuit
    dropped_events: int  # events of its stream that were malformed, and not relayed
    hedge: bool = False  # it was started beside another one that showed no content yet


class ExchangeRecord(Struct, frozen=True, array_like=True, gc=False):
    """One exchange with all its attempts, in order."""

    request_id: str  # "": the request was refused before it was routed
    trace_id: str  # 32 hex digits
    span_id: str
    parent_span_id: str  # "": the span is the root of its trace
    link: str  # the caller's "TRACE-SPAN", where its trace is not continued
    sampled: bool  # the sampled flag that was sent to the targets
    kept: Kept  # the first reason that applies for recording it
    worker: int
    route: str  # "": no route was found
    kind: Literal["model", "service", ""]
    method: str
    http_version: int  # 10, 11, 20
    scheme: str  # http or https
    path: str  # without the query, truncated to 256 bytes
    operation: str  # of a model request: chat, completions, embeddings, responses, moderation, image_edit, ...
    grpc: bool
    model: str  # as the client wrote it
    status: int  # HTTP status that the client saw; 0: broken off after the commit point, -1: the client disconnected
    grpc_status: int  # -1: none
    stream: bool
    key: str  # name of the client's key
    priority: str  # of the client's key: high, normal or low
    started_ns: int  # Unix time
    duration_ns: int
    first_ns: int  # time to the first content, since the beginning; -1: none was sent
    prompt_tokens: int  # -1: unknown
    output_tokens: int
    cost_nano: int  # US dollars * 1e9
    region: str
    hops: int  # number of edges that it passed through before this one
    queue_ns: int  # time spent in the queue
    cache: str  # hit, joined, stale, miss, bypass; "": the route has no cache
    attempts: tuple[AttemptRecord, ...]
    rescues: int = 0  # how often another target went on with a stream that had broken off
    excluded: tuple[str, ...] = ()  # "TARGET: WHY" of targets that may not be asked what the request needs
    client: str = ""  # the address of the client, or what a PROXY header says; "": unknown
    sent_bytes: int = 0  # of the response's content, before any transfer coding
    refusal: str = ""  # why the request could not be read; its method and path are unknown then

    @property
    def reason(self) -> str:
        """The last failure as "outcome: detail"; "" if no attempt failed."""
        for attempt in reversed(self.attempts):
            if attempt.detail:
                return f"{attempt.outcome}: {attempt.detail}"
        return self.refusal
