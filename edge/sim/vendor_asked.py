"""Reads requests in the formats of Anthropic and Gemini as if they were OpenAI's, loosely, as ``asked`` does."""

from __future__ import annotations

import re
from typing import Any, Final

_GENERATE: Final = re.compile(r"/v1(?:beta)?/models/(?P<model>.+):(?P<method>generateContent|streamGenerateContent)")


_COUNTED: Final = re.compile(
    r"/v1(?:beta)?/models/(?P<model>.+):(?P<method>embedContent|batchEmbedContents|countTokens)"
)


_CHOSEN = ("parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema", "args", "response")
_SNAKE: Final = re.compile(r"_([a-z])")


def generate_of(path: str) -> tuple[str, bool] | None:
    """Return model and whether it streams, for a path of generateContent; None = it is another path."""
    found = _GENERATE.fullmatch(path)
    return None if found is None else (found["model"], found["method"] == "streamGenerateContent")


def counted_of(path: str) -> tuple[str, str] | None:
    """Return model and method, for a path of embedContent, batchEmbedContents or countTokens; None = it is another."""
    found = _COUNTED.fullmatch(path)
    return None if found is None else (found["model"], found["method"])


def counted_as_openai(given: dict[str, Any], model: str, method: str) -> tuple[dict[str, Any], list[Any]]:
    """Return the request in OpenAI's fields, and the names of models in its body."""
    given = _camel(given)
    if method == "countTokens":
        inner = given.get("generateContentRequest")
        return generate_as_chat(inner or given, model, stream=False), [inner.get("model")] if inner else []
    asked = [one for one in given.get("requests") or () if isinstance(one, dict)] if method[0] == "b" else [given]
    texts = [_message(one.get("content") or {})["content"] for one in asked]
    named = [one.get("model") for one in asked if method[0] == "b" or "model" in one]
    embedding = {
        "model": model,
        "input": ["".join(part.get("text", "") for part in parts) for parts in texts] or None,
        "dimensions": asked[0].get("outputDimensionality") if asked else None,
    }
    return embedding, named


def messages_as_chat(given: dict[str, Any]) -> dict[str, Any]:
    """Return a request of Anthropic's messages in the fields of a chat completion."""
    said: list[Any] = list(given.get("messages") or ())
    if given.get("system"):
        said.insert(0, {"role": "system", "content": given["system"]})
    choice = given.get("tool_choice") or {}
    named = {"function": {"name": choice.get("name")}}
    chat = {
        **given,
        "messages": [{**one, "content": _parts(one.get("content"))} for one in said if isinstance(one, dict)],
        "tools": [
            {"function": {"name": tool.get("name"), "parameters": tool.get("input_schema")}}
            for tool in given.get("tools") or ()
        ],
        "tool_choice": {"any": "required", "none": "none", "tool": named}.get(str(choice.get("type"))),
        "reasoning_effort": "medium" if (given.get("thinking") or {}).get("type") == "enabled" else None,
    }
    schema = ((given.get("output_config") or {}).get("format") or {}).get("schema")
    return chat if schema is None else {**chat, "response_format": {"json_schema": {"schema": schema}}}


def _parts(content: Any) -> Any:
    if not isinstance(content, list):
        return content
    return [
        {"type": "image_url"} if part.get("type") == "image" else {"type": "text", "text": part.get("text", "")}
        for part in content
        if isinstance(part, dict)
    ]


def _camel(value: Any) -> Any:
    """Return JSON with names in camel case, which Gemini reads in both; names that a caller chose stay as they are."""
    if isinstance(value, list):
        return [_camel(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    named = {_SNAKE.sub(lambda found: found[1].upper(), name): inner for name, inner in value.items()}
    return {name: inner if name in _CHOSEN else _camel(inner) for name, inner in named.items()}


def generate_as_chat(given: dict[str, Any], model: str, stream: bool) -> dict[str, Any]:
    """Return a request of Gemini's generateContent in the fields of a chat completion."""
    given = _camel(given)
    config = given.get("generationConfig") or {}
    calling = (given.get("toolConfig") or {}).get("functionCallingConfig") or {}
    names = calling.get("allowedFunctionNames") or ()
    declared = [one for tool in given.get("tools") or () for one in tool.get("functionDeclarations") or ()]
    choice: Any = {"ANY": "required", "NONE": "none"}.get(str(calling.get("mode")))
    chat: dict[str, Any] = {
        "model": model,
        "stream": stream,
        "max_tokens": config.get("maxOutputTokens"),
        "messages": [_message(one) for one in _contents(given.get("contents"))],
        "tools": [
            {
                "function": {
                    "name": one.get("name"),
                    "parameters": one.get("parametersJsonSchema") or one.get("parameters"),
                }
            }
            for one in declared
        ],
        "tool_choice": {"function": {"name": names[0]}} if names else choice,
        "reasoning_effort": "medium" if (config.get("thinkingConfig") or {}).get("includeThoughts") else None,
    }
    schema = config.get("responseJsonSchema")
    return chat if schema is None else {**chat, "response_format": {"json_schema": {"schema": schema}}}


def _contents(given: Any) -> list[dict[str, Any]]:
    """Return the turns of a prompt, which may be one turn, or one text."""
    if isinstance(given, str):
        return [{"parts": [{"text": given}]}]
    return [given] if isinstance(given, dict) else given or []


def _message(content: dict[str, Any]) -> dict[str, Any]:
    parts = []
    for part in content.get("parts") or ():
        kind = str((part.get("inlineData") or part.get("fileData") or {}).get("mimeType", ""))
        held = "inlineData" in part or "fileData" in part
        sound = {"type": "input_audio"} if kind.startswith("audio/") else {"type": "image_url"}
        parts.append(sound if held else {"type": "text", "text": part.get("text", "")})
    return {"role": content.get("role", "user"), "content": parts}
