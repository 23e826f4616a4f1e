"""How long a provider asks clients to wait, read from Retry-After and its vendor-specific variants.

Forms: ``retry-after`` in seconds or as an HTTP date (RFC 9110 10.2.3); ``retry-after-ms`` and ``x-ms-retry-after-ms``
(OpenAI, Azure); ``x-ratelimit-reset-requests`` and ``-tokens`` as Go durations such as ``6m0s`` or ``12ms`` (OpenAI);
``anthropic-ratelimit-*-reset`` as RFC 3339 timestamps. A reset field counts only if the matching ``remaining`` field is
0 or missing.
"""

from __future__ import annotations

import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

from edge import clock

_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|us|µs|ns|s)")
_UNIT_S: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_LONGEST: Final = 64  # no valid duration is longer, and the check takes time quadratic in the length
_MILLISECONDS: Final = ("retry-after-ms", "x-ms-retry-after-ms")


def go_duration(text: str) -> float | None:
    """Return the seconds of a Go duration such as ``1h2m0.5s``, or None if the text is not one."""
    parts = _PART.findall(text[:_LONGEST])
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < 1e9 else None  # noqa: PLR2004 - thirty years: anything longer is no hint


def _http_date(text: str) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - clock.wall())
    except (ValueError, OverflowError):
        return None


def _instant(text: str) -> float | None:
    try:
        return max(0.0, datetime.fromisoformat(text).timestamp() - clock.wall())
    except (ValueError, OverflowError):
        return None


def _exhausted(fields: dict[str, str]) -> float | None:
    """Return the longest reset among the limits that are used up, or None if none is."""
    waits: list[float] = []
    for name, value in fields.items():
        if name.startswith("x-ratelimit-reset"):
            wait = go_duration(value)
            wait = _number(value) if wait is None else wait
        elif name.startswith("anthropic-ratelimit-") and name.endswith("-reset"):
            wait = _instant(value)
        else:
            continue
        remaining = fields.get(name.replace("reset", "remaining"))
        if wait is not None and (remaining is None or _number(remaining) == 0):
            waits.append(wait)
    return max(waits, default=None)


def retry_after_seconds(fields: list[tuple[bytes, bytes]]) -> float | None:
    """Return the seconds that a response asks clients to wait, or None if it does not ask.

    ``fields`` are the header fields as (lower-case name, value).
    """
    named = {name.decode("latin-1"): value.decode("latin-1").strip() for name, value in fields}
    for name in _MILLISECONDS:
        value = _number(named.get(name, ""))
        if value is not None:
            return value / 1000
    text = named.get("retry-after")
    if text is not None:
        seconds = _number(text)
        seconds = _http_date(text) if seconds is None else seconds
        if seconds is not None:
            return seconds
    return _exhausted(named)
