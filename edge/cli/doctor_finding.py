"""What ``edge doctor`` found out about one thing."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Finding(Struct, frozen=True):
    """A checked thing: what it is, what was found, and what to do about it ("": nothing)."""

    level: Literal["ok", "warning", "fault"]
    subject: str
    sentence: str
    remedy: str = ""


def ok(subject: str, sentence: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding("ok", subject, sentence)


def warning(subject: str, sentence: str, remedy: str) -> Finding:
    """Return a finding that a node can run with, for now."""
    return Finding("warning", subject, sentence, remedy)


def fault(subject: str, sentence: str, remedy: str) -> Finding:
    """Return a finding that keeps a node from its work."""
    return Finding("fault", subject, sentence, remedy)
