"""Gives tools names that every dialect takes, and calls of them the client's own names back.

A name has at most 64 of the characters A-Z, a-z, 0-9, ``_`` and ``-`` and does not begin with a digit or a dash: more
is refused by one API or another. Anthropic's clients may send 128 characters, Gemini's dots and colons, and OpenAI's
tools may stand in a namespace: ``find`` of ``crm`` becomes ``crm__find``. Until then SPACE stands between the two.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from msgspec import structs

from edge.terms import chat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge.dialects.known import StreamReader

SPACE: Final = "\x1f"
"""Stands between a namespace and a name; no name that a client sends has it."""
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_OTHER: Final = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST: Final = 64
_DIGEST: Final = 8  # characters that tell names apart which are cut


def portable(request: chat.Request) -> tuple[chat.Request, dict[str, str]]:
    """Return a request whose tools have names that every dialect takes, and the client's names by these."""
    odd = {tool.name for tool in request.tools if not _PLAIN.fullmatch(tool.name)}
    if not odd:
        return request, {}
    taken = {tool.name for tool in request.tools} - odd
    new: dict[str, str] = {}
    for name in sorted(odd):
        new[name] = _portable(name, taken)
        taken.add(new[name])
    choice = request.tool_choice
    changed = structs.replace(
        request,
        tools=tuple(structs.replace(tool, name=new.get(tool.name, tool.name)) for tool in request.tools),
        tool_choice=choice and structs.replace(choice, names=tuple(new.get(name, name) for name in choice.names)),
        messages=tuple(
            structs.replace(message, parts=tuple(renamed(message.parts, new))) for message in request.messages
        ),
    )
    return changed, {short: name for name, short in new.items()}


def _portable(name: str, taken: set[str]) -> str:
    short = _OTHER.sub("_", name.replace(SPACE, "__"))
    if not short or not (short[0].isalpha() or short[0] == "_"):
        short = f"_{short}"
    if len(short) > _LONGEST or short in taken:
        digest = hashlib.blake2b(name.encode(), digest_size=_DIGEST // 2).hexdigest()
        short = f"{short[: _LONGEST - _DIGEST - 1]}_{digest}"
    return short


def renamed(parts: Iterable[chat.Part], names: Mapping[str, str]) -> Iterable[chat.Part]:
    """Return parts whose calls have other names."""
    for part in parts:
        if isinstance(part, chat.ToolCall) and part.name in names:
            yield structs.replace(part, name=names[part.name])
        else:
            yield part


def answered(answer: chat.Answer, names: Mapping[str, str]) -> chat.Answer:
    """Return an answer whose calls have other names."""
    choices = tuple(structs.replace(choice, parts=tuple(renamed(choice.parts, names))) for choice in answer.choices)
    return structs.replace(answer, choices=choices)


class Renaming:
    """Reads one stream, and gives its calls other names."""

    def __init__(self, reader: StreamReader, names: Mapping[str, str]) -> None:
        self._reader = reader
        self._names = names

    def read(self, data: bytes, name: bytes = b"") -> list[chat.Delta]:
        """Return what one event says."""
        return self._renamed(self._reader.read(data, name))

    def end(self) -> list[chat.Delta]:
        """Return what the end of the stream says."""
        return self._renamed(self._reader.end())

    def _renamed(self, deltas: list[chat.Delta]) -> list[chat.Delta]:
        return [
            structs.replace(delta, name=self._names.get(delta.name, delta.name))
            if isinstance(delta, chat.ToolStart)
            else delta
            for delta in deltas
        ]
