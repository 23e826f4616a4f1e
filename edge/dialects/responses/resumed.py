"""Primes a writer of a response with what a client was sent of it by a provider, so that it goes on as the same one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from edge.dialects.errors import CannotResumeError
from edge.dialects.responses.stream_writer import Writer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.terms import chat


def resumed(request: chat.Request, opening: Iterable[tuple[bytes, bytes]], shown: str) -> Writer:
    """Return a writer that believes to have written ``opening``, the first events by name and data, and ``shown``.

    Events are numbered on from a number that no event before can have had: each delta had a letter at least.

    Raises:
        CannotResumeError: the events do not name the response and its message.
    """
    response: dict[str, Any] | None = None
    item: dict[str, Any] | None = None
    index = number = 0
    part = False
    for _, data in opening:
        event: Any = msgspec.json.decode(data)
        number = max(number, event.get("sequence_number", 0))
        if event.get("type") == "response.created":
            response = event["response"]
        elif event.get("type") == "response.output_item.added":
            item, index = event["item"], event["output_index"]
        elif event.get("type") == "response.content_part.added":
            part = event["part"]["type"] == "output_text" and event["content_index"] == 0
    if response is None or item is None or item["type"] != "message" or not part:
        raise CannotResumeError("the response did not say what it is")
    writer = Writer(request, response["id"].removeprefix("resp_"), 0)
    writer.go_on(response, item["id"], index, shown, number + 1 + len(shown))
    return writer
