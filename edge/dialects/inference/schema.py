"""Structs for the JSON fields of a chat completion, complete or streamed, that edge translates.

Every field may be missing or null, because some provider omits it. Fields that a provider adds are not listed here:
:func:`rest` returns what an object holds beyond the fields below.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

Count = int | float
"""An integer; some servers write it with a fraction of zero."""


class FunctionCall(Struct):
    """The name and arguments of a function call, or a fragment of them."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(Struct):
    """A tool call, or a fragment of one."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: FunctionCall | None = None


class Message(Struct):
    """A message, or the delta of a chunk. Reasoning has two names: DeepSeek's and OpenRouter's."""

    role: str | None = None
    content: str | list[Any] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None


class Choice(Struct):
    """One of the alternatives (``n``) that the request asked for."""

    index: int | None = None
    message: Message | None = None
    delta: Message | None = None
    finish_reason: str | None = None


class InputDetails(Struct):
    """Details of the prompt tokens."""

    cached_tokens: Count | None = None


class OutputDetails(Struct):
    """Details of the completion tokens."""

    reasoning_tokens: Count | None = None


class Usage(Struct):
    """Billed token counts; ``prompt_cache_hit_tokens`` is DeepSeek's."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    total_tokens: Count | None = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    prompt_cache_hit_tokens: Count | None = None


class Completion(Struct):
    """A complete chat completion, or one chunk of it."""

    id: str | None = None
    object: str | None = None
    created: Count | None = None
    model: str | None = None
    choices: list[Choice] | None = None
    usage: Usage | None = None
    error: Any = None


def rest(raw: dict[str, Any], kind: type[Struct], *also: str) -> dict[str, Any]:
    """Return the non-null fields of an object that neither its struct ``kind`` nor ``also`` names."""
    known = kind.__struct_fields__
    return {name: value for name, value in raw.items() if value is not None and name not in known and name not in also}
