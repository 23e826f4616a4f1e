"""Structs for the fields of OpenAI's responses that edge reads.

Facts: https://platform.openai.com/docs/api-reference/responses. Items and parts are one struct each with the fields of
all types, so that an answer with an item of a newer type can still be read.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct

from edge.dialects.fields import NULL


class Part(Struct):
    """A part of a message, of a summary or of a tool's output."""

    type: str
    text: str | None = None
    image_url: str | None = None
    detail: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    file_id: str | None = None
    filename: str | None = None
    refusal: str | None = None
    input_audio: dict[str, str] | None = None


class Item(Struct):
    """An item of the input or of the output."""

    type: str | None = None
    role: str | None = None
    id: str | None = None
    content: str | list[Part] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: str | list[Part] | Any = None
    summary: list[Part] | None = None
    encrypted_content: str | None = None
    status: str | None = None
    namespace: str | None = None
    phase: str | None = None


class Tool(Struct):
    """A tool; functions, and custom tools as functions, can be said in other dialects, and so can ``tools`` of both."""

    type: str
    name: str = ""
    description: str | None = None
    parameters: Raw = NULL
    strict: bool | None = None
    format: Raw = NULL
    tools: list[Tool] | None = None


class NamedTool(Struct):
    """A tool that may be called."""

    type: str
    name: str = ""
    namespace: str | None = None


class ToolChoice(Struct):
    """A choice that is more than a word."""

    type: str
    name: str = ""
    mode: str = ""
    tools: list[NamedTool] | None = None
    namespace: str | None = None


class Format(Struct):
    """What the answer's text is."""

    type: str
    name: str = ""
    schema: Raw = NULL
    description: str | None = None
    strict: bool | None = None


class TextConfig(Struct):
    """How the text is made."""

    format: Format | None = None
    verbosity: str | None = None


class ReasoningConfig(Struct):
    """How much the model reasons, and whether it tells."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class Request(Struct):
    """The body of ``POST /v1/responses``, as far as other dialects can say it."""

    input: str | list[Item] = ""
    model: str = ""
    instructions: str | None = None
    tools: list[Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: ReasoningConfig | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    user: str | None = None
    stream: bool | None = None


class InputDetails(Struct):
    """Details of the input's tokens."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class OutputDetails(Struct):
    """Details of the output's tokens."""

    reasoning_tokens: int | None = None


class Usage(Struct):
    """Billed tokens."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: InputDetails | None = None
    output_tokens_details: OutputDetails | None = None


class IncompleteDetails(Struct):
    """Why an answer is incomplete."""

    reason: str | None = None


class Answer(Struct):
    """A whole answer."""

    id: str = ""
    model: str = ""
    created_at: float | None = None
    status: str | None = None
    output: list[Item] | None = None
    usage: Usage | None = None
    incomplete_details: IncompleteDetails | None = None
    error: Any = None


class Event(Struct):
    """One event of a stream."""

    type: str = ""
    response: Answer | None = None
    output_index: int = 0
    item: Item | None = None
    delta: str | None = None
    summary_index: int | None = None
    code: Any = None
    message: str | None = None
