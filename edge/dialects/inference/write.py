"""Translation of a complete chat completion into an edge.v1.ChatResponse."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from edge.dialects.inference import schema
from edge.dialects.inference.errors import AnswerUnreadableError
from edge.dialects.inference.extra import fill
from edge.dialects.inference.read import ROLES
from edge.wire.edge.v1 import inference_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Mapping

ROLE_NUMBERS: Final[dict[str | None, int]] = {name: number for number, name in ROLES.items()}
_FINISH: Final[dict[str, int]] = {
    "stop": wire.FINISH_REASON_STOP,
    "length": wire.FINISH_REASON_LENGTH,
    "tool_calls": wire.FINISH_REASON_TOOL_CALLS,
    "content_filter": wire.FINISH_REASON_CONTENT_FILTER,
}
_INT32: Final = 1 << 31
_INT64: Final = 1 << 63
# Escapes in JSON text: a surrogate pair, a lone surrogate, any other. Servers that split text between tokens also split
# surrogate pairs.
_SURROGATES: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[dD][89a-fA-F][0-9a-fA-F]{2}|\\."
)
_LONE: Final = 6  # length of an escaped lone surrogate


def write(body: bytes, facts: Mapping[str, Any]) -> bytes:
    """Return a serialized edge.v1.ChatResponse.

    Args:
        body: the JSON of a chat completion.
        facts: where the response came from: target, region, attempts, request_id and, where it applies, reason.

    Raises:
        AnswerUnreadableError: ``body`` is not a chat completion.
    """
    raw, completion = decoded(body)
    if completion.choices is None:
        raise AnswerUnreadableError("the response has no choices")
    answer = wire.ChatResponse(
        id=completion.id or "",
        model=completion.model or "",
        created=whole(completion.created),
        answered=answered(facts),
    )
    for position, (choice, known) in enumerate(zip(raw["choices"], completion.choices, strict=True)):
        _fill_choice(answer.choices.add(), choice, known, position)
    fill_usage(answer, raw, completion)
    fill(answer.extra, schema.rest(raw, schema.Completion))
    return bytes(answer.SerializeToString())


def decoded(body: bytes) -> tuple[dict[str, Any], schema.Completion]:
    """Return a complete response, or a chunk, as raw JSON and as the known struct.

    Raises:
        AnswerUnreadableError: ``body`` is not a JSON object, or a known field has the wrong type.
    """
    try:
        try:
            raw = msgspec.json.decode(body)
        except msgspec.DecodeError:
            raw = msgspec.json.decode(_SURROGATES.sub(_whole_character, body))
        return raw, msgspec.convert(raw, schema.Completion)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise AnswerUnreadableError(f"the response is not a chat completion: {error}") from error


def _whole_character(escape: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if len(escape[0]) == _LONE else escape[0]


def answered(facts: Mapping[str, Any]) -> wire.Answered:
    """Return the message that says which target, region and attempt produced the response."""
    return wire.Answered(
        target=facts["target"],
        region=facts["region"],
        attempts=facts["attempts"],
        request_id=facts["request_id"],
        reason=facts.get("reason", ""),
    )


def whole(value: float | None) -> int:
    """Return a count or a time as an int64; 0 for None and for a value outside that range."""
    return int(value) if value is not None and -_INT64 < value < _INT64 else 0


def place_of(index: int | None, position: int) -> int:
    """Return the index of an element among its siblings: its own, or its position when the provider gives none."""
    return index if index is not None and 0 <= index < _INT32 else position


def fill_usage(answer: wire.ChatResponse | wire.ChatChunk, raw: dict[str, Any], completion: schema.Completion) -> None:
    """Set the token counts, if the provider reports them."""
    known = completion.usage
    if known is None:
        return
    usage = answer.usage
    usage.input_tokens = whole(known.prompt_tokens)
    usage.output_tokens = whole(known.completion_tokens)
    usage.total_tokens = whole(known.total_tokens)
    cached = known.prompt_tokens_details.cached_tokens if known.prompt_tokens_details else None
    if cached is None:
        cached = known.prompt_cache_hit_tokens
    if cached is not None:
        usage.cached_tokens = whole(cached)
    if known.completion_tokens_details and known.completion_tokens_details.reasoning_tokens is not None:
        usage.reasoning_tokens = whole(known.completion_tokens_details.reasoning_tokens)
    details = {
        name: schema.rest(raw["usage"][name] or {}, kind)
        for name, kind in (
            ("prompt_tokens_details", schema.InputDetails),
            ("completion_tokens_details", schema.OutputDetails),
        )
        if name in raw["usage"]
    }
    fill(usage.extra, {name: inner for name, inner in details.items() if inner})
    fill(usage.extra, schema.rest(raw["usage"], schema.Usage))


def set_finish(place: wire.Choice | wire.ChoiceDelta, reason: str | None) -> None:
    """Set the finish reason, if the provider gives one."""
    if reason:
        place.finish_reason = _FINISH.get(reason, wire.FINISH_REASON_OTHER)  # type: ignore[assignment]
        if reason not in _FINISH:
            place.finish_reason_text = reason


def _fill_choice(choice: wire.Choice, raw: dict[str, Any], known: schema.Choice, position: int) -> None:
    choice.index = place_of(known.index, position)
    set_finish(choice, known.finish_reason)
    fill(choice.extra, schema.rest(raw, schema.Choice))
    if known.message is None:
        return
    message = choice.message
    message.role = ROLE_NUMBERS.get(known.message.role, wire.ROLE_UNSPECIFIED)  # type: ignore[assignment]
    add_parts(message, known.message.content)
    message.refusal = known.message.refusal or ""
    message.reasoning = known.message.reasoning_content or known.message.reasoning or ""
    message.tool_call_id = known.message.tool_call_id or ""
    message.name = known.message.name or ""
    fill(message.extra, schema.rest(raw["message"], schema.Message))
    for call, known_call in zip(raw["message"].get("tool_calls") or (), known.message.tool_calls or (), strict=True):
        fill_call(message.tool_calls.add(), call, known_call)


def add_parts(message: wire.Message, content: str | list[Any] | None) -> None:
    """Add the content of a message: text in most responses, a list of parts in a few."""
    if isinstance(content, str):
        if content:
            message.parts.add(text=content)
        return
    for part in content or ():
        if isinstance(part, str):
            message.parts.add(text=part)
        elif not isinstance(part, dict):
            raise AnswerUnreadableError("a part of the content is neither an object nor text")
        elif part.get("type") == "text" and isinstance(part.get("text"), str) and len(part) == 2:  # noqa: PLR2004
            message.parts.add(text=part["text"])
        else:
            fill(message.parts.add().other, part)


def fill_call(call: wire.ToolCall | wire.ToolCallDelta, raw: dict[str, Any], known: schema.ToolCall) -> None:
    """Set the fields of a tool call or a fragment; a call of another type than function keeps its type in ``extra``."""
    call.id = known.id or ""
    if known.function is not None:
        call.name = known.function.name or ""
        call.arguments = known.function.arguments or ""
    if known.type is not None and known.type != "function":
        call.extra.fields["type"].string_value = known.type
    fill(call.extra, schema.rest(raw, schema.ToolCall))
