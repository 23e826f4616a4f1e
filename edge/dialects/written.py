"""Holds a request as it is written for one target, and names what its dialect had no words for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edge.dialects import custom_tools
from edge.terms import chat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class Written(NamedTuple):
    """A request in the dialect of a target."""

    path: bytes  # behind the provider's base path, with the query
    body: bytes
    dropped: tuple[str, ...]  # names of hints that this dialect cannot carry


def dropped_of(request: chat.Request, dropped: Iterable[str], lacks: frozenset[str]) -> tuple[str, ...]:
    """Return the names of what is left out, once each.

    Args:
        request: the request that was written.
        dropped: names that are known already.
        lacks: what the dialect has no words for, of: ``cache_control``, ``strict`` (a call's arguments are bound to
            their schema), ``grammar`` (of a tool's text), ``name`` (of who speaks), ``detail`` (of an image),
            ``filename``, ``is_error`` (of a tool's result), ``description`` (of the answer's schema).
    """
    names = dict.fromkeys(dropped)
    if request.format is not None and request.format.description and "description" in lacks:
        names["description"] = None
    said = [word for tool in request.tools for word in _of_tool(tool)]
    for message in request.messages:
        if message.name:
            said.append("name")
        for part in message.parts:
            said += _of_part(part)
    names |= dict.fromkeys(word for word in said if word in lacks)
    return tuple(names)


def _of_tool(tool: chat.Tool) -> Iterator[str]:
    """Return what a tool says that some dialects have no words for."""
    if tool.strict:
        yield "strict"
    if tool.cache:
        yield "cache_control"
    if tool.custom is not None and custom_tools.has_grammar(tool):
        yield "grammar"


def _of_part(part: chat.Part) -> Sequence[str]:
    """Return what a part says that some dialects have no words for."""
    if isinstance(part, chat.Text | chat.ToolCall):
        return ("cache_control",) if part.cache else ()
    if isinstance(part, chat.Media):
        detailed = part.detail not in {"", "auto"}
        said = (("cache_control", bool(part.cache)), ("detail", detailed), ("filename", bool(part.name)))
        return [word for word, there in said if there]
    if isinstance(part, chat.ToolResult):
        own = (("cache_control", bool(part.cache)), ("is_error", part.failed))
        return [word for word, there in own if there] + [word for one in part.parts for word in _of_part(one)]
    return ()
