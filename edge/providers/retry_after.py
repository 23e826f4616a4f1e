"""How long a provider asks clients to wait, read from Retry-After and its vendor-specific variants.

Forms: ``retry-after`` in seconds or as an HTTP date (RFC 9110 10.2.3); ``retry-after-ms`` and ``x-ms-retry-after-ms``
(OpenAI, Azure); ``x-ratelimit-reset-requests`` and ``-tokens`` as Go durations such as ``6m0s`` or ``12ms`` (OpenAI);
``x-ratelimit-reset`` and ``x-tokenlimit-reset`` (Together), ``ratelimitbysize-reset`` (Mistral) in seconds;
``anthropic-ratelimit-*-reset`` as RFC 3339 timestamps. A reset field counts only if the matching ``remaining`` field is
0 or missing. A number from 1e12 on is a time in epoch milliseconds, one from 1e9 on a time in epoch seconds, and a
smaller one a wait in seconds. Times are compared with the answer's own Date, so that clocks need not agree; past times
say nothing. Bodies may say it too: ``retryDelay`` of Google's RetryInfo, and OpenRouter's ``metadata.headers``.

Whoever asks for this bounds it: no provider is believed to mean more than an hour (``native.proxy.runtime``).
"""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import msgspec

from edge import clock

_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|us|µs|ns|s)")
_UNIT_S: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_LONGEST: Final = 64  # no valid duration is longer, and the check takes time quadratic in the length
_EPOCH_MS: Final = 1e12
_EPOCH_S: Final = 1e9
_MOST_CONTENT: Final = 65536
_MILLISECONDS: Final = ("retry-after-ms", "x-ms-retry-after-ms")
_RESETS: Final = ("x-ratelimit-reset", "x-tokenlimit-reset", "ratelimitbysize-reset")


def go_duration(text: str) -> float | None:
    """Return the seconds of a Go duration such as ``1h2m0.5s``, or None if the text is not one."""
    parts = _PART.findall(text[:_LONGEST])
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)


def _plain(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < 1e15 else None  # noqa: PLR2004 - no time of this millennium in any unit


def _ahead(then_s: float, now_s: float) -> float | None:
    """Return the seconds until a time, or None if it is past."""
    return then_s - now_s if then_s > now_s else None


def _wait(text: str, now_s: float) -> float | None:
    """Return the seconds that a number asks to wait: a wait in seconds, or a time since the epoch."""
    value = _plain(text)
    if value is None or value < _EPOCH_S:
        return value
    return _ahead(value / 1000 if value >= _EPOCH_MS else value, now_s)


def _http_date(text: str, now_s: float) -> float | None:
    try:
        return _ahead(parsedate_to_datetime(text).timestamp(), now_s)
    except (ValueError, OverflowError):
        return None


def _instant(text: str, now_s: float) -> float | None:
    try:
        return _ahead(datetime.fromisoformat(text).timestamp(), now_s)
    except (ValueError, OverflowError):
        return None


def _exhausted(fields: dict[str, str], now_s: float) -> float | None:
    """Return the longest reset among the limits that are used up, or None if none is."""
    waits: list[float] = []
    for name, value in fields.items():
        if name.startswith(_RESETS):
            duration = go_duration(value)
            wait = _wait(value, now_s) if duration is None else duration
        elif name.startswith("anthropic-ratelimit-") and name.endswith("-reset"):
            wait = _instant(value, now_s)
        else:
            continue
        remaining = fields.get(name.replace("reset", "remaining"))
        if wait is not None and (remaining is None or _plain(remaining) == 0):
            waits.append(wait)
    return max(waits, default=None)


def _by_fields(named: dict[str, str], now_s: float) -> float | None:
    for name in _MILLISECONDS:
        value = _plain(named.get(name, ""))
        if value is not None:
            return value / 1000
    text = named.get("retry-after")
    if text is not None:
        seconds = _wait(text, now_s)
        seconds = _http_date(text, now_s) if seconds is None else seconds
        if seconds is not None:
            return seconds
    return _exhausted(named, now_s)


def _by_body(content: bytes, now_s: float) -> float | None:
    """Return the longest wait that the body of an error asks for."""
    try:
        body = msgspec.json.decode(content[:_MOST_CONTENT])
    except (msgspec.DecodeError, RecursionError):
        return None
    waits: list[float] = []
    for said in body if isinstance(body, list) else [body]:
        error = _member(said, "error")
        details = _member(error, "details")
        for detail in details if isinstance(details, list) else []:
            delay = _member(detail, "retryDelay")
            duration = go_duration(delay) if isinstance(delay, str) else None
            if duration is not None:
                waits.append(duration)
        headers = _member(_member(error, "metadata"), "headers")
        if isinstance(headers, dict):
            named = {str(name).lower(): str(value).strip() for name, value in headers.items()}
            wait = _by_fields(named, now_s)
            if wait is not None:
                waits.append(wait)
    return max(waits, default=None)


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def retry_after_seconds(fields: list[tuple[bytes, bytes]], content: bytes = b"") -> float | None:
    """Return the seconds that a response asks clients to wait, or None if it does not ask.

    ``fields`` are the header fields as (lower-case name, value); ``content`` is the body of an error.
    """
    named = {name.decode("latin-1"): value.decode("latin-1").strip() for name, value in fields}
    now_s = clock.wall()
    if "date" in named:
        try:
            now_s = parsedate_to_datetime(named["date"]).timestamp()
        except (ValueError, OverflowError):
            now_s = clock.wall()
    seconds = _by_fields(named, now_s)
    return _by_body(content, now_s) if seconds is None and content else seconds
