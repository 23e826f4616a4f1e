"""The access log: control writes one line per request from the records that workers send.

A line consists of named fields of a record. A record holds no header, no body and no query, so a line cannot leak what
a client or a provider sent. Nothing here runs on the data path.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.config.schema_telemetry import Log
    from edge.terms.trace import AttemptRecord, ExchangeRecord

Access = Literal["off", "errors", "sampled", "all"]
AccessFormat = Literal["json", "common"]

_FIRST_FAILURE: Final = 500
_MS: Final = 1e6
_S: Final = 1e9
_VERSIONS: Final = {10: "HTTP/1.0", 11: "HTTP/1.1", 20: "HTTP/2.0"}
# What a web server writes where the client has left, and where an answer that had begun broke off.
_STATUSES: Final = {-1: 499, 0: 200}
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Apache's escapes within a line: whatever could end a quoted part or the line, or control a terminal.
_ESCAPES: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {
    ord('"'): '\\"',
    ord("\\"): "\\\\",
}


class AccessLog:
    """Writes a line for each record that ``mode`` selects; ``edge.control.publish.Publisher`` calls :meth:`take`.

    Args:
        mode: which requests get a line.
        say: writes the lines of failed and sampled requests, beside those of other events.
        write: takes the lines of ``all``, each with its end; it must not wait.
    """

    def __init__(
        self,
        mode: Access,
        say: Callable[..., None] = logs.say,
        write: Callable[[str], None] | None = None,
    ) -> None:
        self.mode = mode
        self.form: AccessFormat = "json"
        self._say = say
        self._write = write

    def follow(self, log: Log) -> None:
        """Write what this section of the configuration says from now on."""
        self.mode = log.access
        self.form = log.access_format

    def take(self, records: Sequence[ExchangeRecord]) -> None:
        """Write the lines of a batch of records."""
        if self.mode == "off":
            return
        if self.mode == "all" and self._write is not None:
            line = common if self.form == "common" else as_json
            self._write(logs.without_secrets("".join(line(record) for record in records)))
            return
        for record in records:
            if failed(record):
                self._say(logs.WARNING, "request failed", **facts(record))
            elif self.mode == "sampled" and record.kept != "logged":
                self._say(logs.INFO, "request", **facts(record))


def failed(record: ExchangeRecord) -> bool:
    """Return whether the client got no good response, for a reason that is not its own."""
    return record.status >= _FIRST_FAILURE or record.status == 0 or (record.status != -1 and record.kept == "failed")


def as_json(record: ExchangeRecord) -> str:
    """Return a record as a line of JSON: who asked what, when (UTC), and what :func:`facts` says of it."""
    began_s, rest_ns = divmod(record.started_ns, int(_S))
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(began_s))
    line = {
        "time": f"{stamp}.{rest_ns // 1_000_000:03d}Z",
        "client": record.client,
        "method": record.method,
        "path": record.path,
        "protocol": _VERSIONS.get(record.http_version, ""),
        "scheme": record.scheme,
        "bytes": record.sent_bytes,
        **facts(record),
    }
    return msgspec.json.encode(line).decode() + "\n"


def common(record: ExchangeRecord) -> str:
    """Return a record as a line of the Common Log Format, in UTC, with the key's name as the user."""
    at = time.gmtime(record.started_ns // int(_S))
    stamp = time.strftime(f"%d/{_MONTHS[at.tm_mon - 1]}/%Y:%H:%M:%S +0000", at)  # the month's name without a locale
    asked = f"{record.method} {record.path} {_VERSIONS.get(record.http_version, '')}" if record.method else "-"
    asked = asked.translate(_ESCAPES)
    user = record.key.translate(_ESCAPES).replace(" ", "\\x20") or "-"
    status = _STATUSES.get(record.status, record.status)
    return f'{record.client or "-"} - {user} [{stamp}] "{asked}" {status} {record.sent_bytes or "-"}\n'


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
    beside = " as a hedge" if attempt.hedge else ""
    took_ms = _ms(attempt.ended_ns - attempt.started_ns)
    return f"{attempt.target}{beside}: {attempt.outcome or 'left'}{why} after {took_ms} ms"


def _ms(ns: int) -> float:
    return round(ns / _MS, 1)
