"""Primes a writer of a response with what a client was sent of it by a provider, so that it goes on as the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from edge.dialects.errors import CannotResumeError
from edge.dialects.responses.stream_writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.terms import chat


class _Part(Struct):
    type: str = ""


class _Item(Struct):
    id: str | None = None
    type: str = ""


class _Event(Struct):
    """The members of an event that are needed. Not every server of this API numbers what there is one of."""

    type: str = ""
    sequence_number: int | None = None
    response: dict[str, Any] | None = None
    item: _Item | None = None
    output_index: int | None = None
    part: _Part | None = None
    content_index: int | None = None


_EVENT: Final = msgspec.json.Decoder(_Event)


def resumed(request: chat.Request, opening: Iterable[tuple[bytes, bytes]], shown: str) -> Writer:
    """Return a writer that believes to have written ``opening``, the first events by name and data, and ``shown``.

    Events are numbered on from a number that no event before can have had: each delta had a letter at least.

    Raises:
        CannotResumeError: the events do not name the response and its message.
        DecodeError: an event is none of this API.
    """
    response: dict[str, Any] = {}
    item = _Item()
    index = number = 0
    part = False
    for _, data in opening:
        event = _EVENT.decode(data)
        number = max(number, event.sequence_number or 0)
        if event.type == "response.created":
            response = event.response or {}
        elif event.type == "response.output_item.added":
            item, index = event.item or _Item(), event.output_index or 0
        elif event.type == "response.content_part.added":
            part = event.part is not None and event.part.type == "output_text" and not event.content_index
    identifier = response.get("id")
    if not isinstance(identifier, str) or item.id is None or item.type != "message" or not part:
        raise CannotResumeError("the response did not say what it is")
    writer = Writer(request, identifier.removeprefix("resp_"), 0)
    writer.go_on(response, item.id, index, shown, number + 1 + len(shown))
    return writer
