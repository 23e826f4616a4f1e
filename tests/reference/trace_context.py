"""Reads a traceparent with a pattern: the reference model of native/codec/trace_context.pyx."""

from __future__ import annotations

import re

VALUE = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)


def parse(value: bytes) -> tuple[str, str, int] | None:
    """Return (trace id, parent id, flags) by W3C Trace Context section 3.2; None: malformed."""
    match = VALUE.fullmatch(value.decode("latin-1"))
    if match is None:
        return None
    version, trace, parent, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest is not None) or not int(trace, 16) or not int(parent, 16):
        return None
    return trace, parent, int(flags, 16)
