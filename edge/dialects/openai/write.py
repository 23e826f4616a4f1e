"""Writes chat completions: the request to a provider, and the whole answer or the error to a client."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import msgspec

from edge.dialects import custom_tools, json_text, traits
from edge.dialects.errors import CannotCarryError
from edge.dialects.urls import data_url
from edge.dialects.written import Written, dropped_of
from edge.terms import chat

if TYPE_CHECKING:
    from collections.abc import Iterable

DIALECT: Final = "openai"
PATH: Final = b"/chat/completions"

# Models that refuse a request with reasoning_effort.
UNTHINKING: Final = ("gpt-4", "gpt-3", "chatgpt-4o")
_LACKS: Final = frozenset(("cache_control", "grammar", "is_error"))
_MOST_STOPS: Final = 4  # that OpenAI's models take
_AUDIO: Final = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mp3": "mp3", "audio/mpeg": "mp3"}
FINISHES: Final[dict[str, str]] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
    "pause": "stop",
}
FORMATS: Final = {"anthropic": "anthropic-claude-v1", "gemini": "google-gemini-v1", "responses": "openai-responses-v1"}


def write_request(request: chat.Request, model: str) -> Written:
    """Write the body of ``POST /chat/completions`` for an upstream model.

    Raises:
        CannotCarryError: the request holds what this dialect cannot say.
    """
    if request.limits:
        raise CannotCarryError.of_fields(request.limits, DIALECT)
    if request.prefill:
        raise CannotCarryError("a last message of the assistant", DIALECT)
    dropped = list(request.hints)
    body: dict[str, Any] = {"model": model, "messages": [said for one in request.messages for said in _messages(one)]}
    _add_tools(request, body)
    if request.format is not None:
        body["response_format"] = _format(request.format)
    takes = traits.gpt(model)
    effort = effort_of(request.thinking, takes)
    if effort is not None and model.startswith(UNTHINKING):
        dropped.append("reasoning")
        effort = None
    elif takes is not None and not takes.calls and request.tools:
        if effort != "none" and request.thinking is not None:
            dropped.append("reasoning")
        effort = "none" if "none" in takes.efforts else None
    if effort is not None:
        body["reasoning_effort"] = effort
    _add_sampling(request.sampling, body, dropped, silent=is_silent(effort, takes))
    if request.max_tokens is not None:
        # models that reason take the first name alone; most other servers know the second alone
        body["max_tokens" if takes is None else "max_completion_tokens"] = request.max_tokens
    check_stop(request.stop, model, takes)
    named: tuple[tuple[str, Any, Any], ...] = (
        ("stop", list(request.stop), []),
        ("n", request.n, 1),
        ("user", request.user, ""),
    )
    body |= {name: value for name, value, usual in named if value != usual}
    if request.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return Written(PATH, msgspec.json.encode(body), dropped_of(request, dropped, _LACKS))


def _add_tools(request: chat.Request, body: dict[str, Any]) -> None:
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        if request.tool_choice is not None:
            body["tool_choice"] = _tool_choice(request.tool_choice)
        if request.parallel is not None:
            body["parallel_tool_calls"] = request.parallel


def _add_sampling(sampling: chat.Sampling, body: dict[str, Any], dropped: list[str], *, silent: bool) -> None:
    """Add how tokens are drawn; a model that reasons takes none of it, unless it is ``silent``."""
    for name, usual in (("temperature", 1), ("top_p", 1), ("seed", None), *PENALTIES):
        value = getattr(sampling, name)
        if value is None or (value == usual and not silent):
            continue
        if silent or usual is None:
            body[name] = value
        else:
            dropped.append(name)
    if sampling.top_k is not None:
        dropped.append("top_k")


PENALTIES: Final = (("presence_penalty", 0), ("frequency_penalty", 0))
"""The names of penalties, and what says that there is none."""


def is_silent(effort: str | None, takes: traits.Gpt | None) -> bool:
    """Return whether a model answers without reasoning, if it is asked with this effort."""
    return takes is None or (takes.silent and effort in {None, "none"})


def check_stop(stop: tuple[str, ...], model: str, takes: traits.Gpt | None) -> None:
    """Raise CannotCarryError if a model of OpenAI's does not take these stop words."""
    if not stop:
        return
    if takes is not None and not takes.stop:
        raise CannotCarryError("stop", DIALECT)
    if len(stop) > _MOST_STOPS and (takes is not None or model.startswith(UNTHINKING)):
        raise CannotCarryError(f"more than {_MOST_STOPS} stop words", DIALECT)


def effort_of(thinking: chat.Thinking | None, takes: traits.Gpt | None = None) -> str | None:
    """Return how hard the model should reason, in a word that it knows; None = it is not asked, or asked not to."""
    if thinking is None:
        return None
    effort = thinking.effort
    budget = thinking.budget
    if effort is None or (effort == "none" and budget is not None):
        if budget is None:
            return None
        effort = traits.effort_for(min(budget, chat.EFFORT_BUDGETS["high"])) if budget > 0 else "none"
    if takes is not None:
        # "none" is what those models do anyway that do not reason unless they are asked
        return None if effort == "none" and (takes.silent or "none" not in takes.efforts) else nearest(effort, takes)
    return None if effort == "none" else effort


def nearest(effort: chat.Effort, takes: traits.Gpt) -> str:
    """Return the word that a model knows for an effort."""
    return traits.nearest(effort, takes.efforts)


def _messages(message: chat.Message) -> Iterable[dict[str, Any]]:
    if message.role == "tool":
        shown: list[dict[str, Any]] = []
        for part in message.parts:
            if isinstance(part, chat.ToolResult):
                text = "".join(inner.text for inner in part.parts if isinstance(inner, chat.Text))
                yield {"role": "tool", "tool_call_id": part.id, "content": text}
                shown += [_part(inner) for inner in part.parts if isinstance(inner, chat.Media)]
        if shown:  # a message of a tool holds text alone
            yield {"role": "user", "content": shown}
        return
    said: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
    parts = [part for part in message.parts if isinstance(part, chat.Text | chat.Media)]
    if all(isinstance(part, chat.Text) for part in parts) and (message.role != "user" or len(parts) < 2):  # noqa: PLR2004
        text = "".join(part.text for part in parts if isinstance(part, chat.Text))
        said["content"] = text if text or message.role != "assistant" else None
    else:
        said["content"] = [_part(part) for part in parts]
    if message.name:
        said["name"] = message.name
    calls = [_call(part) for part in message.parts if isinstance(part, chat.ToolCall)]
    if calls:
        said["tool_calls"] = calls
    refusal = "".join(part.text for part in message.parts if isinstance(part, chat.Refused))
    if refusal:
        said["refusal"] = refusal
    if message.role == "assistant" and said["content"] is None and not calls and not refusal:
        said["content"] = ""
    yield said


def _part(part: chat.Text | chat.Media) -> dict[str, Any]:
    if isinstance(part, chat.Text):
        return {"type": "text", "text": part.text}
    if part.kind == "image":
        picture: dict[str, Any] = {"url": data_url(part)}
        if part.detail:
            picture["detail"] = part.detail
        return {"type": "image_url", "image_url": picture}
    if part.kind == "audio" and part.data and part.media_type in _AUDIO:
        return {"type": "input_audio", "input_audio": {"data": part.data, "format": _AUDIO[part.media_type]}}
    if part.kind == "document" and part.data:
        return {"type": "file", "file": {"filename": part.name or "document.pdf", "file_data": data_url(part)}}
    plain = f"{part.kind} of this media type" if part.media_type else f"{part.kind} by URL"
    raise CannotCarryError(f"{part.kind} {part.media_type or 'by URL'}", DIALECT, plain=plain)


def _call(call: chat.ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _custom_call(call: chat.ToolCall) -> dict[str, Any]:
    text = custom_tools.text_of(call.arguments)
    return {"id": call.id, "type": "custom", "custom": {"name": call.name, "input": text}}


def _tool(tool: chat.Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice(choice: chat.ToolChoice) -> Any:
    named = [{"type": "function", "function": {"name": name}} for name in choice.names]
    if not named:
        return choice.mode
    if choice.mode == "required" and len(named) == 1:
        return named[0]
    return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": named}}


def _format(wanted: chat.JsonFormat) -> dict[str, Any]:
    if wanted.schema is None:
        return {"type": "json_object"}
    form: dict[str, Any] = {"name": wanted.name or "answer", "schema": wanted.schema}
    if wanted.description:
        form["description"] = wanted.description
    # other dialects enforce each schema, so it is enforced here where OpenAI can
    strict = json_text.is_closed(json_text.decoded(wanted.schema)) if wanted.strict is None else wanted.strict
    if strict:
        form["strict"] = True
    return {"type": "json_schema", "json_schema": form}


def write_usage(usage: chat.Usage) -> dict[str, Any]:
    """Return the usage object of a completion."""
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_written_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def reasoning_detail(text: str, signature: str, issuer: str, redacted: bool) -> dict[str, Any]:
    """Return a piece of reasoning with its signature, as clients send it back (OpenRouter's form)."""
    form = FORMATS.get(issuer, "unknown")
    # Anthropic's newer models omit their thoughts: the empty text and the signature go back together
    if redacted or (not text and issuer != "anthropic"):
        return {"type": "reasoning.encrypted", "data": signature, "format": form}
    return {"type": "reasoning.text", "text": text, "signature": signature, "format": form}


def write_message(parts: tuple[chat.Part, ...], custom: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the message of one choice; ``custom``: the names of tools that take one text."""
    text: list[str] = []
    refusal: list[str] = []
    thoughts: list[str] = []
    details: list[dict[str, Any]] = []
    calls: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, chat.Text):
            text.append(part.text)
        elif isinstance(part, chat.ToolCall):
            calls.append(_custom_call(part) if part.name in custom else _call(part))
        elif isinstance(part, chat.Reasoning):
            thoughts.append(part.text)
            if part.signature:
                details.append(reasoning_detail(part.text, part.signature, part.issuer, part.redacted))
        elif isinstance(part, chat.Refused):
            refusal.append(part.text)
    said: dict[str, Any] = {
        "role": "assistant",
        "content": "".join(text) if text or not (calls or refusal) else None,
        "refusal": "".join(refusal) or None,
    }
    if any(thoughts):
        said["reasoning_content"] = "".join(thoughts)
    if details:
        said["reasoning_details"] = details
    if calls:
        said["tool_calls"] = calls
    return said


def write_answer(answer: chat.Answer, request: chat.Request, now: float) -> bytes:
    """Write a whole answer; ``now`` is Unix time, for an answer that does not say when it was made."""
    return msgspec.json.encode(
        {
            "id": answer.id,
            "object": "chat.completion",
            "created": answer.created or math.floor(now),
            "model": answer.model or request.model,
            "choices": [
                {
                    "index": index,
                    "message": write_message(choice.parts, custom_tools.names_of(request)),
                    "logprobs": None,
                    "finish_reason": FINISHES[choice.finish],
                }
                for index, choice in enumerate(answer.choices)
            ],
            "usage": write_usage(answer.usage),
        }
    )
