"""Reads a complete event stream, split into lines and parsed: the reference model of native.codec.sse."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from tests.reference.peek import DECODER, Members, depth, parse, says_nothing
from tests.reference.usage import collect, resolve

COMMENT, PREAMBLE, CONTENT, ERROR, FINISH, DONE, ERROR_FIRST, GARBAGE, CALL, CHOICES = (1 << bit for bit in range(10))
CUT_HOLLOW, CUT_BROKEN, CUT_CALL, CUT_ERROR = 1, 2, 4, 8
CALL_WORDS = (b"tool_call", b"function_call", b"functionCall", b"tool_use", b"partial_json", b"_input.delta")
BLANKS = " \t\r\n"
MAX_DEPTH = 128
ERROR_KEPT = 16 * 1024
MARK = b"\xef\xbb\xbf"
FINISHED = (
    "message_stop",
    "response.completed",
    "response.incomplete",
    "image_generation.completed",
    "image_edit.completed",
    "speech.audio.done",
    "transcript.text.done",
)
FAILED = ("error", "response.failed")
SPOKEN = ("text", "arguments", "refusal", "transcript")


@dataclass
class Heard:
    """The classification of a stream, and where its last complete event ends."""

    said: int = 0
    events: int = 0
    error: bytes | None = None
    counts: dict[str, int] = field(default_factory=dict)
    border: int = 0
    units: int = 0
    cuts: list[tuple[int, int, int]] = field(default_factory=list)
    choices: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens of the prompt and of the output by the counts so far; -1 = not counted."""
        used = resolve(self.counts)
        return used["prompt"], used["output"]


def members(value: Any) -> list[tuple[str, Any]]:
    """Return the members of an object; an empty list for other values."""
    return list(value) if isinstance(value, Members) else []


def elements(value: Any) -> list[Any]:
    """Return the elements of an array; an empty list for other values."""
    return list(value) if isinstance(value, list) and not isinstance(value, Members) else []


def delta_says(delta: Any) -> bool | None:
    """Return True for content, False for an empty text, None for neither."""
    if isinstance(delta, str):
        return delta != ""
    verdict = None
    for key, value in members(delta):
        if isinstance(value, str) and key not in ("role", "type", "id"):
            verdict = verdict or value != ""
        elif elements(value) or (isinstance(value, Members) and key in ("function_call", "audio")):
            verdict = True
    return verdict


def choice_bits(choice: Any) -> int:
    """Return the bits of an element of "choices" or "candidates"; ERROR for the finish reason "error"."""
    bits = 0
    for key, value in members(choice):
        if (
            (key in ("delta", "message") and delta_says(value))
            or (key == "content" and any(name == "parts" and elements(parts) for name, parts in members(value)))
            or (key == "text" and isinstance(value, str) and value)
        ):
            bits |= CONTENT
        if key in ("finish_reason", "finishReason") and isinstance(value, str) and value:
            bits |= ERROR if value == "error" else FINISH
    return bits


def delta_calls(delta: Any) -> bool:
    """Return whether a delta holds a part of a tool call."""
    return any(
        (key == "tool_calls" and bool(elements(value)))
        or (key == "function_call" and isinstance(value, Members))
        or (key == "partial_json" and isinstance(value, str))
        for key, value in members(delta)
    )


def calls(body: Members, kind: str | None) -> bool:
    """Return whether an event holds a part of a tool call."""
    for key, value in body:
        if key == "delta" and delta_calls(value):
            return True
        if key == "content_block" and (
            delta_calls(value)
            or any(
                name == "type" and isinstance(word, str) and word.endswith("tool_use") for name, word in members(value)
            )
        ):
            return True
        if key in ("choices", "candidates"):
            for choice in elements(value):
                if any(name in ("delta", "message") and delta_calls(inner) for name, inner in members(choice)):
                    return True
    return kind is not None and re.search(r"(?s).(_arguments|_input)\.delta\Z", kind) is not None


def index_of(choice: Members) -> int:
    """Return the index of a choice; 0 = it has none."""
    found = [value for key, value in choice if key == "index"]
    index = found[-1] if found else 0
    return min(127, index) if isinstance(index, int) and not isinstance(index, bool) and index > 0 else 0


def note_choices(heard: Heard, body: Members) -> None:
    """Note which choices an event has, and which of them end."""
    for key, value in body:
        for choice in elements(value) if key in ("choices", "candidates") else ():
            if isinstance(choice, Members):
                heard.choices.add(index_of(choice))
                if any(
                    name in ("finish_reason", "finishReason") and isinstance(word, str) and word
                    for name, word in choice
                ):
                    heard.ended.add(index_of(choice))


def block_says(block: Any) -> bool:
    """Return whether an Anthropic content block starts with more than an empty text."""
    kinds = [value for key, value in members(block) if key == "type" and isinstance(value, str)]
    return isinstance(block, Members) and (
        bool(delta_says(block)) or not kinds or kinds[-1] not in ("text", "thinking")
    )


def says_it_all(body: Members) -> bool:
    """Return whether an event repeats what its deltas have said."""
    return any(key in SPOKEN and isinstance(value, str) and value for key, value in body)


def type_bits(kind: str, body: Members) -> int:
    """Return the bits of an event's type."""
    deltas = [delta_says(value) for key, value in body if key == "delta"]
    bits = 0
    if kind in FAILED:
        bits = ERROR
    elif kind in FINISHED:
        bits = FINISH | (CONTENT if kind.endswith(".done") and says_it_all(body) else 0)
    elif kind == "content_block_delta" or re.search(r"(?s).\.delta\Z", kind):
        bits = 0 if False in deltas and True not in deltas else CONTENT
    elif kind == "content_block_start":
        bits = CONTENT if any(key == "content_block" and block_says(value) for key, value in body) else 0
    elif re.search(r"(?s).\.done\Z", kind):
        bits = CONTENT if says_it_all(body) else 0
    elif re.search(r"(?s).\.partial_image\Z", kind):
        bits = CONTENT
    return bits


def body_bits(body: Members, fallback: str | None) -> int:
    """Return the bits of an event's data; ``fallback`` is the type if the data has none."""
    bits = 0
    kinds: list[str | None] = [fallback]
    kinds += [value for key, value in body if key == "type" and isinstance(value, str)]
    for key, value in body:
        if (key == "error" and not says_nothing(value)) or (key == "object" and value == "error"):
            bits |= ERROR
        if key in ("choices", "candidates"):
            for choice in elements(value):
                bits |= choice_bits(choice)
        if key == "choices":
            bits |= CHOICES
        if key == "promptFeedback" and any(
            name == "blockReason" and isinstance(word, str) and word for name, word in members(value)
        ):
            bits |= FINISH
    if kinds[-1] is not None:
        bits |= type_bits(kinds[-1], body)
    return bits | (CALL if calls(body, kinds[-1]) else 0)


def usage_of(body: Members) -> list[Any]:
    """Return the usage objects of an event, in order."""
    found = []
    for key, value in body:
        if key in ("usage", "usageMetadata"):
            found.append(value)
        if key in ("response", "message", "x_groq"):
            found.extend(inner for name, inner in members(value) if name == "usage")
        if key in ("choices", "candidates"):
            for choice in elements(value):
                found.extend(inner for name, inner in members(choice) if name == "usage")
    return found


def readable_part(data: str) -> Members:
    """Return the complete top-level members of a truncated object."""
    found = Members()
    at = 1
    while True:
        try:
            text = data[at:].lstrip(BLANKS)
            if found:
                if not text.startswith(","):
                    return found
                text = text[1:].lstrip(BLANKS)
            key, end = DECODER.raw_decode(text)
            text = text[end:].lstrip(BLANKS)
            if not isinstance(key, str) or not text.startswith(":"):
                return found
            text = text[1:].lstrip(BLANKS)
            value, end = DECODER.raw_decode(text)
        except ValueError:
            return found
        found.append((key, value))
        at = len(data) - len(text) + end


def judge(data: str, name: str, *, whole: bool) -> tuple[int, Members]:
    """Return the bits of an event, and the members that its usage is read from."""
    nothing = Members()
    data = data.strip(BLANKS)
    if name == "error":
        return ERROR | (GARBAGE if whole and not is_object(data) else 0), nothing
    if data == "[DONE]":
        return DONE, nothing
    if not data:
        return COMMENT if whole else CONTENT, nothing
    try:
        body = parse(data.encode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        body = None
        broken = True
    else:
        broken = depth(body) > MAX_DEPTH
    if whole and not is_object(data):
        return GARBAGE, nothing
    if broken:
        body = readable_part(data) if data.startswith("{") else nothing
        bits = body_bits(body, name)
        return ERROR if bits & ERROR else bits | CONTENT, nothing
    body = body if isinstance(body, Members) else nothing
    bits = body_bits(body, None if whole else name) | (0 if whole else CONTENT)
    return ERROR if bits & ERROR else bits if bits & ~(CALL | CHOICES) else bits | PREAMBLE, body


def is_object(data: str) -> bool:
    """Return whether data is a JSON object in UTF-8."""
    try:
        body = parse(data.encode())
    except (ValueError, RecursionError):
        return False
    return isinstance(body, Members) and depth(body) <= MAX_DEPTH


def fields(unit: bytes) -> tuple[list[bytes], bytes]:
    """Return the data lines and the event name of an event."""
    data = []
    name = b""
    for line in re.split(rb"\r\n|\r|\n", unit):
        key, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if key == b"data":
            data.append(value)
        if key == b"event":
            name = value
    return data, name


def hear(stream: bytes, limit: int = 256 * 1024) -> Heard:
    """Read a stream, or the part of it that has arrived."""
    heard = Heard()
    mark = len(MARK) if stream.startswith(MARK) else 0
    begins = 0  # where the open event begins, a byte order mark included
    eventful = False  # whether it has a line that is no comment
    for match in re.finditer(rb"([^\r\n]*)(\r\n|\r|\n)", stream[mark:]):
        eventful = eventful or (match[1] != b"" and not match[1].startswith(b":"))
        if match[1] and eventful:
            continue
        why = note(heard, stream[begins : mark + match.end(1) + 1], limit, eventful=eventful)
        if why:
            heard.cuts.append((begins, mark + match.end(), why))
        begins = mark + match.end()
        eventful = False
    heard.border = begins
    tail = stream[begins:]
    if len(tail) > limit:
        line = tail.removeprefix(MARK)
        note(heard, tail, limit, eventful=eventful or (line != b"" and not line.startswith(b":")))
        heard.border = len(stream)
    return heard


def note(heard: Heard, unit: bytes, limit: int, *, eventful: bool) -> int:
    """Add the classification of an event, a comment line or an empty line; return why no client may get it."""
    whole = len(unit) <= limit
    unit = unit[:limit]
    data, name = fields(unit if heard.units else unit.removeprefix(MARK))
    heard.units += 1
    joined = b"\n".join(data)
    bits, body = judge(
        joined.decode("utf-8", "surrogateescape"), name.decode("utf-8", "surrogateescape"), whole=whole or not eventful
    )
    heard.counts |= collect(usage_of(body))
    if whole:
        note_choices(heard, body)
    if bits & ERROR:
        if heard.error is None:
            heard.error = joined[:ERROR_KEPT]
        if not heard.events:
            bits |= ERROR_FIRST
    if bits & CONTENT:
        heard.events += 1
    heard.said |= bits
    if bits & GARBAGE:
        inside = heard.said & CALL or any(word in unit for word in CALL_WORDS)
        return CUT_BROKEN | (CUT_ERROR if bits & ERROR else 0) | (CUT_CALL if inside else 0)
    return CUT_HOLLOW if bits & COMMENT and whole and data else 0
