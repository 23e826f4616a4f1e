"""Which fields of a chat completion, whole or in pieces, does this language know?

Every field may be missing or null, because one provider or another leaves it out. What a provider adds is not here: it
is what remains of an object when the fields below are taken away (:func:`rest`).
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

Count = int | float
"""A whole number; some servers write it with a fraction of zero."""


class FunctionCall(Struct):
    """What is to be called, or what continues it."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(Struct):
    """A call, or a piece of one."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: FunctionCall | None = None


class Message(Struct):
    """A message, or what a chunk adds to it. Thoughts have two names: DeepSeek's and OpenRouter's."""

    role: str | None = None
    content: str | list[Any] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None


class Choice(Struct):
    """One of the answers that were asked for."""

    index: int | None = None
    message: Message | None = None
    delta: Message | None = None
    finish_reason: str | None = None


class InputDetails(Struct):
    """Of the tokens that came in."""

    cached_tokens: Count | None = None


class OutputDetails(Struct):
    """Of the tokens that went out."""

    reasoning_tokens: Count | None = None


class Usage(Struct):
    """What is billed; ``prompt_cache_hit_tokens`` is DeepSeek's."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    total_tokens: Count | None = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    prompt_cache_hit_tokens: Count | None = None


class Completion(Struct):
    """A whole answer, or a chunk of one."""

    id: str | None = None
    object: str | None = None
    created: Count | None = None
    model: str | None = None
    choices: list[Choice] | None = None
    usage: Usage | None = None
    error: Any = None


def rest(raw: dict[str, Any], kind: type[Struct], *also: str) -> dict[str, Any]:
    """Return what an object has beyond the fields of its kind, and beyond those named; nulls say nothing."""
    known = kind.__struct_fields__
    return {name: value for name, value in raw.items() if value is not None and name not in known and name not in also}
