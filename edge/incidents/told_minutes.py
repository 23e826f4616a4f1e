"""The past that a node tells the others: the document that it publishes in the store, ``history/REGION/NODE``.

It holds the rows of the last minutes, so that a reader who was away for a moment misses nothing, and those that the
store has not taken yet, for up to an hour. Histograms and reasons are those of the history itself. The node's own
incidents and its operators' actions stand beside them (``edge.incidents.elsewhere``). Readers skip a document of
another version, and rows that are too old, from the future, or of another region.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta, Struct, structs

from edge.incidents.database import Action  # noqa: TC001  # msgspec reads the annotation at run time
from edge.incidents.elsewhere import MOST_ACTIONS, MOST_INCIDENTS
from edge.incidents.incident import Incident  # noqa: TC001  # likewise
from edge.incidents.minutes import MOST_COUNT, MOST_REASONS, Kind, Minute, Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge.incidents.minutes import Row

VERSION: Final = 2
UNSPLIT_VERSION: Final = 1
"""In documents of this version "chat" stands for everything that a model was asked for."""
HISTORY: Final = "history/"
AGAIN_MINUTES: Final = 3
"""Minutes that are told again after the store has taken them."""
OLDEST_MINUTES: Final = 120
"""Older rows are not taken: minutes of packed hours stay apart, and cost more."""
AHEAD_MINUTES: Final = 2
MOST_ROWS: Final = 5_000
LARGEST: Final = 256 * 1024
"""Bytes of one document; older minutes are left out beyond it."""
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_Count = Annotated[int, Meta(ge=0, le=MOST_COUNT)]
_Text = Annotated[str, Meta(max_length=256)]
_Histogram = Annotated[dict[Annotated[int, Meta(ge=0, le=63)], _Count], Meta(max_length=64)]


class TellRow(Struct, frozen=True, array_like=True):
    """One minute of one series. Encoded as a JSON array in this order."""

    at: _Count
    kind: Kind
    provider: _Text
    model: _Text
    capability: _Text
    requests: _Count
    failures: Annotated[dict[Annotated[str, Meta(max_length=64)], _Count], Meta(max_length=MOST_REASONS)]
    first: _Histogram
    total: _Histogram
    prompt: _Count
    output: _Count
    cost_nano: _Count
    open_s: Annotated[float, Meta(ge=0, le=60)]


class ToldMinutes(Struct, frozen=True):
    """What one control process of a node has counted; a later process of the node is another ``instance``."""

    instance: Annotated[str, Meta(min_length=1, max_length=256)]
    rows: Annotated[tuple[TellRow, ...], Meta(max_length=MOST_ROWS)]
    v: int = VERSION
    incidents: Annotated[tuple[Incident, ...], Meta(max_length=MOST_INCIDENTS)] = ()
    actions: Annotated[tuple[Action, ...], Meta(max_length=MOST_ACTIONS)] = ()


class _Head(Struct, frozen=True):
    v: int


def told(rows: Iterable[Row]) -> list[TellRow]:
    """Return rows of the history as they are told."""
    return [
        TellRow(
            minute.at,
            series.kind,
            series.provider,
            series.model,
            series.capability,
            minute.requests,
            minute.failures,
            minute.first,
            minute.total,
            minute.prompt,
            minute.output,
            minute.cost_nano,
            minute.open_s,
        )
        for series, minute in rows
        if max(map(len, (series.provider, series.model))) <= 256  # noqa: PLR2004  # as _Text
    ]


def encode(
    instance: str, rows: Sequence[TellRow], incidents: Sequence[Incident] = (), actions: Sequence[Action] = ()
) -> bytes:
    """Return the document with the youngest of these rows, as many as fit; they are in the order of their minutes."""
    incidents, actions = tuple(incidents)[-MOST_INCIDENTS:], tuple(actions)[-MOST_ACTIONS:]
    kept = list(rows[-MOST_ROWS:])
    while True:
        body = msgspec.json.encode(ToldMinutes(instance, tuple(kept), VERSION, incidents, actions))
        if len(body) <= LARGEST:
            return body
        if not kept:
            return encode(instance, (), (), actions) if incidents else body
        # whole minutes are left out, the oldest first: half a minute would be taken for all of it
        oldest = kept[max(len(kept) // 4, 1) - 1].at
        kept = [row for row in kept if row.at > oldest]


def decode(body: bytes) -> ToldMinutes | None:
    """Return the document of a node, or None if it is unreadable, larger than any is, or of another version."""
    if len(body) > LARGEST:
        return None
    try:
        if msgspec.json.decode(body, type=_Head).v not in (VERSION, UNSPLIT_VERSION):
            return None
        document = msgspec.json.decode(body, type=ToldMinutes)
    except _UNREADABLE:
        return None
    texts = [document.instance]
    for row in document.rows:
        texts += (row.provider, row.model, row.capability, *row.failures)
    if not all(map(str.isprintable, texts)):
        return None
    if document.v == UNSPLIT_VERSION:
        whole = (structs.replace(row, capability="") if row.capability == "chat" else row for row in document.rows)
        document = structs.replace(document, rows=tuple(whole))
    return document


def fresh(document: ToldMinutes, after: int, now_minute: int) -> list[TellRow]:
    """Return the rows of minutes later than ``after`` that may be taken at a minute."""
    lowest, highest = max(after, now_minute - OLDEST_MINUTES), now_minute + AHEAD_MINUTES
    return [row for row in document.rows if lowest < row.at <= highest]


def row_of(row: TellRow, region: str) -> Row:
    """Return a row for the history of a reader, as one of the region whose node has told it."""
    series = Series(row.kind, row.provider, row.model, region, row.capability)
    return series, Minute(
        row.at,
        row.requests,
        row.failures,
        row.first,
        row.total,
        row.prompt,
        row.output,
        row.cost_nano,
        row.open_s,
    )
