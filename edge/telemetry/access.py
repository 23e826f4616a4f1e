"""The access log: control writes one line per request from the records that workers send.

A line consists of named fields of a record. A record holds no header, no body and no query, so a line cannot leak what
a client or a provider sent. Nothing here runs on the data path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.terms.trace import AttemptRecord, ExchangeRecord

Access = Literal["off", "errors", "sampled"]

_FIRST_FAILURE: Final = 500
_MS: Final = 1e6


class AccessLog:
    """Writes a line for each record that ``mode`` selects; ``edge.control.publish.Publisher`` calls :meth:`take`."""

    def __init__(self, mode: Access, say: Callable[..., None] = logs.say) -> None:
        self.mode = mode
        self._say = say

    def take(self, records: Sequence[ExchangeRecord]) -> None:
        """Write the lines of a batch of records."""
        if self.mode == "off":
            return
        for record in records:
            if failed(record):
                self._say(logs.WARNING, "request failed", **facts(record))
            elif self.mode == "sampled":
                self._say(logs.INFO, "request", **facts(record))


def failed(record: ExchangeRecord) -> bool:
    """Return whether the client got no good response, for a reason that is not its own."""
    return record.status >= _FIRST_FAILURE or record.status == 0 or (record.status != -1 and record.kept == "failed")


def facts(record: ExchangeRecord) -> dict[str, object]:
    """Return the fields of a line: times in milliseconds; tokens and cost where they are known."""
    found: dict[str, object] = {
        "request_id": record.request_id,
        "trace_id": record.trace_id,
        "route": record.route,
        "kind": record.kind,
        "status": {0: "broken", -1: "cancelled"}.get(record.status, record.status),
        "duration_ms": _ms(record.duration_ns),
    }
    if record.grpc_status >= 0:
        found["grpc_status"] = record.grpc_status
    if record.first_ns >= 0:
        found["first_ms"] = _ms(record.first_ns)
    if record.queue_ns:
        found["queue_ms"] = _ms(record.queue_ns)
    found |= {
        name: value
        for name, value in (
            ("cache", record.cache),
            ("key", record.key),
            ("rescues", record.rescues),
            ("excluded", ", ".join(record.excluded)),
        )
        if value
    }
    if record.stream:
        found["stream"] = True
    if record.prompt_tokens >= 0 and record.output_tokens >= 0:
        found |= {"prompt_tokens": record.prompt_tokens, "output_tokens": record.output_tokens}
    if record.cost_nano:
        found["cost_usd"] = record.cost_nano / 1e9
    if record.hops:
        found["hops"] = record.hops
    if record.reason:
        found["reason"] = record.reason
    return found | {"attempts": [_attempt(attempt) for attempt in record.attempts], "worker": record.worker}


def _attempt(attempt: AttemptRecord) -> str:
    """Return an attempt as text, such as ``openai/gpt-4.1: fail_status (status 503) after 112 ms``."""
    why = f" ({attempt.detail})" if attempt.detail else ""
    return f"{attempt.target}: {attempt.outcome or 'left'}{why} after {_ms(attempt.ended_ns - attempt.started_ns)} ms"


def _ms(ns: int) -> float:
    return round(ns / _MS, 1)
