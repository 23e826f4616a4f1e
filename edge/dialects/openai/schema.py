"""Structs for the fields of OpenAI's chat completions that edge reads.

Facts: https://platform.openai.com/docs/api-reference/chat, with the additions of DeepSeek (``reasoning_content``,
``prompt_cache_hit_tokens``) and OpenRouter (``reasoning``, ``reasoning_details``, ``cache_control``). In answers every
field may be missing or null, because some provider omits it.
"""

from __future__ import annotations

from typing import Any

from msgspec import Raw, Struct

from edge.dialects.fields import NULL

Count = int | float
"""An integer; some servers write it with a fraction of zero."""


class ImageUrl(Struct):
    """The place of an image: an https or data URL."""

    url: str
    detail: str | None = None


class InputAudio(Struct):
    """A sound in base64, with "wav" or "mp3" as its format."""

    data: str
    format: str


class File(Struct):
    """A document, inline as a data URL, or by the id of an upload."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class CacheControl(Struct):
    """A mark for the prompt cache (Anthropic's, which OpenRouter understands as well)."""

    type: str = "ephemeral"
    ttl: str | None = None


class ContentPart(Struct):
    """One part of a message; ``thinking`` is Mistral's."""

    type: str
    text: str | None = None
    image_url: ImageUrl | str | None = None
    input_audio: InputAudio | None = None
    file: File | None = None
    refusal: str | None = None
    thinking: str | list[ContentPart] | None = None
    cache_control: CacheControl | None = None


class Function(Struct):
    """The name and the arguments of a call, or a fragment of them."""

    name: str | None = None
    arguments: str | None = None


class CustomCall(Struct):
    """The name of a custom tool that is called, and its text, or a fragment of it."""

    name: str | None = None
    input: str | None = None


class ToolCall(Struct):
    """A tool call, or a fragment of one."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: Function | None = None
    custom: CustomCall | None = None


class ReasoningDetail(Struct):
    """A piece of reasoning with what its issuer needs to believe it (OpenRouter's form)."""

    type: str = ""
    text: str | None = None
    summary: str | None = None
    data: str | None = None
    signature: str | None = None
    format: str | None = None
    id: str | None = None


class Message(Struct):
    """A message of a request or an answer, or the delta of a chunk."""

    role: str | None = None
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    audio: Any = None
    function_call: Any = None


class FunctionDeclaration(Struct):
    """A function that may be called."""

    name: str
    description: str | None = None
    parameters: Raw = NULL
    strict: bool | None = None


class Grammar(Struct):
    """A grammar that the text of a custom tool follows."""

    definition: str = ""
    syntax: str = ""


class TextFormat(Struct):
    """How the text of a custom tool is made."""

    type: str
    grammar: Grammar | None = None


class CustomDeclaration(Struct):
    """A custom tool, which takes one text."""

    name: str
    description: str | None = None
    format: TextFormat | None = None


class Tool(Struct):
    """A tool; only functions, and custom tools as functions, can be said in other dialects."""

    type: str = "function"
    function: FunctionDeclaration | None = None
    custom: CustomDeclaration | None = None
    cache_control: CacheControl | None = None


class NamedFunction(Struct):
    """The name of a function, or of a custom tool."""

    name: str


class NamedTool(Struct):
    """A tool that is to be called."""

    type: str = "function"
    function: NamedFunction | None = None
    custom: NamedFunction | None = None


class AllowedTools(Struct):
    """The functions that may be called."""

    mode: str
    tools: list[NamedTool]


class ToolChoice(Struct):
    """A choice that is more than a word."""

    type: str = "function"
    function: NamedFunction | None = None
    custom: NamedFunction | None = None
    allowed_tools: AllowedTools | None = None


class JsonSchema(Struct):
    """A schema for the answer."""

    name: str
    schema: Raw = NULL
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Struct):
    """What the answer's text is."""

    type: str
    json_schema: JsonSchema | None = None


class StreamOptions(Struct):
    """Options of a stream."""

    include_usage: bool | None = None


class Request(Struct):
    """The body of ``POST /v1/chat/completions``, as far as other dialects can say it."""

    messages: list[Message]
    model: str = ""
    tools: list[Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    user: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    modalities: list[str] | None = None


class InputDetails(Struct):
    """Details of the prompt's tokens."""

    cached_tokens: Count | None = None
    cache_write_tokens: Count | None = None


class OutputDetails(Struct):
    """Details of the completion's tokens."""

    reasoning_tokens: Count | None = None


class Usage(Struct):
    """Billed tokens; ``prompt_cache_hit_tokens`` is DeepSeek's."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: InputDetails | None = None
    completion_tokens_details: OutputDetails | None = None
    prompt_cache_hit_tokens: Count | None = None


class Choice(Struct):
    """One alternative."""

    index: int | None = None
    message: Message | None = None
    delta: Message | None = None
    finish_reason: str | None = None


class Completion(Struct):
    """A complete answer, or one chunk of it."""

    id: str | None = None
    created: Count | None = None
    model: str | None = None
    choices: list[Choice] | None = None
    usage: Usage | None = None
    object: str | None = None
    error: Any = None
    message: Any = None  # of a vLLM error
