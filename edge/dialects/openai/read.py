"""Reads chat completions: the request of a client, and the whole answer or the error of a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from msgspec import Raw

from edge.dialects import custom_tools, signatures
from edge.dialects.errors import UnreadableAnswerError, UnreadableRequestError
from edge.dialects.fields import count, few, hints, without_null
from edge.dialects.members import Members
from edge.dialects.openai import schema
from edge.dialects.urls import media_from_url
from edge.terms import chat

if TYPE_CHECKING:
    from collections.abc import Iterator

DIALECT: Final = "openai"
_REQUEST: Final = Members(schema.Request, ("messages.reasoning_details.index",))
_ANSWER: Final = msgspec.json.Decoder(schema.Completion)

# What the answer depends on, and what no other dialect has.
_LIMITS: Final = ("audio", "web_search_options", "functions", "function_call")
# Fields that edge itself decides, or that say nothing about the answer.
_SILENT: Final = ("stream_options", "modalities")
_ROLES: Final = ("system", "developer", "user", "assistant", "tool")
_AUDIO: Final = {"wav": "audio/wav", "mp3": "audio/mp3"}
FINISHES: Final[dict[str, chat.Finish]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
# DeepSeek stops in the middle with this word when it is overloaded, and some servers with the second.
UNFINISHED: Final = frozenset(("insufficient_system_resource", "error"))
_ISSUERS: Final = {
    "anthropic-claude-v1": "anthropic",
    "google-gemini-v1": "gemini",
    "openai-responses-v1": "responses",
}


def read_request(body: bytes) -> chat.Request:
    """Read the body of ``POST /v1/chat/completions``.

    Raises:
        UnreadableRequestError: the body is no such request.
    """
    try:
        asked, unknown = _REQUEST.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreadableRequestError(str(error)) from error
    if not asked.messages:
        raise UnreadableRequestError("messages is empty; send at least one")
    dropped, limits = hints(body, schema.Request, _LIMITS, _SILENT)
    if asked.modalities is not None and asked.modalities != ["text"]:
        limits = ("modalities", *limits)
    tools, odd = _tools(asked.tools)
    stop = (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ())
    limit = asked.max_completion_tokens if asked.max_completion_tokens is not None else asked.max_tokens
    return chat.Request(
        model=asked.model,
        messages=tuple(_message(one, f"messages[{index}]") for index, one in enumerate(asked.messages)),
        tools=tools,
        tool_choice=_tool_choice(asked.tool_choice),
        parallel=asked.parallel_tool_calls,
        format=_format(asked.response_format),
        thinking=None
        if asked.reasoning_effort is None
        else chat.Thinking(effort=_effort(asked.reasoning_effort), shown=True),
        sampling=chat.Sampling(
            asked.temperature,
            asked.top_p,
            asked.top_k,
            asked.seed,
            asked.presence_penalty,
            asked.frequency_penalty,
        ),
        max_tokens=limit,
        stop=stop,
        n=1 if asked.n is None else asked.n,
        user=asked.user or "",
        stream=asked.stream is True,
        include_usage=asked.stream_options is not None and asked.stream_options.include_usage is True,
        hints=dropped + few(unknown),
        limits=limits + odd,
    )


def _effort(word: str) -> chat.Effort:
    if word not in chat.EFFORT_BUDGETS:
        raise UnreadableRequestError(f"reasoning_effort is {word!r}; use one of {', '.join(chat.EFFORT_BUDGETS)}")
    return cast("chat.Effort", word)


def _check(message: schema.Message, where: str) -> None:
    if message.role not in _ROLES:
        raise UnreadableRequestError(f"{where}.role is {message.role!r}; use one of {', '.join(_ROLES)}")
    for name in ("audio", "function_call"):
        if getattr(message, name) is not None:
            raise UnreadableRequestError(f"{where}.{name} cannot be said in another dialect")


def _message(message: schema.Message, where: str) -> chat.Message:
    role = message.role
    _check(message, where)
    if role == "tool":
        if not message.tool_call_id:
            raise UnreadableRequestError(f"{where}.tool_call_id is missing")
        content = tuple(_content(message, where))
        return chat.Message("tool", (chat.ToolResult(message.tool_call_id, cast("Any", content)),))
    parts: list[chat.Part] = []
    if role == "assistant":
        parts += _reasoning(message)
    parts += _content(message, where)
    if message.refusal:
        parts.append(chat.Refused(message.refusal))
    for index, call in enumerate(message.tool_calls or ()):
        if call.custom is not None and call.custom.name:
            parts.append(_custom_call(call.custom, call.id or ""))
            continue
        if call.function is None or not call.function.name:
            raise UnreadableRequestError(f"{where}.tool_calls[{index}].function.name is missing")
        parts.append(chat.ToolCall(call.id or "", call.function.name, call.function.arguments or "{}"))
    return chat.Message(cast("Any", role), tuple(parts), message.name or "")


def _custom_call(call: schema.CustomCall, identifier: str) -> chat.ToolCall:
    return chat.ToolCall(identifier, call.name or "", custom_tools.arguments_of(call.input or ""), custom=True)


def _reasoning(message: schema.Message) -> Iterator[chat.Reasoning]:
    for detail in message.reasoning_details or ():
        issuer = _ISSUERS.get(detail.format or "", "")
        kept = detail.data if detail.type == "reasoning.encrypted" else detail.signature
        signature = kept or ""
        if detail.type == "reasoning.text" and detail.text is None:
            signature = ""  # the client has dropped what was signed
        if not issuer and signature:
            signature, issuer = signatures.unseal(signature, DIALECT)
        yield chat.Reasoning(
            text=detail.text or detail.summary or "",
            signature=signature,
            issuer=issuer,
            redacted=detail.type == "reasoning.encrypted" and issuer == "anthropic",
            id=detail.id or "",
        )
    if not message.reasoning_details:
        text = message.reasoning_content or message.reasoning
        if text:
            yield chat.Reasoning(text)


def _content(message: schema.Message, where: str) -> Iterator[chat.Part]:
    content = message.content
    if content is None:
        return
    if isinstance(content, str):
        if content:
            yield chat.Text(content)
        return
    for index, part in enumerate(content):
        if part.type == "thinking":
            yield chat.Reasoning(thoughts_of(part))
        elif part.type != "reference":  # Mistral's; it points into what tools have found
            yield _part(part, f"{where}.content[{index}]")


def thoughts_of(part: schema.ContentPart) -> str:
    """Return the thoughts that Mistral's models write among their text."""
    told = part.thinking
    return told if isinstance(told, str) else "".join(one.text or "" for one in told or ())


def _cache(mark: schema.CacheControl | None) -> str:
    return "" if mark is None else mark.ttl or "5m"


def _part(part: schema.ContentPart, where: str) -> chat.Part:
    if part.type == "text" and part.text is not None:
        return chat.Text(part.text, _cache(part.cache_control))
    if part.type == "image_url" and part.image_url is not None:
        picture = part.image_url
        url, detail = (picture, None) if isinstance(picture, str) else (picture.url, picture.detail)
        return media_from_url("image", url, where, detail=detail or "", cache=_cache(part.cache_control))
    if part.type == "input_audio" and part.input_audio is not None:
        form = part.input_audio.format
        return chat.Media("audio", _AUDIO.get(form, f"audio/{form}"), part.input_audio.data)
    if part.type == "file" and part.file is not None and part.file.file_data:
        return media_from_url("document", part.file.file_data, where, name=part.file.filename or "")
    if part.type == "refusal" and part.refusal is not None:
        return chat.Refused(part.refusal)
    raise UnreadableRequestError(f"{where}: a part of the type {part.type!r} cannot be said in another dialect")


def _tools(tools: list[schema.Tool] | None) -> tuple[tuple[chat.Tool, ...], tuple[str, ...]]:
    read: list[chat.Tool] = []
    odd: list[str] = []
    for index, tool in enumerate(tools or ()):
        function = tool.function
        if tool.type == "custom" and tool.custom is not None:
            read.append(
                custom_tools.tool(tool.custom.name, tool.custom.description or "", _text_format(tool.custom.format))
            )
        elif tool.type != "function":
            odd.append(f"tools[{index}].type {tool.type[:64]}")
        elif function is None:
            raise UnreadableRequestError(f"tools[{index}].function is missing")
        else:
            read.append(
                chat.Tool(
                    function.name,
                    function.description or "",
                    without_null(function.parameters),
                    function.strict,
                    _cache(tool.cache_control),
                )
            )
    return tuple(read), tuple(odd)


def _text_format(wanted: schema.TextFormat | None) -> Raw | None:
    """Return how the text of a custom tool is made, in the words of Responses."""
    if wanted is None:
        return None
    grammar = wanted.grammar
    more = {} if grammar is None else {"definition": grammar.definition, "syntax": grammar.syntax}
    return Raw(msgspec.json.encode({"type": wanted.type, **more}))


def _named(tool: schema.NamedTool | schema.ToolChoice) -> str:
    found = tool.custom if tool.type == "custom" else tool.function
    return "" if found is None else found.name


def _tool_choice(choice: str | schema.ToolChoice | None) -> chat.ToolChoice | None:
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice not in {"auto", "none", "required"}:
            raise UnreadableRequestError(f"tool_choice is {choice!r}; use auto, none, required or a function")
        return chat.ToolChoice(cast("Any", choice))
    if choice.type in {"function", "custom"} and _named(choice):
        return chat.ToolChoice("required", (_named(choice),))
    allowed = choice.allowed_tools
    if choice.type == "allowed_tools" and allowed is not None and allowed.mode in {"auto", "required"}:
        names = tuple(_named(tool) for tool in allowed.tools if _named(tool))
        return chat.ToolChoice(cast("Any", allowed.mode), names)
    raise UnreadableRequestError(f"tool_choice of the type {choice.type!r} is not a function")


def _format(wanted: schema.ResponseFormat | None) -> chat.JsonFormat | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return chat.JsonFormat()
    if wanted.type != "json_schema" or wanted.json_schema is None:
        raise UnreadableRequestError(f"response_format.type is {wanted.type!r}; use text, json_object or json_schema")
    form = wanted.json_schema
    return chat.JsonFormat(without_null(form.schema), form.name, form.description or "", form.strict)


def read_usage(usage: schema.Usage | None) -> chat.Usage:
    """Return the billed tokens."""
    if usage is None:
        return chat.Usage()
    given = usage.prompt_tokens_details or schema.InputDetails()
    cached = given.cached_tokens
    details = usage.completion_tokens_details
    return chat.Usage(
        input_tokens=count(usage.prompt_tokens),
        output_tokens=count(usage.completion_tokens),
        cached_tokens=count(usage.prompt_cache_hit_tokens if cached is None else cached),
        cache_written_tokens=count(given.cache_write_tokens),
        reasoning_tokens=0 if details is None else count(details.reasoning_tokens),
    )


def read_answer(body: bytes, identifier: str) -> chat.Answer:
    """Read a whole answer. ``identifier`` is unique to it, and completes what the provider does not name.

    Raises:
        UnreadableAnswerError: the body is no complete answer.
    """
    try:
        said = _ANSWER.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreadableAnswerError(f"not a chat completion: {error}") from error
    if not said.choices:
        raise UnreadableAnswerError("a chat completion without choices")
    choices = tuple(
        _choice(one, f"call_{identifier}_{place}")
        for place, one in enumerate(sorted(said.choices, key=lambda one: one.index or 0))
    )
    return chat.Answer(
        said.id or f"chatcmpl-{identifier}", said.model or "", choices, read_usage(said.usage), count(said.created)
    )


def _choice(choice: schema.Choice, identifier: str) -> chat.Choice:
    message = choice.message
    if message is None:
        raise UnreadableAnswerError("a choice without a message")
    if choice.finish_reason in UNFINISHED:
        raise UnreadableAnswerError(f"the answer is incomplete: {choice.finish_reason}")
    try:
        parts = [*_reasoning(message), *_content(message, "message")]
    except UnreadableRequestError as error:
        raise UnreadableAnswerError(str(error)) from error
    if message.refusal:
        parts.append(chat.Refused(message.refusal))
    for index, call in enumerate(message.tool_calls or ()):
        if call.custom is not None and call.custom.name:
            parts.append(_custom_call(call.custom, call.id or f"{identifier}_{index}"))
            continue
        if call.function is None or not call.function.name:
            raise UnreadableAnswerError("a tool call without a function")
        parts.append(
            chat.ToolCall(call.id or f"{identifier}_{index}", call.function.name, call.function.arguments or "{}")
        )
    finish = FINISHES.get(choice.finish_reason or "", "stop")
    if finish == "stop" and message.tool_calls:
        finish = "tool_calls"
    return chat.Choice(tuple(parts), finish)
