"""The result of a drill as a node keeps it, so that operators find on its page what was rehearsed."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

_Line = Annotated[str, Meta(max_length=1000)]
MOST_SCORES: Final = 60
MOST_NOTES: Final = 20


class Figure(Struct, frozen=True):
    """One score. ``met`` None: it is stated, and has no floor."""

    what: _Line
    value: _Line
    floor: _Line = ""
    met: bool | None = None


class Rehearsed(Struct, frozen=True):
    """One drill that was played. ``at`` is the Unix time at which the node was told of it, ``by`` the operator."""

    drill: Annotated[str, Meta(min_length=1, max_length=64)]
    title: _Line
    source: _Line  # the configuration that was drilled
    model: _Line
    seed: Annotated[int, Meta(ge=0)]
    met: bool
    scores: Annotated[tuple[Figure, ...], Meta(max_length=MOST_SCORES)]
    notes: Annotated[tuple[_Line, ...], Meta(max_length=MOST_NOTES)] = ()
    at: float = 0.0
    by: str = ""

    def __post_init__(self) -> None:
        texts = [self.drill, self.title, self.source, self.model, *self.notes]
        texts += [text for score in self.scores for text in (score.what, score.value, score.floor)]
        if not all(map(str.isprintable, texts)):
            raise ValueError("a text has characters that cannot be printed")


def decode(body: bytes) -> Rehearsed:
    """Return a result from JSON; raise msgspec.MsgspecError if it is none."""
    return msgspec.json.decode(body, type=Rehearsed)
