"""Reads messages: the request of a client, and the whole answer of a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from edge.dialects import signatures
from edge.dialects.anthropic import schema
from edge.dialects.errors import UnreadableAnswerError, UnreadableRequestError
from edge.dialects.fields import count, few, hints, without_null
from edge.dialects.json_text import as_text
from edge.dialects.members import Members
from edge.terms import chat

if TYPE_CHECKING:
    from collections.abc import Iterator

DIALECT: Final = "anthropic"
_REQUEST: Final = Members(schema.Request)
# Members of tools that Claude Code sends: they are known, so that they do not cost a second look at the body.
_OF_TOOLS: Final = ("defer_loading", "eager_input_streaming")
_ANSWER: Final = msgspec.json.Decoder(schema.Answer)

# What the answer depends on, and what no other dialect has.
_LIMITS: Final = ("mcp_servers", "container", "inference_geo")
FINISHES: Final[dict[str, chat.Finish]] = {
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
    "pause_turn": "pause",
}
_EFFORTS: Final[dict[str, chat.Effort]] = {
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}


def read_request(body: bytes) -> chat.Request:
    """Read the body of ``POST /v1/messages``, or of ``/v1/messages/count_tokens``, which has the same fields.

    Raises:
        UnreadableRequestError: the body is no such request.
    """
    try:
        asked, unknown = _REQUEST.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreadableRequestError(str(error)) from error
    if not asked.messages:
        raise UnreadableRequestError("messages: at least one message is required")
    dropped, limits = hints(body, schema.Request, _LIMITS)
    tools, odd = _tools(asked.tools)
    messages: list[chat.Message] = []
    if asked.system:
        messages.append(chat.Message("system", tuple(_system(asked.system))))
    for index, message in enumerate(asked.messages):
        messages += _messages(message, f"messages[{index}]")
    choice = asked.tool_choice
    return chat.Request(
        model=asked.model,
        messages=tuple(messages),
        tools=tools,
        tool_choice=_tool_choice(choice),
        parallel=None
        if choice is None or choice.disable_parallel_tool_use is None
        else not choice.disable_parallel_tool_use,
        format=_format(asked),
        thinking=_thinking(asked),
        sampling=chat.Sampling(temperature=asked.temperature, top_p=asked.top_p, top_k=asked.top_k),
        max_tokens=asked.max_tokens,
        stop=tuple(asked.stop_sequences or ()),
        user="" if asked.metadata is None else asked.metadata.user_id or "",
        stream=asked.stream is True,
        include_usage=True,
        prefill=asked.messages[-1].role == "assistant",
        hints=dropped + few((*_of_tools(asked.tools), *unknown)),
        limits=limits + odd,
    )


def _cache(mark: schema.CacheControl | None) -> str:
    return "" if mark is None else mark.ttl or "5m"


def _system(system: str | list[schema.Block]) -> Iterator[chat.Text]:
    if isinstance(system, str):
        yield chat.Text(system)
        return
    for index, block in enumerate(system):
        if block.type != "text" or block.text is None:
            raise UnreadableRequestError(f"system[{index}] must be a block of text")
        yield chat.Text(block.text, _cache(block.cache_control))


def _messages(message: schema.Message, where: str) -> Iterator[chat.Message]:
    """Read one turn. Results of tools become turns of their own, before the rest."""
    role = message.role
    if role not in {"user", "assistant", "system"}:
        raise UnreadableRequestError(f"{where}.role is {role!r}; use user or assistant")
    if isinstance(message.content, str):
        yield chat.Message(cast("Any", role), (chat.Text(message.content),) if message.content else ())
        return
    parts = [_part(block, f"{where}.content[{index}]") for index, block in enumerate(message.content)]
    results = tuple(part for part in parts if isinstance(part, chat.ToolResult))
    rest = tuple(part for part in parts if not isinstance(part, chat.ToolResult))
    if results:
        yield chat.Message("tool", results)
    if rest or not results:
        yield chat.Message(cast("Any", role), rest)


def _part(block: schema.Block, where: str) -> chat.Part:
    kind = block.type
    cache = _cache(block.cache_control)
    if kind == "text" and block.text is not None:
        return chat.Text(block.text, cache)
    if kind in {"image", "document"} and block.source is not None:
        return _media(cast("Any", kind), block, block.source, cache, where)
    if kind == "tool_use" and block.id and block.name:
        return chat.ToolCall(block.id, block.name, as_text(block.input), cache)
    if kind == "tool_result" and block.tool_use_id:
        return chat.ToolResult(block.tool_use_id, tuple(_result(block.content, where)), block.is_error is True, cache)
    if kind == "thinking" and block.thinking is not None:
        signature, issuer = signatures.unseal(block.signature or "", DIALECT)
        return chat.Reasoning(block.thinking, signature, issuer if signature else "")
    if kind == "redacted_thinking" and block.data is not None:
        signature, issuer = signatures.unseal(block.data, DIALECT)
        return chat.Reasoning("", signature, issuer, redacted=True)
    raise UnreadableRequestError(f"{where}: a block of the type {kind!r} cannot be said in another dialect")


def _media(kind: Any, block: schema.Block, source: schema.Source, cache: str, where: str) -> chat.Media | chat.Text:
    name = block.title or ""
    if source.type == "base64" and source.media_type and source.data is not None:
        return chat.Media(kind, source.media_type, source.data, name=name, cache=cache)
    if source.type == "url" and source.url:
        return chat.Media(kind, url=source.url, name=name, cache=cache)
    if source.type == "text" and source.data is not None:
        return chat.Text(f"{name}\n\n{source.data}" if name else source.data, cache)
    raise UnreadableRequestError(f"{where}.source of the type {source.type!r} cannot be said in another dialect")


def _result(content: Any, where: str) -> Iterator[chat.Text | chat.Media]:
    if content is None:
        return
    if isinstance(content, str):
        yield chat.Text(content)
        return
    try:
        blocks = msgspec.convert(content, list[schema.Block], from_attributes=True)
    except msgspec.ValidationError as error:
        raise UnreadableRequestError(f"{where}.content: {error}") from error
    for index, block in enumerate(blocks):
        if block.type == "tool_reference" and block.tool_name:  # what a search for tools has found; all are declared
            yield chat.Text(f"The tool {block.tool_name} can be called.")
            continue
        part = _part(block, f"{where}.content[{index}]")
        if not isinstance(part, chat.Text | chat.Media):
            raise UnreadableRequestError(f"{where}.content[{index}] must be text, an image or a document")
        yield part


def _tools(tools: list[schema.Tool] | None) -> tuple[tuple[chat.Tool, ...], tuple[str, ...]]:
    read: list[chat.Tool] = []
    odd: list[str] = []
    for index, tool in enumerate(tools or ()):
        if tool.type not in {None, "custom"}:
            odd.append(f"tools[{index}].type {tool.type[:64]}")
        elif not tool.name:
            raise UnreadableRequestError(f"tools[{index}].name is missing")
        else:
            read.append(
                chat.Tool(
                    tool.name,
                    tool.description or "",
                    without_null(tool.input_schema),
                    tool.strict,
                    _cache(tool.cache_control),
                )
            )
    return tuple(read), tuple(odd)


def _of_tools(tools: list[schema.Tool] | None) -> Iterator[str]:
    """Return the names of what tools say that no other dialect can."""
    for name in _OF_TOOLS:
        if any(getattr(tool, name) for tool in tools or ()):
            yield f"tools.{name}"


def _tool_choice(choice: schema.ToolChoice | None) -> chat.ToolChoice | None:
    if choice is None:
        return None
    if choice.type == "tool" and choice.name:
        return chat.ToolChoice("required", (choice.name,))
    mode = {"auto": "auto", "any": "required", "none": "none"}.get(choice.type)
    if mode is None:
        raise UnreadableRequestError(f"tool_choice.type is {choice.type!r}; use auto, any, tool with a name, or none")
    return chat.ToolChoice(cast("Any", mode))


def _format(asked: schema.Request) -> chat.JsonFormat | None:
    wanted = asked.output_format if asked.output_config is None else asked.output_config.format
    if wanted is None:
        return None
    if wanted.type != "json_schema" or without_null(wanted.schema) is None:
        raise UnreadableRequestError(f"the output format is {wanted.type!r}; use json_schema with a schema")
    return chat.JsonFormat(wanted.schema)


def _thinking(asked: schema.Request) -> chat.Thinking | None:
    effort: chat.Effort | None = None
    if asked.output_config is not None and asked.output_config.effort is not None:
        effort = _EFFORTS.get(asked.output_config.effort)
        if effort is None:
            raise UnreadableRequestError(f"output_config.effort is {asked.output_config.effort!r}")
    thinking = asked.thinking
    if thinking is None:
        return None if effort is None else chat.Thinking(effort)
    if thinking.type == "disabled":
        return chat.Thinking("none")
    if thinking.type in {"adaptive", "between_tools"}:
        return chat.Thinking(effort or "high", shown=thinking.display != "omitted")
    if thinking.type != "enabled" or thinking.budget_tokens is None:
        raise UnreadableRequestError("thinking.type must be enabled with budget_tokens, adaptive or disabled")
    return chat.Thinking(effort, thinking.budget_tokens, shown=thinking.display != "omitted")


def read_usage(usage: schema.Usage | None) -> chat.Usage:
    """Return the billed tokens; in this dialect those of the cache come on top."""
    if usage is None:
        return chat.Usage()
    cached = count(usage.cache_read_input_tokens)
    written = count(usage.cache_creation_input_tokens)
    return chat.Usage(
        input_tokens=count(usage.input_tokens) + cached + written,
        output_tokens=count(usage.output_tokens),
        cached_tokens=cached,
        cache_written_tokens=written,
        reasoning_tokens=0
        if usage.output_tokens_details is None
        else count(usage.output_tokens_details.thinking_tokens),
    )


def read_answer(body: bytes, identifier: str) -> chat.Answer:
    """Read a whole answer. ``identifier`` is unique to it, and completes what the provider does not name.

    Raises:
        UnreadableAnswerError: the body is no complete answer.
    """
    try:
        said = _ANSWER.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreadableAnswerError(f"not a message: {error}") from error
    if said.content is None or said.stop_reason is None:
        raise UnreadableAnswerError("a message without content or stop_reason")
    parts: list[chat.Part] = []
    for block in said.content:
        try:
            parts.append(_part(block, "content"))
        except UnreadableRequestError as error:
            raise UnreadableAnswerError(str(error)) from error
    choice = chat.Choice(tuple(parts), FINISHES.get(said.stop_reason, "stop"), said.stop_sequence or "")
    return chat.Answer(said.id or f"msg_{identifier}", said.model, (choice,), read_usage(said.usage))
