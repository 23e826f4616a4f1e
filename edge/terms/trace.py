"""What is remembered of an exchange, for whoever wants to follow it?

The data plane writes these as plain tuples in this order (``native/proxy/response.pyx``, ``record`` and ``tell_of``), a
worker sends them to control in batches, and control makes spans, the access log and what ``edge trace`` shows of them.
They hold no header, no body and no query: what a caller or a provider said cannot leak through them. They hold nothing
that could lead back to them either, so Python's collector of cycles need not look at thousands of them (``gc=False``).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Kept = Literal["sampled", "failed", "slow", "retried"]


class AttemptRecord(Struct, frozen=True, array_like=True, gc=False):
    """One try at one target. Times are nanoseconds since the exchange began; -1: it never happened."""

    target: str
    outcome: str  # native.state.shared_state.Outcome in lower case; "": it did not end
    detail: str  # of a failure, in words
    span_id: str  # 16 hex digits; what the target was given as its parent
    started_ns: int
    connected_ns: int  # -1: a connection was at hand
    asked_ns: int  # the request was sent whole
    head_ns: int
    content_ns: int
    ended_ns: int
    status: int  # of HTTP; 0: no answer
    grpc_status: int  # -1: none
    pushback_ms: int  # what a gRPC server asked to wait; -1 forbade another try, -2 nothing was said
    tripped: bool  # it opened the target's circuit


class ExchangeRecord(Struct, frozen=True, array_like=True, gc=False):
    """One exchange with all its attempts, in their order."""

    request_id: str  # "" when it was refused before it had a route
    trace_id: str  # 32 hex digits
    span_id: str
    parent_span_id: str  # "": this span is the first of its trace
    link: str  # "TRACE-SPAN" of the caller, where its trace does not go on
    sampled: bool  # what was told to the targets
    kept: Kept  # why it is remembered, the first that holds
    worker: int
    route: str  # "": none was found
    kind: Literal["model", "service", ""]
    method: str
    http_version: int  # 10, 11, 20
    scheme: str  # http or https
    path: str  # without the query, cut off after 256 bytes
    operation: str  # of a model: chat, completions, embeddings, responses
    grpc: bool
    model: str  # as the caller asked for it
    status: int  # HTTP's, as the client saw it; 0 broken off after content was sent, -1 the client left
    grpc_status: int  # -1: none
    stream: bool
    key: str  # name of the caller's key
    priority: str  # class of the caller's key
    started_ns: int  # Unix time
    duration_ns: int
    first_ns: int  # first content, since the beginning; -1: none was sent
    prompt_tokens: int  # -1: not known
    output_tokens: int
    cost_nano: int  # US dollars * 1e9
    region: str
    hops: int  # edges it came through before this one
    queue_ns: int  # waited for a place
    attempts: tuple[AttemptRecord, ...]

    @property
    def reason(self) -> str:
        """Why it did not go as it should: the last failure; "" when nothing failed."""
        for attempt in reversed(self.attempts):
            if attempt.detail:
                return f"{attempt.outcome}: {attempt.detail}"
        return ""
