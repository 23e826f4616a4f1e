"""Holds a request as it is written for one target, and names what its dialect had no words for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edge.dialects import custom_tools
from edge.terms import chat

if TYPE_CHECKING:
    from collections.abc import Iterable


class Written(NamedTuple):
    """A request in the dialect of a target."""

    path: bytes  # behind the provider's base path, with the query
    body: bytes
    dropped: tuple[str, ...]  # names of hints that this dialect cannot carry


def dropped_of(
    request: chat.Request, dropped: Iterable[str], *, cache: bool, strict: bool, grammar: bool = False
) -> tuple[str, ...]:
    """Return the names of what is left out, once each.

    Args:
        request: the request that was written.
        dropped: names that are known already.
        cache: whether the dialect has marks for the prompt cache.
        strict: whether the dialect can bind a call's arguments to its schema.
        grammar: whether it can bind the text of a tool to a grammar.
    """
    names = dict.fromkeys(dropped)
    if not cache and _has_marks(request):
        names["cache_control"] = None
    if not strict and any(tool.strict for tool in request.tools):
        names["strict"] = None
    if not grammar and any(custom_tools.has_grammar(tool) for tool in request.tools):
        names["grammar"] = None
    return tuple(names)


def _has_marks(request: chat.Request) -> bool:
    if any(tool.cache for tool in request.tools):
        return True
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, chat.Text | chat.Media | chat.ToolCall | chat.ToolResult) and part.cache:
                return True
    return False
