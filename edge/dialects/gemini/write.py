"""Writes generateContent: the request to a provider, and the whole answer to a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import msgspec

from edge.dialects import signatures
from edge.dialects.errors import CannotCarryError
from edge.dialects.json_text import as_object, is_object
from edge.dialects.written import Written, dropped_of
from edge.terms import chat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DIALECT: Final = "gemini"
# Gemini 3 refuses a call that it did not sign; with these words it lets a call of another model pass.
_UNSIGNED: Final = "skip_thought_signature_validator"
_SIGNING: Final = "gemini-3"
_MOST_STOPS: Final = 5
_LACKS: Final = frozenset(("cache_control", "description", "detail", "filename", "grammar", "name", "strict"))
FINISHES: Final[dict[str, str]] = {
    "stop": "STOP",
    "stop_sequence": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
    "pause": "STOP",
}


def write_request(request: chat.Request, model: str) -> Written:
    """Write the path and the body of ``POST /models/MODEL:generateContent`` for an upstream model.

    Raises:
        CannotCarryError: the request holds what this dialect cannot say.
    """
    if request.limits:
        raise CannotCarryError.of_fields(request.limits, DIALECT)
    if len(request.stop) > _MOST_STOPS:
        raise CannotCarryError(f"more than {_MOST_STOPS} stop words", DIALECT)
    dropped = list(request.hints)
    body: dict[str, Any] = {"contents": _contents(request.messages, model)}
    system = list(_system(request.messages))
    if system:
        body["systemInstruction"] = {"parts": system}
    _add_tools(request, body, dropped)
    config: dict[str, Any] = {
        name: value
        for name, value in (
            ("temperature", request.sampling.temperature),
            ("topP", request.sampling.top_p),
            ("topK", request.sampling.top_k),
            ("seed", request.sampling.seed),
            ("presencePenalty", request.sampling.presence_penalty),
            ("frequencyPenalty", request.sampling.frequency_penalty),
            ("maxOutputTokens", request.max_tokens),
            ("stopSequences", list(request.stop) or None),
            ("candidateCount", request.n if request.n != 1 else None),
        )
        if value is not None
    }
    if request.format is not None:
        config["responseMimeType"] = "application/json"
        if request.format.schema is not None:
            config["responseJsonSchema"] = request.format.schema
    thinking = _thinking(request.thinking, model)
    if thinking is not None:
        config["thinkingConfig"] = thinking
    if config:
        body["generationConfig"] = config
    if request.user:
        dropped.append("user")
    method = b":streamGenerateContent?alt=sse" if request.stream else b":generateContent"
    path = b"/models/" + quote(model, safe="").encode() + method
    return Written(path, msgspec.json.encode(body), dropped_of(request, dropped, _LACKS))


def _add_tools(request: chat.Request, body: dict[str, Any], dropped: list[str]) -> None:
    if not request.tools:
        return
    body["tools"] = [{"functionDeclarations": [_tool(tool) for tool in request.tools]}]
    choice = request.tool_choice
    if choice is not None:
        calling: dict[str, Any] = {"mode": {"auto": "AUTO", "none": "NONE", "required": "ANY"}[choice.mode]}
        if choice.names:
            if choice.mode == "auto":  # allowed names go with ANY alone
                kept = [tool for tool in request.tools if tool.name in choice.names]
                body["tools"] = [{"functionDeclarations": [_tool(tool) for tool in kept]}]
            else:
                calling["allowedFunctionNames"] = list(choice.names)
        body["toolConfig"] = {"functionCallingConfig": calling}
    if request.parallel is False:
        dropped.append("parallel_tool_calls")


def _tool(tool: chat.Tool) -> dict[str, Any]:
    said: dict[str, Any] = {"name": tool.name}
    if tool.description:
        said["description"] = tool.description
    if tool.parameters is not None:
        said["parametersJsonSchema"] = tool.parameters
    return said


def _thinking(thinking: chat.Thinking | None, model: str) -> dict[str, Any] | None:
    if thinking is None:
        return None
    if thinking.effort == "none" and thinking.budget is None:
        # only the flash models of 2.5 can stop thinking; others refuse to be asked
        return {"thinkingBudget": 0} if "flash" in model and not model.startswith(_SIGNING) else None
    said: dict[str, Any] = {}
    if model.startswith(_SIGNING):
        effort = thinking.effort
        budget = chat.EFFORT_BUDGETS[effort] if effort is not None else thinking.budget or 0
        # these three levels are those that all its models have
        said["thinkingLevel"] = next(
            (word for word in ("low", "medium") if budget <= chat.EFFORT_BUDGETS[word]), "high"
        )
    else:
        budget = thinking.budget if thinking.budget is not None else chat.EFFORT_BUDGETS[thinking.effort or "medium"]
        said["thinkingBudget"] = min(budget, 24576)  # the most that each model of 2.5 takes
    if thinking.shown:
        said["includeThoughts"] = True
    return said


def _system(messages: Sequence[chat.Message]) -> Iterator[dict[str, Any]]:
    for message in messages:
        if message.role in {"system", "developer"}:
            for part in message.parts:
                if not isinstance(part, chat.Text):
                    raise CannotCarryError("a system message with more than text", DIALECT)
                yield {"text": part.text}


def _contents(messages: Sequence[chat.Message], model: str) -> list[dict[str, Any]]:
    """Return the turns.

    Neighbours of one role are joined, but results of functions stand alone in their turn, in the order of the calls.
    """
    turns: list[dict[str, Any]] = []
    called: dict[str, tuple[int, str]] = {}  # place and name by id
    joined = False
    for message in messages:
        if message.role in {"system", "developer"}:
            continue
        if message.role == "tool":
            results = [part for part in message.parts if isinstance(part, chat.ToolResult)]
            parts = [_result(part, called) for part in results]
            if turns and turns[-1]["parts"] and "functionResponse" in turns[-1]["parts"][-1]:
                turns[-1]["parts"] += parts
            else:
                turns.append({"role": "user", "parts": parts})
            _in_call_order(turns[-1]["parts"], called)
            joined = False
            continue
        parts = _parts(message.parts, called, model)
        role = "model" if message.role == "assistant" else "user"
        if not parts:
            continue
        if joined and turns[-1]["role"] == role:
            turns[-1]["parts"] += parts
        else:
            turns.append({"role": role, "parts": parts})
        joined = True
    for turn in turns:
        for part in turn["parts"]:
            part.get("functionResponse", {}).pop("id", None)
    return turns


def _in_call_order(parts: list[dict[str, Any]], called: dict[str, tuple[int, str]]) -> None:
    parts.sort(key=lambda part: called[part["functionResponse"]["id"]][0])


def _result(result: chat.ToolResult, called: dict[str, tuple[int, str]]) -> dict[str, Any]:
    if result.id not in called:
        what = "the result of an unknown call"
        raise CannotCarryError(f"{what} {result.id[:64]!r}", DIALECT, plain=what)
    text = "".join(part.text for part in result.parts if isinstance(part, chat.Text))
    plain = is_object(text)
    response: Any = as_object(text) if plain and not result.failed else {"error" if result.failed else "result": text}
    said: dict[str, Any] = {"id": result.id, "name": called[result.id][1], "response": response}
    media = [_media(part) for part in result.parts if isinstance(part, chat.Media)]
    if media:
        said["parts"] = media
    return {"functionResponse": said}


def _parts(parts: Sequence[chat.Part], called: dict[str, tuple[int, str]], model: str) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    signature = ""
    calls = 0
    for part in parts:
        if isinstance(part, chat.Reasoning):
            if part.issuer == DIALECT and part.signature:
                signature = part.signature
            continue
        if isinstance(part, chat.ToolCall):
            called[part.id] = (len(called), part.name)
            calls += 1
            one: dict[str, Any] = {"functionCall": {"name": part.name, "args": as_object(part.arguments)}}
            if calls == 1 and not signature and model.startswith(_SIGNING):
                signature = _UNSIGNED
        elif isinstance(part, chat.Text | chat.Refused):
            if not part.text:
                continue
            one = {"text": part.text}
        elif isinstance(part, chat.Media):
            one = _media(part)
        else:
            continue
        if signature:
            one["thoughtSignature"], signature = signature, ""
        said.append(one)
    return said


def _media(part: chat.Media) -> dict[str, Any]:
    if part.data:
        return {"inlineData": {"mimeType": part.media_type, "data": part.data}}
    if not part.url.startswith("gs://") or not part.media_type:
        # Gemini reads no other URL, and edge does not fetch it
        raise CannotCarryError(f"{part.kind} by URL", DIALECT)
    return {"fileData": {"mimeType": part.media_type, "fileUri": part.url}}


def write_usage(usage: chat.Usage) -> dict[str, Any]:
    """Return the usageMetadata of an answer."""
    said = {
        "promptTokenCount": usage.input_tokens,
        "candidatesTokenCount": max(0, usage.output_tokens - usage.reasoning_tokens),
        "totalTokenCount": usage.input_tokens + usage.output_tokens,
    }
    if usage.cached_tokens:
        said["cachedContentTokenCount"] = usage.cached_tokens
    if usage.reasoning_tokens:
        said["thoughtsTokenCount"] = usage.reasoning_tokens
    return said


def call_part(call: chat.ToolCall) -> dict[str, Any]:
    """Return a call as a part of an answer. Its id comes back with the result, if the client keeps it."""
    return {"functionCall": {"id": call.id, "name": call.name, "args": as_object(call.arguments)}}


def _answer_parts(parts: Sequence[chat.Part]) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    signature = ""
    for part in parts:
        if isinstance(part, chat.Reasoning):
            if part.signature:
                signature = signatures.seal(part.signature, part.issuer, DIALECT, redacted=part.redacted)
            if part.text:
                said.append({"text": part.text, "thought": True})
            continue
        if isinstance(part, chat.ToolCall):
            said.append(call_part(part))
        elif isinstance(part, chat.Text | chat.Refused) and part.text:
            said.append({"text": part.text})
        else:
            continue
        if signature:
            said[-1]["thoughtSignature"], signature = signature, ""
    if signature:  # nothing follows the thoughts
        said.append({"text": "", "thoughtSignature": signature})
    return said


def write_answer(answer: chat.Answer, request: chat.Request, now: float) -> bytes:
    """Write a whole answer; the dialect does not say when it was made."""
    del now
    return msgspec.json.encode(
        {
            "candidates": [
                {
                    "content": {"parts": _answer_parts(choice.parts), "role": "model"},
                    "finishReason": FINISHES[choice.finish],
                    "index": index,
                }
                for index, choice in enumerate(answer.choices)
            ],
            "usageMetadata": write_usage(answer.usage),
            "modelVersion": answer.model or request.model,
            "responseId": answer.id,
        }
    )
