"""Says tools that take one text (OpenAI's ``custom`` tools, such as ``apply_patch``) as functions, and calls back.

Only OpenAI's APIs have such tools. Other dialects are offered a function with the text as its one argument ``input``;
what the model writes there is the text. A grammar cannot be enforced there: it stands in the argument's description.
Facts: https://platform.openai.com/docs/guides/function-calling#custom-tools.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Raw

from edge.terms import chat

PLAIN: Final = Raw(b'{"type":"text"}')
"""How the text of a tool without a ``format`` is made."""
_BEGIN: Final = re.compile(r'\s*\{\s*"input"\s*:\s*"')
# Characters within which the text has begun; an object that begins otherwise is read when it is whole.
_LONGEST_BEGIN: Final = 256
_HIGH: Final = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}$")
_CUT: Final = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?$")
_TEXT: Final = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)


def tool(name: str, description: str, form: Raw | None) -> chat.Tool:
    """Return a tool that takes one text, made as ``form`` (Responses' ``format``) says; None = any text."""
    told = "The text itself, exactly as the tool is to get it: nothing around it, no quotation marks, no code fence."
    kind = msgspec.json.decode(PLAIN if form is None else form)
    if isinstance(kind, dict) and kind.get("type") == "grammar":
        told += f" It must follow this grammar ({kind.get('syntax')}):\n{kind.get('definition')}"
    schema = {
        "type": "object",
        "properties": {"input": {"type": "string", "description": told}},
        "required": ["input"],
        "additionalProperties": False,
    }
    return chat.Tool(name, description, Raw(msgspec.json.encode(schema)), custom=PLAIN if form is None else form)


def has_grammar(one: chat.Tool) -> bool:
    """Return whether the text of a tool has to follow a grammar."""
    kind = None if one.custom is None else msgspec.json.decode(one.custom)
    return isinstance(kind, dict) and kind.get("type") == "grammar"


def names_of(request: chat.Request) -> frozenset[str]:
    """Return the names of the tools of a request that take one text."""
    return frozenset([one.name for one in request.tools if one.custom is not None])


def arguments_of(text: str) -> str:
    """Return the arguments of the function that stands for a call with this text."""
    return msgspec.json.encode({"input": text}).decode()


def text_of(arguments: str) -> str:
    """Return the text of a call, whose arguments a model wrote. What is no object with one text is taken as it is."""
    try:
        given: Any = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return arguments
    if isinstance(given, str):
        return given
    if not isinstance(given, dict):
        return arguments
    if isinstance(given.get("input"), str):
        return str(given["input"])
    texts = [value for value in given.values() if isinstance(value, str)]
    if len(given) == 1 and texts:
        return texts[0]
    return arguments if given else ""


class TextReader:
    """Reads the text of one call from its arguments while they are streamed."""

    def __init__(self) -> None:
        self._held = ""
        self._inside = False  # the text has begun
        self._over = False  # it is complete
        self._waits: list[str] = []  # fragments, if its beginning was not found: it is read when it is whole

    def push(self, arguments: str) -> str:
        """Return the text that a fragment of the arguments adds."""
        if self._over:
            return ""
        if self._waits:
            self._waits.append(arguments)
            return ""
        self._held += arguments
        if not self._inside:
            begin = _BEGIN.match(self._held)
            if begin is None:
                if len(self._held) > _LONGEST_BEGIN:
                    self._waits.append(self._held)
                return ""
            self._inside = True
            self._held = self._held[begin.end() :]
        return self._decoded()

    def _decoded(self) -> str:
        """Return what of the held text is whole: no escape, and no pair of surrogates, is cut."""
        found = _TEXT.match(self._held)
        end = 0 if found is None else found.end()
        raw, rest = self._held[:end], self._held[end:]
        if rest.startswith('"'):
            self._over, self._held = True, ""
            return _unescaped(raw)
        for cut in (_CUT, _HIGH):
            at = cut.search(raw)
            if at is not None and (len(raw[: at.start()]) - len(raw[: at.start()].rstrip("\\"))) % 2 == 0:
                raw, rest = raw[: at.start()], raw[at.start() :] + rest
        self._held = rest
        return _unescaped(raw)

    def finish(self) -> str:
        """Return the rest of the text when the arguments are complete."""
        held, self._held = "".join(self._waits) or self._held, ""
        if self._over or self._inside:
            return ""  # what a model has cut off within an escape says nothing
        self._over = True
        return text_of(held) if held.strip() else ""


def _unescaped(raw: str) -> str:
    """Return a JSON string without its quotes. Line breaks that a model has not escaped are line breaks."""
    if "\\" not in raw:
        return raw
    try:
        return str(msgspec.json.decode('"' + raw.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'))
    except msgspec.DecodeError:
        return raw
