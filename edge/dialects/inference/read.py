"""Translation of an edge.v1.ChatRequest into the JSON body that providers accept."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import msgspec
from google.protobuf.message import DecodeError

from edge.dialects.inference.errors import RequestUnreadableError
from edge.dialects.inference.extra import number, taken
from edge.wire.edge.v1 import inference_pb2 as wire

if TYPE_CHECKING:
    from google.protobuf.struct_pb2 import Struct

ROLES: Final[dict[int, str]] = {
    wire.ROLE_SYSTEM: "system",
    wire.ROLE_DEVELOPER: "developer",
    wire.ROLE_USER: "user",
    wire.ROLE_ASSISTANT: "assistant",
    wire.ROLE_TOOL: "tool",
}
_MODES: Final[dict[int, str]] = {
    wire.ToolChoice.MODE_AUTO: "auto",
    wire.ToolChoice.MODE_NONE: "none",
    wire.ToolChoice.MODE_REQUIRED: "required",
}
_NUMBERS: Final = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
_COUNTS: Final = ("max_tokens", "max_completion_tokens", "seed", "n")

# Fields that the message defines itself or that edge sets: `extra` must not repeat them.
_REQUEST_FIELDS: Final = frozenset(
    (*_NUMBERS, *_COUNTS, "model", "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format")
) | {"stop", "user", "stream", "stream_options"}
_MESSAGE_FIELDS: Final = frozenset(
    ("role", "content", "tool_calls", "tool_call_id", "name", "refusal", "reasoning_content")
)
_CALL_FIELDS: Final = frozenset(("id", "function", "index"))


def read(message: bytes, stream: bool) -> bytes:
    """Return the JSON body of ``POST /v1/chat/completions``.

    Args:
        message: a serialized edge.v1.ChatRequest.
        stream: whether the response is streamed; the body then asks for usage as well.

    Raises:
        RequestUnreadableError: the message cannot be decoded or expressed in JSON; the text names the field.
    """
    try:
        request = wire.ChatRequest.FromString(message)
    except DecodeError as error:
        raise RequestUnreadableError("the message is not an edge.v1.ChatRequest, or its text is not UTF-8") from error
    if not request.model:
        raise RequestUnreadableError("model is empty; name one that ListModels lists, or provider/model")
    if not request.messages:
        raise RequestUnreadableError("messages is empty; send at least one")
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [_message(one, f"messages[{index}]") for index, one in enumerate(request.messages)],
    }
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    _add_tools(request, body)
    _add_sampling(request.sampling, body)
    if request.HasField("response_format"):
        body["response_format"] = _response_format(request.response_format)
    if request.stop:
        body["stop"] = list(request.stop)
    if request.user:
        body["user"] = request.user
    _add_extra(request.extra, body, _REQUEST_FIELDS, "extra")
    return msgspec.json.encode(body)


def _message(message: wire.Message, where: str) -> dict[str, Any]:
    role = ROLES.get(message.role)
    if role is None:
        known = "ROLE_SYSTEM, ROLE_DEVELOPER, ROLE_USER, ROLE_ASSISTANT or ROLE_TOOL"
        raise RequestUnreadableError(f"{where}.role is {message.role}; it must be {known}")
    if role == "tool" and not message.tool_call_id:
        raise RequestUnreadableError(f"{where}.tool_call_id is empty; set it to the id of the call that was answered")
    said: dict[str, Any] = {"role": role, "content": _content(message, where)}
    if message.tool_calls:
        said["tool_calls"] = [
            _tool_call(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(message.tool_calls)
        ]
    named = (
        ("tool_call_id", message.tool_call_id),
        ("name", message.name),
        ("refusal", message.refusal),
        ("reasoning_content", message.reasoning),
    )
    said |= {name: value for name, value in named if value}
    _add_extra(message.extra, said, _MESSAGE_FIELDS, f"{where}.extra")
    return said


def _content(message: wire.Message, where: str) -> str | list[dict[str, Any]] | None:
    parts = message.parts
    if not parts:
        return None if message.role == wire.ROLE_ASSISTANT else ""
    if len(parts) == 1 and parts[0].WhichOneof("kind") == "text":
        return parts[0].text
    return [_part(part, f"{where}.parts[{index}]") for index, part in enumerate(parts)]


def _part(part: wire.Part, where: str) -> dict[str, Any]:
    kind = part.WhichOneof("kind")
    if kind == "text":
        return {"type": "text", "text": part.text}
    if kind == "image":
        picture = {"url": _image_url(part.image, where)}
        if part.image.detail:
            picture["detail"] = part.image.detail
        return {"type": "image_url", "image_url": picture}
    if kind == "other":
        return taken(part.other, f"{where}.other")
    raise RequestUnreadableError(f"{where} is empty; set text, image or other")


def _image_url(image: wire.Image, where: str) -> str:
    if image.WhichOneof("source") == "url":
        return image.url
    if not image.data:
        raise RequestUnreadableError(f"{where}.image has neither url nor data")
    if not image.mime_type:
        raise RequestUnreadableError(f"{where}.image.mime_type is empty; set it beside data, for example to image/png")
    return f"data:{image.mime_type};base64,{base64.b64encode(image.data).decode()}"


def _tool_call(call: wire.ToolCall, where: str) -> dict[str, Any]:
    said: dict[str, Any] = {"id": call.id, "type": "function"}
    if call.name or "type" not in call.extra.fields:
        said["function"] = {"name": call.name, "arguments": call.arguments}
    _add_extra(call.extra, said, _CALL_FIELDS, f"{where}.extra")
    return said


def _add_tools(request: wire.ChatRequest, body: dict[str, Any]) -> None:
    if request.tools:
        body["tools"] = [_tool(tool, f"tools[{index}]") for index, tool in enumerate(request.tools)]
    if request.HasField("tool_choice"):
        choice = request.tool_choice
        if choice.WhichOneof("kind") == "function":
            body["tool_choice"] = {"type": "function", "function": {"name": choice.function}}
        elif choice.mode in _MODES:
            body["tool_choice"] = _MODES[choice.mode]
        else:
            raise RequestUnreadableError("tool_choice is empty; set mode or function, or omit tool_choice")
    if request.HasField("parallel_tool_calls"):
        body["parallel_tool_calls"] = request.parallel_tool_calls


def _tool(tool: wire.Tool, where: str) -> dict[str, Any]:
    kind = tool.WhichOneof("kind")
    if kind == "other":
        return taken(tool.other, f"{where}.other")
    if kind is None or not tool.function.name:
        raise RequestUnreadableError(f"{where} has neither function.name nor other")
    function: dict[str, Any] = {"name": tool.function.name}
    if tool.function.description:
        function["description"] = tool.function.description
    if tool.function.parameters_json:
        function["parameters"] = _json(tool.function.parameters_json, f"{where}.function.parameters_json")
    if tool.function.HasField("strict"):
        function["strict"] = tool.function.strict
    return {"type": "function", "function": function}


def _add_sampling(sampling: wire.Sampling, body: dict[str, Any]) -> None:
    for name in _NUMBERS:
        if sampling.HasField(name):
            body[name] = number(getattr(sampling, name), f"sampling.{name}")
    for name in _COUNTS:
        if sampling.HasField(name):
            body[name] = getattr(sampling, name)


def _response_format(wanted: wire.ResponseFormat) -> dict[str, Any]:
    kind = wanted.WhichOneof("kind")
    if kind is None:
        raise RequestUnreadableError("response_format is empty; set text, json_object or json_schema")
    if kind != "json_schema":
        return {"type": kind}
    schema: dict[str, Any] = {"name": wanted.json_schema.name}
    if wanted.json_schema.description:
        schema["description"] = wanted.json_schema.description
    if wanted.json_schema.schema_json:
        schema["schema"] = _json(wanted.json_schema.schema_json, "response_format.json_schema.schema_json")
    if wanted.json_schema.HasField("strict"):
        schema["strict"] = wanted.json_schema.strict
    return {"type": kind, "json_schema": schema}


def _json(text: str, where: str) -> Any:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise RequestUnreadableError(f"{where} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RequestUnreadableError(f"{where} must be a JSON object")
    return value


def _add_extra(extra: Struct, said: dict[str, Any], ours: frozenset[str], where: str) -> None:
    if not extra.fields:
        return
    twice = sorted(ours & extra.fields.keys())
    if twice:
        raise RequestUnreadableError(f"{where} has {twice[0]!r}, which has a field of its own; set that field instead")
    said.update(taken(extra, where))
