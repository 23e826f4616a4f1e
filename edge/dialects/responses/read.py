"""Reads responses: the request of a client, and the whole answer of a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from msgspec import Raw

from edge.dialects import custom_tools, signatures
from edge.dialects.errors import UnreadableAnswerError, UnreadableRequestError
from edge.dialects.fields import NULL, count, few, hints, without_null
from edge.dialects.members import Members
from edge.dialects.responses import schema
from edge.dialects.tool_names import SPACE
from edge.dialects.urls import media_from_url
from edge.terms import chat

if TYPE_CHECKING:
    from collections.abc import Iterator

DIALECT: Final = "responses"
_REQUEST: Final = Members(schema.Request, ("input.content.logprobs", "tools.tools.type"))
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_ANSWER: Final = msgspec.json.Decoder(schema.Answer)
_PARTS: Final = list[schema.Part]

# What the answer depends on, and what no other dialect has: what OpenAI keeps, and what runs there.
_LIMITS: Final = ("previous_response_id", "conversation", "prompt", "context_management")
# Fields that say nothing about the answer where nothing is stored.
_SILENT: Final = ("stream_options", "include", "background", "store", "truncation")
_ROLES: Final = ("system", "developer", "user", "assistant")
_AUDIO: Final = {"wav": "audio/wav", "mp3": "audio/mp3"}


def read_request(body: bytes) -> chat.Request:
    """Read the body of ``POST /v1/responses``.

    Raises:
        UnreadableRequestError: the body is no such request.
    """
    try:
        asked, unknown = _REQUEST.decode(body)
        options = _FIELDS.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreadableRequestError(str(error)) from error
    dropped, limits = hints(body, schema.Request, _LIMITS, _SILENT)
    if bytes(options.get("background", NULL)) == b"true":
        limits = (*limits, "background")
    dropped += tuple(_left_out(asked, options))
    tools, odd, told = _tools(asked.tools)
    messages: list[chat.Message] = []
    if asked.instructions:
        messages.append(chat.Message("system", (chat.Text(asked.instructions),)))
    messages += [chat.Message("system", (chat.Text(text),)) for text in told]
    if isinstance(asked.input, str):
        messages.append(chat.Message("user", (chat.Text(asked.input),)))
    else:
        _read_items(asked.input, messages)
    if not asked.input:
        raise UnreadableRequestError("input is empty; send text or at least one item")
    return chat.Request(
        model=asked.model,
        messages=tuple(messages),
        tools=tools,
        tool_choice=_tool_choice(asked.tool_choice),
        parallel=asked.parallel_tool_calls,
        format=_format(asked.text),
        thinking=_thinking(asked.reasoning),
        sampling=chat.Sampling(temperature=asked.temperature, top_p=asked.top_p),
        max_tokens=asked.max_output_tokens,
        user=asked.user or "",
        stream=asked.stream is True,
        include_usage=True,
        hints=dropped + few(unknown),
        limits=limits + odd,
    )


def _left_out(asked: schema.Request, options: dict[str, Raw]) -> Iterator[str]:
    """Return the names of what is known here, and that no other dialect can say."""
    if bytes(options.get("store", NULL)) == b"true":
        yield "store"
    if bytes(options.get("truncation", NULL)) not in {b"null", b'"disabled"'}:
        yield "truncation"
    if b"logprobs" in bytes(options.get("include", NULL)):
        yield "logprobs"
    if asked.text is not None and asked.text.verbosity is not None:
        yield "verbosity"
    # Codex sends it always: it is known, so that it does not cost a second look at the body
    if not isinstance(asked.input, str) and any(item.phase for item in asked.input):
        yield "input.phase"


def _read_items(items: list[schema.Item], messages: list[chat.Message]) -> None:
    """Read the input. Neighbouring items of the assistant are one turn, as are results of tools."""
    for index, item in enumerate(items):
        message = _item(item, f"input[{index}]")
        last = messages[-1] if messages else None
        if last is not None and last.role == message.role and message.role in {"assistant", "tool"}:
            messages[-1] = chat.Message(last.role, last.parts + message.parts, last.name)
        else:
            messages.append(message)


def _item(item: schema.Item, where: str) -> chat.Message:
    kind = item.type or ("message" if item.role else None)
    if kind == "message":
        if item.role not in _ROLES:
            raise UnreadableRequestError(f"{where}.role is {item.role!r}; use one of {', '.join(_ROLES)}")
        return chat.Message(cast("Any", item.role), tuple(_content(item.content, where)))
    if kind == "function_call":
        if not item.name or not item.call_id:
            raise UnreadableRequestError(f"{where} needs name and call_id")
        name = _name(item.name, item.namespace)
        return chat.Message("assistant", (chat.ToolCall(item.call_id, name, item.arguments or "{}"),))
    if kind == "custom_tool_call":
        if not item.name or not item.call_id:
            raise UnreadableRequestError(f"{where} needs name and call_id")
        return chat.Message("assistant", (_custom_call(item, item.call_id),))
    if kind in {"function_call_output", "custom_tool_call_output"}:
        if not item.call_id:
            raise UnreadableRequestError(f"{where}.call_id is missing")
        return chat.Message("tool", (chat.ToolResult(item.call_id, _output(item.output, where)),))
    if kind == "reasoning":
        return chat.Message("assistant", (_reasoning(item),))
    raise UnreadableRequestError(f"{where}: an item of the type {kind!r} cannot be said in another dialect")


def _custom_call(item: schema.Item, identifier: str) -> chat.ToolCall:
    return chat.ToolCall(
        identifier, _name(item.name, item.namespace), custom_tools.arguments_of(item.input or ""), custom=True
    )


def _reasoning(item: schema.Item) -> chat.Reasoning:
    """Read thoughts. OpenAI believes them by item id and encrypted content, so both are kept in the signature."""
    told = item.summary or item.content  # what some servers show instead of a summary
    text = "\n\n".join(part.text for part in told if part.text) if isinstance(told, list) else ""
    if not item.encrypted_content:
        return chat.Reasoning(text, id=item.id or "")
    signature, issuer = signatures.unseal(item.encrypted_content, DIALECT)
    if issuer == DIALECT:
        signature = f"{item.id or ''}:{signature}"
    redacted = signatures.is_redacted(item.encrypted_content)
    return chat.Reasoning(text, signature, issuer, redacted=redacted, id=item.id or "")


def _content(content: str | list[schema.Part] | None, where: str) -> Iterator[chat.Part]:
    if isinstance(content, str):
        if content:
            yield chat.Text(content)
        return
    for index, part in enumerate(content or ()):
        yield _part(part, f"{where}.content[{index}]")


def _part(part: schema.Part, where: str) -> chat.Part:
    kind = part.type
    if kind in {"input_text", "output_text", "text"} and part.text is not None:
        return chat.Text(part.text)
    if kind == "input_image" and part.image_url:
        return media_from_url("image", part.image_url, where, detail=part.detail or "")
    if kind == "input_file" and (part.file_data or part.file_url):
        return media_from_url("document", part.file_data or part.file_url or "", where, name=part.filename or "")
    if kind == "input_audio" and part.input_audio is not None:
        form = part.input_audio.get("format", "")
        return chat.Media("audio", _AUDIO.get(form, f"audio/{form}"), part.input_audio.get("data", ""))
    if kind == "refusal" and part.refusal is not None:
        return chat.Refused(part.refusal)
    raise UnreadableRequestError(f"{where}: a part of the type {kind!r} cannot be said in another dialect")


def _output(output: Any, where: str) -> tuple[chat.Text | chat.Media, ...]:
    if isinstance(output, str):
        return (chat.Text(output),)
    try:
        parts = msgspec.convert(output, _PARTS, from_attributes=True)
    except msgspec.ValidationError as error:
        raise UnreadableRequestError(f"{where}.output: {error}") from error
    return tuple(cast("Any", _part(part, f"{where}.output[{index}]")) for index, part in enumerate(parts))


def _name(name: str | None, namespace: str | None) -> str:
    """Return the name of a tool, with that of its namespace."""
    return f"{namespace}{SPACE}{name or ''}" if namespace else name or ""


def _tools(tools: list[schema.Tool] | None) -> tuple[tuple[chat.Tool, ...], tuple[str, ...], list[str]]:
    """Return functions, types of tools that cannot be said elsewhere, and what is to be told about namespaces."""
    read: list[chat.Tool] = []
    odd: list[str] = []
    told: list[str] = []
    for index, tool in enumerate(tools or ()):
        if tool.type in {"function", "custom"}:
            read.append(_tool(tool, f"tools[{index}]"))
        elif tool.type == "namespace" and tool.name and tool.tools is not None:
            for place, inner in enumerate(tool.tools):
                where = f"tools[{index}].tools[{place}]"
                if inner.type in {"function", "custom"}:
                    read.append(_tool(inner, where, tool.name))
                else:
                    odd.append(f"{where}.type {inner.type[:64]}")
            if tool.description:
                told.append(f"About the tools whose names begin with {tool.name}__: {tool.description}")
        else:
            odd.append(f"tools[{index}].type {tool.type[:64]}")
    return tuple(read), tuple(odd), told


def _tool(tool: schema.Tool, where: str, namespace: str = "") -> chat.Tool:
    if not tool.name:
        raise UnreadableRequestError(f"{where}.name is missing")
    name = _name(tool.name, namespace)
    if tool.type == "custom":
        return custom_tools.tool(name, tool.description or "", without_null(tool.format))
    # a function is strict here unless the client says otherwise
    return chat.Tool(name, tool.description or "", without_null(tool.parameters), tool.strict is not False)


def _tool_choice(choice: str | schema.ToolChoice | None) -> chat.ToolChoice | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice not in {"auto", "none", "required"}:
            raise UnreadableRequestError(f"tool_choice is {choice!r}; use auto, none, required or a function")
        return chat.ToolChoice(cast("Any", choice))
    if choice.type in {"function", "custom"} and choice.name:
        return chat.ToolChoice("required", (_name(choice.name, choice.namespace),))
    if choice.type == "allowed_tools" and choice.mode in {"auto", "required"}:
        names = tuple(_name(tool.name, tool.namespace) for tool in choice.tools or () if tool.name)
        return chat.ToolChoice(cast("Any", choice.mode), names)
    raise UnreadableRequestError(f"tool_choice of the type {choice.type!r} is not a function")


def _format(text: schema.TextConfig | None) -> chat.JsonFormat | None:
    wanted = None if text is None else text.format
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return chat.JsonFormat()
    if wanted.type != "json_schema":
        raise UnreadableRequestError(f"text.format.type is {wanted.type!r}; use text, json_object or json_schema")
    return chat.JsonFormat(without_null(wanted.schema), wanted.name, wanted.description or "", wanted.strict)


def _thinking(reasoning: schema.ReasoningConfig | None) -> chat.Thinking | None:
    if reasoning is None or reasoning.effort is None:
        return None
    if reasoning.effort not in chat.EFFORT_BUDGETS:
        raise UnreadableRequestError(
            f"reasoning.effort is {reasoning.effort!r}; use one of {', '.join(chat.EFFORT_BUDGETS)}"
        )
    shown = reasoning.summary is not None or reasoning.generate_summary is not None
    return chat.Thinking(cast("Any", reasoning.effort), shown=shown or None)


def read_usage(usage: schema.Usage | None) -> chat.Usage:
    """Return the billed tokens."""
    if usage is None:
        return chat.Usage()
    given = usage.input_tokens_details or schema.InputDetails()
    return chat.Usage(
        input_tokens=count(usage.input_tokens),
        output_tokens=count(usage.output_tokens),
        cached_tokens=count(given.cached_tokens),
        cache_written_tokens=count(given.cache_write_tokens),
        reasoning_tokens=0
        if usage.output_tokens_details is None
        else count(usage.output_tokens_details.reasoning_tokens),
    )


def finish_of(answer: schema.Answer, calls: bool) -> chat.Finish:
    """Return why an answer ended."""
    if answer.status == "incomplete":
        reason = None if answer.incomplete_details is None else answer.incomplete_details.reason
        return "content_filter" if reason == "content_filter" else "length"
    return "tool_calls" if calls else "stop"


def read_answer(body: bytes, identifier: str) -> chat.Answer:
    """Read a whole answer. ``identifier`` is unique to it, and completes what the provider does not name.

    Raises:
        UnreadableAnswerError: the body is no complete answer.
    """
    try:
        said = _ANSWER.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreadableAnswerError(f"not a response: {error}") from error
    if said.output is None or said.status not in {None, "completed", "incomplete"}:
        raise UnreadableAnswerError(f"a response without output, or of the status {said.status!r}")
    parts: list[chat.Part] = []
    for index, item in enumerate(said.output):
        if item.type == "message":
            try:
                parts += _content(item.content, "output")
            except UnreadableRequestError as error:
                raise UnreadableAnswerError(str(error)) from error
        elif item.type == "function_call":
            parts.append(
                chat.ToolCall(item.call_id or f"call_{identifier}_{index}", item.name or "", item.arguments or "{}")
            )
        elif item.type == "custom_tool_call":
            parts.append(_custom_call(item, item.call_id or f"call_{identifier}_{index}"))
        elif item.type == "reasoning":
            parts.append(_reasoning(item))
    calls = any(isinstance(part, chat.ToolCall) for part in parts)
    choice = chat.Choice(tuple(parts), finish_of(said, calls))
    return chat.Answer(
        said.id or f"resp_{identifier}", said.model, (choice,), read_usage(said.usage), count(said.created_at)
    )
