"""Holds the vocabulary of a conversation with a model, which every dialect reads into and writes from.

A request in one dialect is read into a :class:`Request` and written in another; an answer goes the other way as an
:class:`Answer`, or as :class:`Delta` values where it is streamed. Texts of JSON (arguments, schemas) stay JSON text.
Counts of tokens are totals: ``Usage.input_tokens`` includes cached ones, ``output_tokens`` includes reasoning.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Raw, Struct

DialectName: TypeAlias = Literal["openai", "responses", "anthropic", "gemini"]

Finish: TypeAlias = Literal["stop", "stop_sequence", "length", "tool_calls", "content_filter", "pause"]

ErrorKind: TypeAlias = Literal[
    "invalid_request",
    "context_length",
    "authentication",
    "billing",
    "permission",
    "not_found",
    "conflict",
    "too_large",
    "rate_limit",
    "timeout",
    "overloaded",
    "internal",
]

Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

EFFORT_BUDGETS: Final[dict[str, int]] = {
    "none": 0,
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 32768,
    "max": 65536,
}
"""Tokens of reasoning that stand for an effort in dialects that count them."""


# --- parts of messages ------------------------------------------------------------------------------------------------
class Text(Struct, frozen=True, tag=True):
    """Prose. ``cache``: the prompt may be cached up to here, for this time-to-live ("5m", "1h"); "" = no mark."""

    text: str
    cache: str = ""


class Media(Struct, frozen=True, tag=True):
    """An image, a sound or a document: ``data`` in base64 with its media type, or a ``url`` that edge never fetches."""

    kind: Literal["image", "audio", "document"]
    media_type: str = ""
    data: str = ""
    url: str = ""
    name: str = ""
    detail: str = ""
    cache: str = ""


class Reasoning(Struct, frozen=True, tag=True):
    """Thoughts of a model. Only the dialect ``issuer`` can check ``signature``; ``redacted`` shows no text at all.

    Gemini signs the part behind the thoughts, so a signature without text belongs to the next part.
    """

    text: str = ""
    signature: str = ""
    issuer: str = ""
    redacted: bool = False
    id: str = ""


class ToolCall(Struct, frozen=True, tag=True):
    """A model's wish to call a function; ``arguments`` is JSON text. ``custom``: of a tool that takes one text."""

    id: str
    name: str
    arguments: str = "{}"
    cache: str = ""
    custom: bool = False


class ToolResult(Struct, frozen=True, tag=True):
    """What a function returned."""

    id: str
    parts: tuple[Text | Media, ...] = ()
    failed: bool = False
    cache: str = ""


class Refused(Struct, frozen=True, tag=True):
    """A model's words for not answering."""

    text: str


Part: TypeAlias = Text | Media | Reasoning | ToolCall | ToolResult | Refused


class Message(Struct, frozen=True):
    """One turn. The results of tools stand in turns of the role ``tool``."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    parts: tuple[Part, ...] = ()
    name: str = ""


# --- request ----------------------------------------------------------------------------------------------------------
class Tool(Struct, frozen=True):
    """A function that the model may call; ``parameters`` is a JSON Schema, None = it takes none.

    ``custom``: the tool takes one text, made as this says (Responses' ``format``), and ``parameters`` are those of the
    function that stands for it, with the text as ``input``.
    """

    name: str
    description: str = ""
    parameters: Raw | None = None
    strict: bool | None = None
    cache: str = ""
    custom: Raw | None = None


class ToolChoice(Struct, frozen=True):
    """Whether the model calls tools; ``names``: only these, as ``mode`` says."""

    mode: Literal["auto", "none", "required"]
    names: tuple[str, ...] = ()


class JsonFormat(Struct, frozen=True):
    """The answer is JSON, of this schema if there is one."""

    schema: Raw | None = None
    name: str = ""
    description: str = ""
    strict: bool | None = None


class Thinking(Struct, frozen=True):
    """How much the model reasons: by effort, or in tokens. ``shown``: the caller wants to read it."""

    effort: Effort | None = None
    budget: int | None = None
    shown: bool | None = None


class Sampling(Struct, frozen=True):
    """How tokens are drawn; None = as the target likes. Some dialects lack some of these."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class Request(Struct, frozen=True):
    """A question to a model.

    ``hints`` holds the fields of the caller's dialect that no other dialect has: they are dropped, and named.
    ``limits`` names what may not be dropped and no other dialect can express.
    ``prefill``: a last turn of the assistant is to be continued, rather than replied to.
    """

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel: bool | None = None
    format: JsonFormat | None = None
    thinking: Thinking | None = None
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    user: str = ""
    stream: bool = False
    include_usage: bool = False
    prefill: bool = False
    hints: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()


# --- answer -----------------------------------------------------------------------------------------------------------
class Usage(Struct, frozen=True):
    """Billed tokens. Cached, written and reasoning tokens are parts of the totals."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_written_tokens: int = 0
    reasoning_tokens: int = 0


class Choice(Struct, frozen=True):
    """One alternative of an answer."""

    parts: tuple[Part, ...] = ()
    finish: Finish = "stop"
    stop_sequence: str = ""


class Answer(Struct, frozen=True):
    """A whole answer. ``created`` is Unix time, 0 = unknown."""

    id: str
    model: str
    choices: tuple[Choice, ...]
    usage: Usage = Usage()
    created: int = 0


class Error(Struct, frozen=True):
    """What went wrong, in words that any dialect can say."""

    kind: ErrorKind
    message: str
    param: str = ""
    code: str = ""


# --- stream -----------------------------------------------------------------------------------------------------------
class Start(Struct, frozen=True, tag=True):
    """The answer begins."""

    id: str
    model: str
    created: int = 0
    usage: Usage = Usage()


class TextDelta(Struct, frozen=True, tag=True):
    """More prose."""

    choice: int
    text: str


class RefusalDelta(Struct, frozen=True, tag=True):
    """More words of a refusal."""

    choice: int
    text: str


class ReasoningDelta(Struct, frozen=True, tag=True):
    """More thoughts."""

    choice: int
    text: str


class SignatureDelta(Struct, frozen=True, tag=True):
    """The signature of the thoughts before it; ``redacted``: it stands alone, and the thoughts are not shown."""

    choice: int
    signature: str
    issuer: str
    redacted: bool = False


class ToolStart(Struct, frozen=True, tag=True):
    """A tool call begins; ``index`` counts the calls of the choice."""

    choice: int
    index: int
    id: str
    name: str


class ToolDelta(Struct, frozen=True, tag=True):
    """More JSON text of a call's arguments."""

    choice: int
    index: int
    arguments: str


class FinishDelta(Struct, frozen=True, tag=True):
    """A choice is complete."""

    choice: int
    finish: Finish
    stop_sequence: str = ""


class UsageDelta(Struct, frozen=True, tag=True):
    """The tokens so far; a later one replaces it."""

    usage: Usage


class Failure(Struct, frozen=True, tag=True):
    """The provider gave up in the middle."""

    error: Error


class End(Struct, frozen=True, tag=True):
    """The stream is complete."""


Delta: TypeAlias = (
    Start
    | TextDelta
    | RefusalDelta
    | ReasoningDelta
    | SignatureDelta
    | ToolStart
    | ToolDelta
    | FinishDelta
    | UsageDelta
    | Failure
    | End
)
