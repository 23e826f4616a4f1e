"""Structs for the fields of Anthropic's messages that edge reads.

Facts: https://docs.anthropic.com/en/api/messages. Blocks are one struct with the fields of all types, so that an answer
with a block of a newer type can still be read.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct

from edge.dialects.fields import NULL


class CacheControl(Struct):
    """A mark: the prompt may be cached up to here."""

    type: str = "ephemeral"
    ttl: str | None = None


class Source(Struct):
    """Where an image or a document is: ``base64``, ``url``, ``text``, ``content`` or ``file``."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None


class Block(Struct):
    """A block of content."""

    type: str
    text: str | None = None
    source: Source | None = None
    title: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = NULL
    tool_use_id: str | None = None
    content: str | list[Block] | Any = None
    is_error: bool | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    tool_name: str | None = None
    caller: Any = None
    cache_control: CacheControl | None = None


class Message(Struct):
    """One turn."""

    role: str
    content: str | list[Block]


class Tool(Struct):
    """A tool; those with a type other than ``custom`` run at Anthropic."""

    name: str = ""
    type: str | None = None
    description: str | None = None
    input_schema: Raw = NULL
    cache_control: CacheControl | None = None
    strict: bool | None = None
    defer_loading: bool | None = None
    eager_input_streaming: bool | None = None


class ToolChoice(Struct):
    """Whether tools are called: ``auto``, ``any``, ``tool`` or ``none``."""

    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(Struct):
    """Whether the model thinks before it answers: ``enabled``, ``adaptive`` or ``disabled``."""

    type: str
    budget_tokens: int | None = None
    display: str | None = None


class Format(Struct):
    """A schema for the answer."""

    type: str
    schema: Raw = NULL


class OutputConfig(Struct):
    """The form of the answer, and how hard the model tries."""

    format: Format | None = None
    effort: str | None = None


class Metadata(Struct):
    """On whose behalf is asked."""

    user_id: str | None = None


class Request(Struct):
    """The body of ``POST /v1/messages``, as far as other dialects can say it."""

    messages: list[Message]
    max_tokens: int | None = None
    model: str = ""
    system: str | list[Block] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    metadata: Metadata | None = None
    stream: bool | None = None


class OutputDetails(Struct):
    """Details of the output's tokens."""

    thinking_tokens: int | None = None


class Usage(Struct):
    """Billed tokens; ``input_tokens`` excludes those that the cache read or wrote."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: OutputDetails | None = None


class Answer(Struct):
    """A whole answer."""

    id: str = ""
    model: str = ""
    content: list[Block] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: Usage | None = None


class Delta(Struct):
    """What an event adds: to a block, or to the message at its end."""

    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None
    signature: str | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class Event(Struct):
    """One event of a stream."""

    type: str
    index: int = 0
    message: Answer | None = None
    content_block: Block | None = None
    delta: Delta | None = None
    usage: Usage | None = None
