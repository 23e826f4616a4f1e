"""Writes messages: the request to a provider, and the whole answer to a client."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from edge.dialects import signatures, traits
from edge.dialects.errors import CannotCarryError
from edge.dialects.json_text import as_object
from edge.dialects.written import Written, dropped_of
from edge.terms import chat

if TYPE_CHECKING:
    from collections.abc import Sequence

DIALECT: Final = "anthropic"
PATH: Final = b"/messages"
_LACKS: Final = frozenset(("detail", "grammar", "name", "description"))

# max_tokens is required, and a larger one than the model allows is refused.
_OUTPUT: Final = (("claude-3-5", 8192), ("claude-3-7", 32000), ("claude-3", 4096))
_USUAL_OUTPUT: Final = 32000
_LEAST_BUDGET: Final = 1024
_EFFORTS: Final[tuple[chat.Effort, ...]] = ("low", "medium", "high", "xhigh", "max")
_TOOL_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
FINISHES: Final[dict[str, str]] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "pause": "pause_turn",
}


def write_request(request: chat.Request, model: str) -> Written:
    """Write the body of ``POST /messages`` for an upstream model.

    Raises:
        CannotCarryError: the request holds what this dialect cannot say.
    """
    if request.limits:
        raise CannotCarryError.of_fields(request.limits, DIALECT)
    if request.n != 1:
        raise CannotCarryError(f"n = {request.n}", DIALECT)
    takes = traits.claude(model)
    if request.prefill and not takes.prefill:
        raise CannotCarryError("a last message of the assistant", DIALECT)
    dropped = list(request.hints)
    most = request.max_tokens
    if most is None:
        most = next((size for name, size in _OUTPUT if model.startswith(name)), _USUAL_OUTPUT)
    system, messages = _turns(request.messages)
    body: dict[str, Any] = {"model": model, "max_tokens": most, "messages": messages}
    if system:
        body["system"] = system
    _add_tools(request, body, takes)
    _add_format(request, body)
    if not (_add_thinking(request, body, most) if takes.budgets else _add_effort(request, body, takes)):
        dropped.append("reasoning")
    _add_sampling(request.sampling, body, dropped, takes)
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    if request.user:
        body["metadata"] = {"user_id": request.user}
    if request.stream:
        body["stream"] = True
    return Written(PATH, msgspec.json.encode(body), dropped_of(request, dropped, _LACKS))


def _add_tools(request: chat.Request, body: dict[str, Any], takes: traits.Claude) -> None:
    if not request.tools:
        return
    body["tools"] = [_tool(tool) for tool in request.tools]
    choice = request.tool_choice
    said: dict[str, Any] | None = None
    if choice is not None:
        if len(choice.names) > 1 or (choice.names and choice.mode != "required"):
            kept = [tool for tool in body["tools"] if tool["name"] in choice.names]
            body["tools"] = kept
            said = {"type": "any" if choice.mode == "required" else "auto"}
        elif choice.names:
            said = {"type": "tool", "name": choice.names[0]}
        else:
            said = {"type": {"required": "any"}.get(choice.mode, choice.mode)}
    if said is not None and said["type"] in {"any", "tool"} and not takes.forced:
        raise CannotCarryError("tool_choice that forces a call", DIALECT)
    if request.parallel is not None and (said is None or said["type"] != "none"):
        said = said or {"type": "auto"}
        said["disable_parallel_tool_use"] = not request.parallel
    if said is not None:
        body["tool_choice"] = said


def _tool(tool: chat.Tool) -> dict[str, Any]:
    said: dict[str, Any] = {"name": tool.name}
    if tool.description:
        said["description"] = tool.description
    said["input_schema"] = tool.parameters if tool.parameters is not None else {"type": "object", "properties": {}}
    if tool.strict:
        said["strict"] = True
    return marked(said, tool.cache)


def _add_format(request: chat.Request, body: dict[str, Any]) -> None:
    if request.format is None:
        return
    if request.format.schema is None:
        raise CannotCarryError("response_format json_object without a schema", DIALECT)
    body["output_config"] = {"format": {"type": "json_schema", "schema": request.format.schema}}


def _add_thinking(request: chat.Request, body: dict[str, Any], most: int) -> bool:
    """Ask for thoughts by a budget; return whether the client's wish could be said."""
    thinking = request.thinking
    if thinking is None:
        return True
    budget = thinking.budget
    if budget is None:
        budget = chat.EFFORT_BUDGETS[thinking.effort or "medium"]
    if budget <= 0:
        body["thinking"] = {"type": "disabled"}
        return True
    forced = body.get("tool_choice", {}).get("type") in {"any", "tool"}
    if most <= _LEAST_BUDGET or forced or _ends_without_thoughts(request.messages):
        return False
    if budget >= most:
        budget = max(_LEAST_BUDGET, most // 2)
    body["thinking"] = {"type": "enabled", "budget_tokens": max(_LEAST_BUDGET, budget)}
    return True


def _add_effort(request: chat.Request, body: dict[str, Any], takes: traits.Claude) -> bool:
    """Ask for thoughts by an effort; return whether the client's wish could be said."""
    thinking = request.thinking
    if thinking is None:
        return True
    budget = thinking.budget
    effort = thinking.effort or ("medium" if budget is None else traits.effort_for(budget))
    if effort == "none" or (budget is not None and budget <= 0):
        if takes.off == "omitted":
            return True
        if takes.off:
            body["thinking"] = {"type": takes.off}
            return True
    else:
        body["thinking"] = {"type": "adaptive"}
        if thinking.shown:
            body["thinking"]["display"] = "summarized"  # these models omit their thoughts unless they are asked
    body.setdefault("output_config", {})["effort"] = traits.nearest(effort, _EFFORTS)
    return effort != "none"


def _ends_without_thoughts(messages: Sequence[chat.Message]) -> bool:
    """Return whether the last turn of the assistant calls tools without signed thoughts before it.

    Anthropic refuses such a turn when thinking is enabled. It may come from another provider.
    """
    for message in reversed(messages):
        if message.role == "user":
            return False
        if message.role == "assistant":
            return not any(isinstance(part, chat.Reasoning) and _prose(part) for part in message.parts)
    return False


def _add_sampling(sampling: chat.Sampling, body: dict[str, Any], dropped: list[str], takes: traits.Claude) -> None:
    dropped += [
        name for name in ("seed", "presence_penalty", "frequency_penalty") if getattr(sampling, name) is not None
    ]
    if not takes.samples:
        usual = {"temperature": 1, "top_p": 1}  # and what they take for the default is left out
        values = ((name, getattr(sampling, name)) for name in ("temperature", "top_p", "top_k"))
        dropped += [name for name, value in values if value is not None and value != usual.get(name)]
        return
    thinks = body.get("thinking", {}).get("type") == "enabled"
    temperature = sampling.temperature
    if temperature is not None:
        if thinks and temperature != 1:
            dropped.append("temperature")
        else:
            if temperature > 1:
                dropped.append("temperature")
            body["temperature"] = min(temperature, 1)
    if sampling.top_p is not None:
        if thinks and sampling.top_p < 0.95:  # noqa: PLR2004 - Anthropic's bound beside thinking
            dropped.append("top_p")
        else:
            body["top_p"] = sampling.top_p
    if sampling.top_k is not None:
        if thinks:
            dropped.append("top_k")
        else:
            body["top_k"] = sampling.top_k


def marked(block: dict[str, Any], cache: str) -> dict[str, Any]:
    """Return a block with its mark for the prompt cache."""
    if cache:
        block["cache_control"] = {"type": "ephemeral"} if cache == "5m" else {"type": "ephemeral", "ttl": cache}
    return block


def _turns(messages: Sequence[chat.Message]) -> tuple[Any, list[dict[str, Any]]]:
    """Return the system prompt, and the turns. Neighbours of one role are joined: turns alternate in this dialect."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for message in messages:
        if message.role in {"system", "developer"}:
            for part in message.parts:
                if not isinstance(part, chat.Text):
                    raise CannotCarryError("a system message with more than text", DIALECT)
                system.append(marked({"type": "text", "text": part.text}, part.cache))
            continue
        role = "user" if message.role == "tool" else message.role
        blocks = [block for part in message.parts for block in _blocks(part)]
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    for turn in turns:
        content = turn["content"]
        if len(content) == 1 and content[0].keys() == {"type", "text"}:
            turn["content"] = content[0]["text"]
    if all("cache_control" not in block for block in system):
        return "\n\n".join(block["text"] for block in system), turns
    return system, turns


def tool_id(identifier: str) -> str:
    """Return a call's id in the characters that Anthropic accepts; one id always becomes the same."""
    if _TOOL_ID.fullmatch(identifier):
        return identifier
    return "toolu_" + hashlib.blake2b(identifier.encode(), digest_size=12).hexdigest()


def _blocks(part: chat.Part) -> list[dict[str, Any]]:
    if isinstance(part, chat.Text):
        # an empty block of text is refused
        return [marked({"type": "text", "text": part.text}, part.cache)] if part.text else []
    if isinstance(part, chat.ToolCall):
        call = {"type": "tool_use", "id": tool_id(part.id), "name": part.name, "input": as_object(part.arguments)}
        return [marked(call, part.cache)]
    if isinstance(part, chat.ToolResult):
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": tool_id(part.id)}
        inner = [block for one in part.parts for block in _blocks(one)]
        if inner:
            plain = len(inner) == 1 and inner[0].keys() == {"type", "text"}
            result["content"] = inner[0]["text"] if plain else inner
        if part.failed:
            result["is_error"] = True
        return [marked(result, part.cache)]
    if isinstance(part, chat.Media):
        return [marked(_media(part), part.cache)]
    return _prose(part)


def _prose(part: chat.Refused | chat.Reasoning) -> list[dict[str, Any]]:
    if isinstance(part, chat.Refused):
        return [{"type": "text", "text": part.text}] if part.text else []
    if part.issuer != DIALECT or not part.signature:
        return []  # only its issuer believes a thought
    if part.redacted:
        return [{"type": "redacted_thinking", "data": part.signature}]
    # newer models omit their thoughts, and find them in the signature
    return [{"type": "thinking", "thinking": part.text, "signature": part.signature}]


def _media(part: chat.Media) -> dict[str, Any]:
    if part.kind == "audio":
        raise CannotCarryError("audio", DIALECT)
    if part.url:
        source = {"type": "url", "url": part.url}
    else:
        source = {"type": "base64", "media_type": part.media_type, "data": part.data}
    said: dict[str, Any] = {"type": part.kind, "source": source}
    if part.name and part.kind == "document":
        said["title"] = part.name
    return said


def write_usage(usage: chat.Usage) -> dict[str, Any]:
    """Return the usage object of a message."""
    said: dict[str, Any] = {
        "input_tokens": max(0, usage.input_tokens - usage.cached_tokens - usage.cache_written_tokens),
        "cache_creation_input_tokens": usage.cache_written_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
    }
    if usage.reasoning_tokens:
        said["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return said


def write_blocks(parts: Sequence[chat.Part]) -> list[dict[str, Any]]:
    """Return the content of an answer."""
    blocks: list[dict[str, Any]] = []
    for part in parts:
        if isinstance(part, chat.Reasoning):
            signature = signatures.seal(part.signature, part.issuer, DIALECT) if part.signature else ""
            if part.redacted:
                blocks.append({"type": "redacted_thinking", "data": signature})
            else:
                blocks.append({"type": "thinking", "thinking": part.text, "signature": signature})
        elif isinstance(part, chat.Text):
            if part.text:
                blocks.append({"type": "text", "text": part.text})
        else:
            blocks += _blocks(part)
    return blocks


def write_answer(answer: chat.Answer, request: chat.Request, now: float) -> bytes:
    """Write a whole answer; the dialect does not say when it was made."""
    del now
    choice = answer.choices[0]
    return msgspec.json.encode(
        {
            "id": answer.id,
            "type": "message",
            "role": "assistant",
            "model": answer.model or request.model,
            "content": write_blocks(choice.parts),
            "stop_reason": FINISHES[choice.finish],
            "stop_sequence": choice.stop_sequence or None,
            "usage": write_usage(answer.usage),
        }
    )
