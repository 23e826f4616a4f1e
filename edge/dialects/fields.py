"""Reads the fields that all dialects treat alike: what is left over, what is null, and how tokens are counted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Raw, Struct

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
NULL: Final = Raw(b"null")
"""The default of a field that holds any JSON: msgspec has no optional Raw."""
_EMPTY: Final = frozenset((b"null", b"[]", b"{}", b'""'))
_OFF: Final = frozenset(("logprobs", "store"))  # what is not asked for where it is false
_MOST: Final = 2**53
_LONGEST: Final = 64  # of a field's name that is shown to the client
_UNPRINTABLE: Final = re.compile(r"[^ -~]")  # a name may stand in a field of an answer and in a comment
_MOST_NAMES: Final = 16  # that are shown; of the others their number


def hints(
    body: bytes, known: type[Struct], limits: Collection[str], silent: Collection[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of fields that a request has beyond those of ``known``: what may be dropped, and what may not.

    Args:
        body: the request, one JSON object.
        known: the struct that it was read into; its fields, and ``silent`` ones, are left out.
        limits: names of fields that the answer depends on.
        silent: names of fields that mean nothing for the answer.
    """
    dropped: list[str] = []
    kept: list[str] = []
    fields = known.__struct_encode_fields__
    for name, value in _FIELDS.decode(body).items():
        plain = bytes(value).strip()
        if name in fields or name in silent or plain in _EMPTY or (plain == b"false" and name in _OFF):
            continue
        (kept if name in limits else dropped).append(_UNPRINTABLE.sub("?", name[:_LONGEST]))
    return few(dropped), tuple(kept)


def few(names: Sequence[str]) -> tuple[str, ...]:
    """Return the first of many names, and of the others their number."""
    if len(names) <= _MOST_NAMES:
        return tuple(names)
    return (*names[:_MOST_NAMES], f"{len(names) - _MOST_NAMES} more")


def without_null(value: Raw) -> Raw | None:
    """Return a piece of JSON, or None where it is ``null`` or missing."""
    return None if bytes(value) == b"null" else value


def count(value: float | None) -> int:
    """Return a number of tokens, or a time, as an integer; 0 for None and for a value that no real one has."""
    return int(value) if value is not None and 0 < value < _MOST else 0
