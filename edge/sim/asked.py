"""Reader of requests to a simulated provider.

It reads OpenAI's API loosely: it refuses what a real provider refuses with 400 and accepts everything else. Pace and
length come from the server's settings, then from the model's name (``sim@ttft=20ms,tps=100,tokens=40``), then from a
``sim`` object in the body (``{"sim": {"ttft_s": 0.02, "tokens": 40}}``), which edge forwards unchanged.
"""

from __future__ import annotations

import re
import zlib
from typing import Any, Literal, cast

import msgspec
from msgspec import Struct, field

from edge.config.units import NS_PER_S, parse_duration
from edge.sim import vendor_asked
from edge.sim.faults import Asks, Fault
from edge.sim.form import form_as_fields

Operation = Literal[
    "chat",
    "completions",
    "responses",
    "embeddings",
    "messages",
    "count_tokens",
    "generate",
    "embedContent",
    "batchEmbedContents",
    "countTokens",
    "moderation",
    "rerank",
    "image",
    "speech",
    "transcription",
    "translation",
    "image_edit",
    "image_variation",
]
OPERATIONS: dict[str, Operation] = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/responses": "responses",
    "/v1/embeddings": "embeddings",
    "/v1/messages": "messages",
    "/v1/messages/count_tokens": "count_tokens",
    "/v1/moderations": "moderation",
    "/v1/rerank": "rerank",
    "/v2/rerank": "rerank",
    "/v1/images/generations": "image",
    "/v1/audio/speech": "speech",
    "/v1/audio/transcriptions": "transcription",
    "/v1/audio/translations": "translation",
    "/v1/images/edits": "image_edit",
    "/v1/images/variations": "image_variation",
}
_FORMS = ("transcription", "translation", "image_edit", "image_variation")
# What a request for an operation has to have, the first being its text; others have a rule of their own.
_NEEDED: dict[Operation, tuple[str, ...]] = {
    "completions": ("prompt",),
    "responses": ("input",),
    "embeddings": ("input",),
    "embedContent": ("input",),
    "batchEmbedContents": ("input",),
    "moderation": ("input",),
    "rerank": ("query", "documents"),
    "image": ("prompt",),
    "speech": ("input", "voice"),
    "transcription": ("file",),
    "translation": ("file",),
    "image_edit": ("prompt",),
    "image_variation": ("image",),
}
_DEFAULT_MODELS: dict[Operation, str] = {
    "moderation": "sim-moderation",
    "image": "sim-image",
    "image_edit": "sim-image",
    "image_variation": "sim-image",
}
_SOUND = ("speech", "transcription", "translation")
_VERTEX = re.compile(r"^/v1/projects/[^/]+/locations/[^/]+/publishers/google/")
_AZURE = tuple(map(re.compile, (r"^/openai/deployments/[^/]+/", r"^/openai/v1/", r"^/openai/", r"^/anthropic/v1/")))
_EMBEDDING = ("embeddings", "embedContent", "batchEmbedContents")
_NEVER_STREAMED = ("embeddings", "moderation", "rerank")
ECHO_MODEL = "sim-echo"
TOOL_MARKER = "[tool]"  # in the user's last message: answer with a call of the first tool
IMAGE_TOKENS = 85  # OpenAI's count for a low-detail image
CHARS_PER_TOKEN = 4
START = "Hello"  # the first token of each text that is answered
_PATCH = '*** Begin Patch\n*** Add File: a.txt\n+say "hi" \\ \U0001f600\n*** End Patch\n'
_MOST_TOKENS = ("max_completion_tokens", "max_tokens", "max_output_tokens")


class Pace(Struct, frozen=True, forbid_unknown_fields=True):
    """The pace of a response: seconds to the first token, tokens per second (0: no delay), number of tokens, seed."""

    ttft_s: float = 0.05
    tps: float = 50.0
    tokens: int = 24
    seed: int = 0

    @property
    def per_token_s(self) -> float:
        """Seconds between two tokens."""
        return 1.0 / self.tps if self.tps > 0 else 0.0


class PaceAsked(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``sim`` object of a body: any field of Pace, and a fault for this request only."""

    ttft_s: float | None = None
    tps: float | None = None
    tokens: int | None = None
    seed: int | None = None
    fault: Fault | None = None


class ToolCall(Struct, frozen=True):
    """A call of an offered tool; ``arguments`` is JSON text that matches its schema, or the text of a custom tool."""

    name: str
    arguments: str
    custom: bool = False


class Ask(Struct, frozen=True):
    """A parsed request."""

    operation: Operation
    path: str
    model: str
    stream: bool
    include_usage: bool
    pace: Pace
    prompt_tokens: int
    inputs: int  # number of texts to embed
    dimensions: int
    base64: bool
    images: int = 0
    audio: bool = False
    tools: bool = False
    call: ToolCall | None = None
    thinks: bool = False  # the response shows thoughts
    json: str | None = None  # JSON text that the response has to be
    fault: Fault | None = None
    begun: str = ""  # an answer that the request holds, to be continued
    begun_in: Literal["", "prefill", "turn"] = (
        ""  # prefill: it is the last message; turn: a last message asks for the rest
    )
    first: str = ""  # what the response begins with, before its tokens
    skip: int = 0  # tokens that the response leaves out at its beginning
    given: dict[str, Any] = field(default_factory=dict)  # the body as it came
    echo: str | None = None  # sim-echo: JSON text that describes the received request

    @property
    def asks(self) -> Asks:
        """The properties of the request that faults match on."""
        return Asks(
            self.path,
            self.model,
            self.stream,
            self.tools,
            self.images > 0,
            audio=self.audio,
            structured=self.json is not None,
            reasoning=self.thinks,
            prompt=self.prompt_tokens,
        )


class RefusedError(Exception):
    """The request is invalid; the response is an error in OpenAI's format with ``status``."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code


def pace_of_model(model: str, pace: Pace) -> Pace:
    """Apply ``@ttft=20ms,tps=100,tokens=40,seed=7`` at the end of a model's name.

    Raises:
        RefusedError: a name is unknown or a value is not a number.
    """
    _, mark, wishes = model.partition("@")
    if not mark:
        return pace
    try:
        asked: dict[str, Any] = {}
        for wish in wishes.split(","):
            word, _, value = wish.partition("=")
            asked.update({"ttft_s": parse_duration(value) / NS_PER_S} if word == "ttft" else {word: float(value)})
        return msgspec.convert({**msgspec.structs.asdict(pace), **asked}, Pace, strict=False)
    except (ValueError, msgspec.ValidationError) as fault:
        raise RefusedError(f"model {model!r}: {fault}; known are ttft, tps, tokens, seed", param="model") from fault


def plain_path(path: str) -> str:
    """Return a path of Azure's, Bedrock's or Vertex's as the maker of its API writes it, and every other as it is."""
    path = _VERTEX.sub("/v1beta/", path)
    for beginning in _AZURE:
        path = beginning.sub("/v1/", path)
    return path


def operation_of(path: str) -> Operation | None:
    """Return what a path asks for; None = it is no operation."""
    counted = vendor_asked.counted_of(path)
    if counted is not None:
        return cast("Operation", counted[1])
    return "generate" if vendor_asked.generate_of(path) else OPERATIONS.get(path)


def read(path: str, body: bytes, pace: Pace, content_type: str = "application/json") -> Ask:
    """Parse the body of a POST request.

    Raises:
        RefusedError: a real provider would refuse the request with 400.
    """
    operation = operation_of(path) or "chat"
    try:
        given = form_as_fields(content_type, body) if operation in _FORMS else msgspec.json.decode(body)
    except ValueError as fault:
        kind = "form" if operation in _FORMS else "JSON body"
        raise RefusedError(f"We could not parse the {kind} of your request: {fault}") from fault
    if not isinstance(given, dict):
        raise RefusedError("The body must be a JSON object")
    given = _as_openai(operation, path, given)
    model = given.get("model", _DEFAULT_MODELS.get(operation))
    if not isinstance(model, str) or not model:
        raise RefusedError("you must provide a model parameter", param="model")
    try:
        wish = msgspec.convert(given.get("sim") or {}, PaceAsked)
    except msgspec.ValidationError as fault:
        raise RefusedError(f"sim: {fault}", param="sim") from fault
    pace = pace_of_model(model, pace)
    own = {name: value for name in Pace.__struct_fields__ if (value := getattr(wish, name)) is not None}
    pace = msgspec.structs.replace(pace, **own)
    if "seed" not in own and pace.seed == 0:
        pace = msgspec.structs.replace(
            pace, seed=zlib.crc32(msgspec.json.encode(given) if operation in _FORMS else body)
        )
    text, images, sounds = _prompt(operation, given)
    tools = given.get("tools") or []
    most = next((given[name] for name in _MOST_TOKENS if given.get(name) is not None), None)
    if most is not None and (not isinstance(most, int) or most < 1):
        raise RefusedError("max_tokens must be a positive integer", param="max_tokens")
    options = given.get("stream_options")
    inputs = given.get("input") if operation in _EMBEDDING else None
    return Ask(
        operation=operation,
        path=path,
        model=model,
        stream=_streams(operation, given),
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        pace=pace if most is None else msgspec.structs.replace(pace, tokens=min(pace.tokens, most)),
        prompt_tokens=len(text) // CHARS_PER_TOKEN + 1 + images * IMAGE_TOKENS,
        inputs=len(inputs) if isinstance(inputs, list) and inputs and not isinstance(inputs[0], int) else 1,
        dimensions=given.get("dimensions") or 64,
        base64=given.get("encoding_format") == "base64",
        images=images,
        audio=sounds > 0 or operation in _SOUND,
        tools=bool(tools),
        call=_call(tools, given.get("tool_choice"), text) if tools else None,
        thinks=bool(given.get("reasoning_effort")) or bool((given.get("reasoning") or {}).get("effort")),
        json=_json(given),
        fault=wish.fault,
        given=given,
        **(_begun_prompt(given) if operation == "completions" else _begun(given.get("messages") or given.get("input"))),
    )


def _as_openai(operation: Operation, path: str, given: dict[str, Any]) -> dict[str, Any]:
    """Return a body of Anthropic's or Gemini's in OpenAI's fields, and any other as it is."""
    if operation in {"messages", "count_tokens"}:
        return vendor_asked.messages_as_chat(given)
    if (generate := vendor_asked.generate_of(path)) is not None:
        return vendor_asked.generate_as_chat(given, *generate)
    if (counted := vendor_asked.counted_of(path)) is None:
        return given
    asked, named = vendor_asked.counted_as_openai(given, *counted)
    if any(name != f"models/{counted[0]}" for name in named):
        raise RefusedError(f"the body names the models {named}, and the path models/{counted[0]}")
    return asked


def _streams(operation: Operation, given: dict[str, Any]) -> bool:
    if operation == "speech":
        return given.get("stream_format") == "sse"
    return given.get("stream") in {True, "true"} and operation not in _NEVER_STREAMED


def _begun(messages: Any) -> dict[str, Any]:
    """Return the fields of a conversation that ends with an answer of the assistant, or asks for the rest of one."""
    said = [one for one in messages if isinstance(one, dict)] if isinstance(messages, list) else []
    for back, place in ((1, "prefill"), (2, "turn")):
        if len(said) >= back and said[-back].get("role") in {"assistant", "model"}:
            return {"begun": _text_of(said[-back]), "begun_in": place, "first": _text_of(said[-1]).rpartition("\n")[2]}
    return {}


def _begun_prompt(given: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a prompt that ends with what a simulated provider has said."""
    prompt = given.get("prompt")
    at = prompt.rfind(START) if isinstance(prompt, str) else -1
    return {"begun": prompt[at:], "begun_in": "prefill"} if at > 0 and isinstance(prompt, str) else {}


def _text_of(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def _json(given: dict[str, Any]) -> str | None:
    """Return JSON text of the schema that the response must have; None = any text will do."""
    form = given.get("response_format") or (given.get("text") or {}).get("format") or {}
    if not isinstance(form, dict):  # of sound or a picture
        return None
    schema = (form.get("json_schema") or form).get("schema")
    return None if schema is None else msgspec.json.encode(_sample(schema)).decode()


def _sample(schema: dict[str, Any]) -> dict[str, Any]:
    """Return an object of a schema."""
    properties = schema.get("properties") or {}
    samples = {"string": "sim", "integer": 7, "number": 0.5, "boolean": True, "array": [], "object": {}}
    return {name: samples.get(inner.get("type", "string"), "sim") for name, inner in properties.items()}


def _prompt(operation: Operation, given: dict[str, Any]) -> tuple[str, int, int]:
    """Return the text of the request, with the last message last, and the numbers of its images and sounds."""
    needed = _NEEDED.get(operation, ("messages",))
    name = next((name for name in needed if given.get(name) is None), needed[0])
    source = given.get(name)
    if source is None or (name == "messages" and not (isinstance(source, list) and source)):
        raise RefusedError(f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")
    texts: list[str] = []
    images = sounds = 0
    for item in source if isinstance(source, list) else [source]:
        content = item.get("content") if isinstance(item, dict) else item
        for part in content if isinstance(content, list) else [content]:
            if isinstance(part, dict) and part.get("type") in {"image_url", "input_image"}:
                images += 1
            elif isinstance(part, dict) and part.get("type") in {"input_audio", "audio_url"}:
                sounds += 1
            else:
                texts.append(str(part.get("text", "")) if isinstance(part, dict) else str(part or ""))
    return " ".join(texts), images, sounds


def _call(tools: list[Any], choice: Any, text: str) -> ToolCall | None:
    """Return a call of the tool that tool_choice names, or of the first tool if it is required or the text asks."""
    offered: list[dict[str, Any]] = [
        tool.get("function") or tool.get("custom") or tool for tool in tools if isinstance(tool, dict)
    ]
    chooses = (choice.get("function") or choice.get("custom") or choice) if isinstance(choice, dict) else {}
    named = chooses.get("name")
    if choice == "none" or not (named or choice == "required" or TOOL_MARKER in text):
        return None
    chosen = [tool for tool in offered if named in {None, tool.get("name")}]
    if not chosen:
        raise RefusedError(f"tool_choice names {named!r}, which is not among tools", param="tool_choice")
    if chosen[0].get("type") == "custom":
        return ToolCall(str(chosen[0].get("name", "")), _PATCH, custom=True)
    values = _sample(chosen[0].get("parameters") or {})
    return ToolCall(str(chosen[0].get("name", "")), msgspec.json.encode(values).decode())
