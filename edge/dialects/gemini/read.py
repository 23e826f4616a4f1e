"""Reads generateContent: the request of a client, and the whole answer of a provider."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from msgspec import Raw

from edge.dialects import signatures
from edge.dialects.errors import UnreadableAnswerError, UnreadableRequestError
from edge.dialects.fields import count, few, hints, without_null
from edge.dialects.gemini import schema
from edge.dialects.gemini.schemas import to_json_schema
from edge.dialects.gemini.turns import Turns, add_parts
from edge.dialects.json_text import as_text
from edge.dialects.members import Members
from edge.terms import chat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DIALECT: Final = "gemini"
_REQUEST: Final = Members(schema.Request)
_ANSWER: Final = msgspec.json.Decoder(schema.Answer)
_DECLARATIONS: Final = Members(schema.Declarations)
_CONFIG: Final = msgspec.json.Decoder(schema.GenerationConfig)

# What the answer depends on, and what no other dialect has.
_LIMITS: Final = ("cachedContent", "cached_content")
_CONFIG_LIMITS: Final = ("speechConfig", "imageConfig")
_CALLING: Final = ("mode", "allowedFunctionNames")
_SNAKE: Final = re.compile(r"_([a-z])")
_LEVELS: Final[dict[str, chat.Effort]] = {
    "minimal": "minimal",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
}
_FILTERED: Final = frozenset(
    ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "IMAGE_SAFETY", "MODEL_ARMOR")
)
# The model wrote a call that cannot be read, or the API cannot say why it stopped: nothing usable came.
UNFINISHED: Final = frozenset(
    (
        "MALFORMED_FUNCTION_CALL",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "MALFORMED_RESPONSE",
        "OTHER",
    )
)


def camel(fields: dict[str, Any] | None) -> dict[str, Any]:
    """Return an object with its own names in camel case."""
    return {_SNAKE.sub(lambda found: found[1].upper(), name): value for name, value in (fields or {}).items()}


def read_request(body: bytes, model: str, stream: bool) -> chat.Request:
    """Read the body of ``POST /v1beta/models/MODEL:generateContent``, or of ``:streamGenerateContent``.

    Raises:
        UnreadableRequestError: the body is no such request.
    """
    try:
        asked, unknown = _REQUEST.decode(body)
        raw = camel(asked.generation_config if asked.generation_config is not None else asked.generation_config2)
        encoded = msgspec.json.encode(raw)
        config = _CONFIG.decode(encoded)
        tools, odd, unread = _tools(asked.tools)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreadableRequestError(str(error)) from error
    dropped, limits = hints(body, schema.Request, _LIMITS)
    more, limits2 = hints(encoded, schema.GenerationConfig, _CONFIG_LIMITS)
    if config.response_modalities and [word.upper() for word in config.response_modalities] != ["TEXT"]:
        limits2 = (*limits2, "responseModalities")
    turns = Turns()
    system = asked.system if asked.system is not None else asked.system2
    if system is not None:
        turns.add_system(system)
    contents = asked.contents
    if not contents:
        raise UnreadableRequestError("contents is empty; send at least one")
    if isinstance(contents, str):
        contents = schema.Content([schema.Part(text=contents)])
    for index, content in enumerate(contents if isinstance(contents, list) else [contents]):
        turns.add(content, f"contents[{index}]")
    top_k = config.top_k
    choosing = camel(asked.tool_config if asked.tool_config is not None else asked.tool_config2)
    return chat.Request(
        model=model,
        messages=tuple(turns.messages),
        tools=tools,
        tool_choice=_tool_choice(choosing),
        format=_format(config),
        thinking=_thinking(config),
        sampling=chat.Sampling(
            config.temperature,
            config.top_p,
            None if top_k is None else int(top_k),
            config.seed,
            config.presence_penalty,
            config.frequency_penalty,
        ),
        max_tokens=config.max_output_tokens,
        stop=tuple(config.stop_sequences or ()),
        n=config.candidate_count or 1,
        stream=stream,
        include_usage=True,
        prefill=bool(turns.messages) and turns.messages[-1].role == "assistant",
        hints=dropped + more + few(tuple(dict.fromkeys((*unknown, *unread, *_unread_choice(choosing))))),
        limits=limits + limits2 + odd,
    )


def _tools(tools: list[dict[str, Raw]] | None) -> tuple[tuple[chat.Tool, ...], tuple[str, ...], list[str]]:
    """Return functions, tools that cannot be said elsewhere, and members of functions that are not read."""
    read: list[chat.Tool] = []
    odd: list[str] = []
    unread: list[str] = []
    for index, tool in enumerate(tools or ()):
        for name, value in camel(tool).items():
            if without_null(value) is None:
                continue
            if name == "functionDeclarations":
                found, unknown = _DECLARATIONS.decode(msgspec.json.encode({name: value}))
                read += [_tool(one) for one in found.declarations]
                unread += [f"tools.{place}" for place in unknown]
            else:
                odd.append(f"tools[{index}].{name[:64]}")
    return tuple(read), tuple(odd), unread


def _unread_choice(config: dict[str, Any]) -> Iterator[str]:
    """Return the members of toolConfig that no other dialect has."""
    for name, value in config.items():
        if name == "functionCallingConfig" and isinstance(value, dict):
            yield from (f"toolConfig.{name}.{inner}" for inner in camel(value) if inner not in _CALLING)
        elif value:
            yield f"toolConfig.{name[:64]}"


def _tool(tool: schema.FunctionDeclaration) -> chat.Tool:
    parameters = without_null(tool.parameters_json_schema) or without_null(tool.parameters_json_schema2)
    if parameters is None and tool.parameters is not None:
        parameters = Raw(msgspec.json.encode(to_json_schema(tool.parameters)))
    return chat.Tool(tool.name, tool.description or "", parameters)


def _tool_choice(config: dict[str, Any]) -> chat.ToolChoice | None:
    calling = config.get("functionCallingConfig")
    if not isinstance(calling, dict):
        return None
    calling = camel(calling)
    names = tuple(str(name) for name in calling.get("allowedFunctionNames") or ())
    mode = {"AUTO": "auto", "MODE_UNSPECIFIED": "auto", "ANY": "required", "VALIDATED": "auto", "NONE": "none"}.get(
        str(calling.get("mode") or "AUTO").upper()
    )
    if mode is None:
        raise UnreadableRequestError("functionCallingConfig.mode must be AUTO, ANY, VALIDATED or NONE")
    return chat.ToolChoice(cast("Any", mode), names)


def _format(config: schema.GenerationConfig) -> chat.JsonFormat | None:
    if config.response_mime_type in {None, "", "text/plain"}:
        return None
    if config.response_mime_type != "application/json":
        raise UnreadableRequestError(f"responseMimeType {config.response_mime_type!r} cannot be said in other dialects")
    form = without_null(config.response_json_schema)
    if form is None and config.response_schema is not None:
        form = Raw(msgspec.json.encode(to_json_schema(config.response_schema)))
    return chat.JsonFormat(form)


def _thinking(config: schema.GenerationConfig) -> chat.Thinking | None:
    if config.thinking_config is None:
        return None
    try:
        thinking = msgspec.convert(camel(config.thinking_config), schema.ThinkingConfig)
    except msgspec.ValidationError as error:
        raise UnreadableRequestError(f"thinkingConfig: {error}") from error
    budget = thinking.thinking_budget
    effort = _LEVELS.get((thinking.thinking_level or "").lower())
    if budget == 0:
        return chat.Thinking("none")
    if budget is not None and budget < 0:
        budget, effort = None, effort or "medium"  # -1: as much as the model likes
    if effort is None and budget is None:
        return None
    return chat.Thinking(effort, budget, thinking.include_thoughts)


def read_usage(usage: schema.Usage | None) -> chat.Usage:
    """Return the billed tokens; in this dialect those of thoughts come on top."""
    if usage is None:
        return chat.Usage()
    thoughts = count(usage.thoughts_token_count)
    return chat.Usage(
        input_tokens=count(usage.prompt_token_count) + count(usage.tool_use_prompt_token_count),
        output_tokens=count(usage.candidates_token_count) + thoughts,
        cached_tokens=count(usage.cached_content_token_count),
        reasoning_tokens=thoughts,
    )


def finish_of(word: str, calls: bool) -> chat.Finish:
    """Return why a candidate ended; ``calls``: it calls functions, for which Gemini has no word."""
    if word == "MAX_TOKENS":
        return "length"
    if word in _FILTERED:
        return "content_filter"
    return "tool_calls" if calls else "stop"


def read_part(part: schema.Part, identifier: str) -> list[chat.Part]:
    """Return what one part of an answer says; ``identifier`` is for a call without an id of its own."""
    read: list[chat.Part] = []
    kept = part.thought_signature
    signature, issuer = signatures.unseal(kept, DIALECT) if kept else ("", "")
    if part.thought:
        return [chat.Reasoning(part.text or "", signature, issuer)]
    if signature:
        read.append(chat.Reasoning("", signature, issuer))
    if part.function_call is not None:
        call = part.function_call
        read.append(chat.ToolCall(call.id or identifier, call.name, as_text(call.args)))
    elif part.text:
        read.append(chat.Text(part.text))
    elif part.inline_data is not None or part.file_data is not None:
        raise UnreadableAnswerError("an answer with media cannot be said in another dialect")
    return read


def read_answer(body: bytes, identifier: str) -> chat.Answer:
    """Read a whole answer. ``identifier`` is unique to it, and completes what the provider does not name.

    Raises:
        UnreadableAnswerError: the body is no complete answer.
    """
    try:
        said = _ANSWER.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnreadableAnswerError(f"not an answer of generateContent: {error}") from error
    choices = tuple(_candidate(one, f"call_{identifier}_{place}") for place, one in enumerate(said.candidates or ()))
    if not choices:
        if said.prompt_feedback is None or not said.prompt_feedback.block_reason:
            raise UnreadableAnswerError("an answer without candidates")
        choices = (chat.Choice((), "content_filter"),)
    return chat.Answer(
        said.response_id or identifier, said.model_version or "", choices, read_usage(said.usage_metadata)
    )


def _candidate(candidate: schema.Candidate, identifier: str) -> chat.Choice:
    word = candidate.finish_reason
    if not word or word in UNFINISHED:
        raise UnreadableAnswerError(f"the answer is incomplete: finishReason {word}")
    given: Iterable[schema.Part] = () if candidate.content is None else candidate.content.parts or ()
    parts: list[chat.Part] = []
    for place, part in enumerate(given):
        add_parts(parts, read_part(part, f"{identifier}_{place}"))
    calls = any(isinstance(part, chat.ToolCall) for part in parts)
    return chat.Choice(tuple(parts), finish_of(word, calls))
