"""The capabilities whose health is kept for each target: what requests need of it besides being there.

The order is that of ``native.state.counters.Capability``; a test compares them. ``places.CAPABILITIES`` are other
words: what a configuration says that a target offers. There ``images`` is what is called vision here.
"""

from __future__ import annotations

from typing import Final

NAMES: Final = (
    "vision",
    "audio",
    "embeddings",
    "long_context",
    "reasoning",
    "json",
    "tools",
    "streaming",
    "chat",
)
"""The names, by number."""

_MARK: Final = "#"


def part_of(target: str, capability: str) -> str:
    """Return the id under which nodes tell each other of a capability of a target."""
    return f"{target}{_MARK}{capability}"


def split(name: str) -> tuple[str, int]:
    """Return the target and the number of the capability of an id; -1: it names a target as a whole."""
    target, mark, capability = name.rpartition(_MARK)
    return (target, NAMES.index(capability)) if mark and capability in NAMES else (name, -1)
