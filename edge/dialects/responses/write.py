"""Writes responses: the request to a provider, and the whole answer to a client."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import structs

from edge.dialects import custom_tools, json_text, signatures, traits
from edge.dialects.errors import CannotCarryError
from edge.dialects.openai.write import UNTHINKING, effort_of, is_silent
from edge.dialects.tool_names import SPACE
from edge.dialects.urls import data_url
from edge.dialects.written import Written, dropped_of
from edge.terms import chat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DIALECT: Final = "responses"
PATH: Final = b"/responses"
_LACKS: Final = frozenset(("cache_control", "is_error", "name"))


def write_request(request: chat.Request, model: str) -> Written:
    """Write the body of ``POST /responses`` for an upstream model. Nothing is stored, as in other dialects.

    Raises:
        CannotCarryError: the request holds what this dialect cannot say.
    """
    _check(request)
    dropped = list(request.hints)
    messages = list(request.messages)
    instructions: list[str] = []
    while messages and messages[0].role in {"system", "developer"}:
        instructions.append("".join(part.text for part in messages.pop(0).parts if isinstance(part, chat.Text)))
    custom = frozenset(
        [part.id for one in messages for part in one.parts if isinstance(part, chat.ToolCall) and part.custom]
    )
    items = [item for one in messages for item in _items(one, custom)]
    body: dict[str, Any] = {"model": model, "input": items, "store": False}
    if instructions:
        body["instructions"] = "\n\n".join(instructions)
    _add_tools(request, body)
    if request.format is not None:
        body["text"] = {"format": _format(request.format)}
    _add_reasoning(request, model, body, dropped)
    if request.max_tokens is not None:
        body["max_output_tokens"] = request.max_tokens
    if request.user:
        body["user"] = request.user
    if request.stream:
        body["stream"] = True
    return Written(PATH, msgspec.json.encode(body), dropped_of(request, dropped, _LACKS))


def _check(request: chat.Request) -> None:
    if request.limits:
        raise CannotCarryError.of_fields(request.limits, DIALECT)
    if request.n != 1:
        raise CannotCarryError(f"n = {request.n}", DIALECT)
    if request.stop:
        raise CannotCarryError("stop", DIALECT)
    if request.prefill:
        raise CannotCarryError("a last message of the assistant", DIALECT)


def _add_tools(request: chat.Request, body: dict[str, Any]) -> None:
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        if request.tool_choice is not None:
            body["tool_choice"] = tool_choice(request.tool_choice, custom_tools.names_of(request))
        if request.parallel is not None:
            body["parallel_tool_calls"] = request.parallel


def _add_reasoning(request: chat.Request, model: str, body: dict[str, Any], dropped: list[str]) -> None:
    """Add how hard the model reasons, and how tokens are drawn, which a model that reasons does not take."""
    thinking = request.thinking
    takes = traits.gpt(model)
    effort = effort_of(thinking, takes)
    if effort is not None and model.startswith(UNTHINKING):
        dropped.append("reasoning")
    elif effort is not None:
        body["reasoning"] = {"effort": effort}
        body["include"] = ["reasoning.encrypted_content"]
        if thinking is not None and thinking.shown:
            body["reasoning"]["summary"] = "auto"
    silent = is_silent(effort, takes)
    for name in ("temperature", "top_p"):
        value = getattr(request.sampling, name)
        if value is not None and silent:
            body[name] = value
        elif value not in {None, 1}:
            dropped.append(name)
    dropped += [
        name
        for name in ("top_k", "seed", "presence_penalty", "frequency_penalty")
        if getattr(request.sampling, name) is not None
    ]


def _items(message: chat.Message, custom: frozenset[str]) -> Iterator[dict[str, Any]]:
    """Return the items of one turn, in order. ``custom``: the ids of calls of tools that take one text."""
    role = message.role
    content: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, chat.ToolCall):
            if content:
                yield _message(role, content)
                content = []
            yield _call(part)
        elif isinstance(part, chat.ToolResult):
            kind = "custom_tool_call_output" if part.id in custom else "function_call_output"
            yield {"type": kind, "call_id": part.id, "output": _output(part)}
        elif isinstance(part, chat.Reasoning):
            if part.issuer == DIALECT and part.signature:
                identifier, _, encrypted = part.signature.partition(":")
                summary = [{"type": "summary_text", "text": part.text}] if part.text else []
                yield {"type": "reasoning", "id": identifier, "summary": summary, "encrypted_content": encrypted}
        else:
            content.append(_part(part, role))
    if content:
        yield _message(role, content)


def _message(role: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a message. One of the assistant is its text, or what an answer has, with an id, if it is a refusal too."""
    said = {"type": "message", "role": role, "content": content}
    if role != "assistant":
        return said
    if all(part["type"] == "output_text" for part in content):
        return {**said, "content": "".join(part["text"] for part in content)}
    for part in content:
        if part["type"] == "output_text":
            part["annotations"] = []
    return {**said, "id": "msg_0", "status": "completed"}


def _call(call: chat.ToolCall) -> dict[str, Any]:
    said = {"call_id": call.id, "name": call.name}
    if call.custom:
        return {"type": "custom_tool_call", **said, "input": custom_tools.text_of(call.arguments)}
    return {"type": "function_call", **said, "arguments": call.arguments}


def _output(result: chat.ToolResult) -> Any:
    if all(isinstance(part, chat.Text) for part in result.parts):
        return "".join(part.text for part in result.parts if isinstance(part, chat.Text))
    return [_part(part, "user") for part in result.parts]


def _part(part: chat.Text | chat.Media | chat.Refused, role: str) -> dict[str, Any]:
    if isinstance(part, chat.Text):
        return {"type": "output_text" if role == "assistant" else "input_text", "text": part.text}
    if isinstance(part, chat.Refused):
        return {"type": "refusal", "refusal": part.text}
    if part.kind == "image":
        return {"type": "input_image", "image_url": data_url(part), "detail": part.detail or "auto"}
    if part.kind == "document":
        if part.url:
            return {"type": "input_file", "file_url": part.url}
        return {"type": "input_file", "filename": part.name or "document.pdf", "file_data": data_url(part)}
    raise CannotCarryError("audio", DIALECT)


def _tool(tool: chat.Tool) -> dict[str, Any]:
    if tool.custom is not None:
        told = {"description": tool.description} if tool.description else {}
        return {"type": "custom", "name": tool.name, **told, "format": tool.custom}
    said: dict[str, Any] = {"type": "function", "name": tool.name, "strict": tool.strict is True}
    if tool.description:
        said["description"] = tool.description
    said["parameters"] = tool.parameters if tool.parameters is not None else {"type": "object", "properties": {}}
    return said


def tool_choice(choice: chat.ToolChoice, custom: frozenset[str]) -> Any:
    """Return which tools are to be called; ``custom``: the names of those that take one text."""
    if not choice.names:
        return choice.mode
    tools = [{"type": "custom" if name in custom else "function", **named(name)} for name in choice.names]
    if choice.mode == "required" and len(tools) == 1:
        return tools[0]
    return {"type": "allowed_tools", "mode": choice.mode, "tools": tools}


def _format(wanted: chat.JsonFormat) -> dict[str, Any]:
    if wanted.schema is None:
        return {"type": "json_object"}
    said: dict[str, Any] = {"type": "json_schema", "name": wanted.name or "answer", "schema": wanted.schema}
    if wanted.description:
        said["description"] = wanted.description
    said["strict"] = json_text.is_closed(json_text.decoded(wanted.schema)) if wanted.strict is None else wanted.strict
    return said


def write_usage(usage: chat.Usage) -> dict[str, Any]:
    """Return the usage object of a response."""
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_written_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _client_tools(tools: Sequence[chat.Tool]) -> list[dict[str, Any]]:
    """Return tools as the client has sent them, those of a namespace together."""
    said: list[dict[str, Any]] = []
    spaces: dict[str, dict[str, Any]] = {}
    for tool in tools:
        namespace, _, name = tool.name.rpartition(SPACE)
        if not namespace:
            said.append(_tool(tool))
            continue
        if namespace not in spaces:
            spaces[namespace] = {"type": "namespace", "name": namespace, "description": "", "tools": []}
            said.append(spaces[namespace])
        spaces[namespace]["tools"].append({**_tool(tool), "name": name})
    return said


def envelope(request: chat.Request, identifier: str, model: str, created: int) -> dict[str, Any]:
    """Return a response without output, which repeats what was asked."""
    return {
        "id": identifier,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": request.max_tokens,
        "model": model or request.model,
        "output": [],
        "parallel_tool_calls": request.parallel is not False,
        "previous_response_id": None,
        "reasoning": {"effort": None if request.thinking is None else request.thinking.effort, "summary": None},
        "store": False,
        "temperature": request.sampling.temperature,
        "text": {"format": {"type": "text"} if request.format is None else _format(request.format)},
        "tool_choice": "auto"
        if request.tool_choice is None
        else tool_choice(request.tool_choice, custom_tools.names_of(request)),
        "tools": _client_tools(request.tools),
        "top_p": request.sampling.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": request.user or None,
        "metadata": {},
    }


def complete(said: dict[str, Any], finish: chat.Finish, usage: chat.Usage) -> dict[str, Any]:
    """Set the end of a response."""
    said["status"] = "completed"
    if finish in {"length", "content_filter"}:
        said["status"] = "incomplete"
        said["incomplete_details"] = {"reason": "max_output_tokens" if finish == "length" else "content_filter"}
    said["usage"] = write_usage(usage)
    return said


def text_part(text: str) -> dict[str, Any]:
    """Return a part of a message's text."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def message_item(identifier: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a message of the output."""
    return {"id": identifier, "type": "message", "role": "assistant", "status": "completed", "content": content}


def reasoning_item(
    identifier: str, text: str, signature: str, issuer: str, *, redacted: bool = False
) -> dict[str, Any]:
    """Return thoughts of the output."""
    if issuer == DIALECT and ":" in signature:
        identifier, _, signature = signature.partition(":")
    item: dict[str, Any] = {
        "id": identifier,
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text}] if text else [],
    }
    if signature:
        item["encrypted_content"] = signatures.seal(signature, issuer, DIALECT, redacted=redacted)
    return item


def named(name: str) -> dict[str, str]:
    """Return how a client knows a tool: by its name, and by its namespace if it is in one."""
    namespace, _, short = name.rpartition(SPACE)
    return {"namespace": namespace, "name": short} if namespace else {"name": name}


def call_item(identifier: str, call: chat.ToolCall, status: str = "completed") -> dict[str, Any]:
    """Return a call of the output."""
    said: dict[str, Any] = {"id": identifier, "status": status, "call_id": call.id, **named(call.name)}
    if call.custom:
        text = custom_tools.text_of(call.arguments) if call.arguments else ""
        return {**said, "type": "custom_tool_call", "input": text}
    return {**said, "type": "function_call", "arguments": call.arguments}


def response_id(identifier: str) -> str:
    """Return an id of a response; clients tell ids by their first letters."""
    return identifier if identifier.startswith("resp_") else f"resp_{identifier}"


def write_output(parts: Sequence[chat.Part], identifier: str, custom: frozenset[str]) -> list[dict[str, Any]]:
    """Return the items of an answer; neighbouring texts are one message. ``custom``: tools that take one text."""
    items: list[dict[str, Any]] = []
    for part in parts:
        place = len(items)
        if isinstance(part, chat.ToolCall):
            call = structs.replace(part, custom=part.name in custom)
            items.append(call_item(f"{'ctc' if call.custom else 'fc'}_{identifier}_{place}", call))
        elif isinstance(part, chat.Reasoning):
            name = f"rs_{identifier}_{place}"
            items.append(reasoning_item(name, part.text, part.signature, part.issuer, redacted=part.redacted))
        elif isinstance(part, chat.Text | chat.Refused):
            if not part.text:
                continue
            refused = {"type": "refusal", "refusal": part.text}
            piece = text_part(part.text) if isinstance(part, chat.Text) else refused
            if items and items[-1]["type"] == "message":
                items[-1]["content"].append(piece)
            else:
                items.append(message_item(f"msg_{identifier}_{place}", [piece]))
    return items


def write_answer(answer: chat.Answer, request: chat.Request, now: float) -> bytes:
    """Write a whole answer; ``now`` is Unix time, for an answer that does not say when it was made."""
    choice = answer.choices[0]
    said = envelope(request, response_id(answer.id), answer.model, answer.created or math.floor(now))
    said["output"] = write_output(choice.parts, answer.id.removeprefix("resp_"), custom_tools.names_of(request))
    return msgspec.json.encode(complete(said, choice.finish, answer.usage))
