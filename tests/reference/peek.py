"""Reads requests, responses and usage by a complete parse: the reference model of native.codec's peeks."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple, NoReturn

COUNTED = ("max_tokens", "max_completion_tokens", "max_output_tokens")
IDS = ("previous_response_id", "conversation")
ONCE = ("model", "stream", *COUNTED, "stream_options", "n", "best_of", *IDS)
MOST_CHOICES = 10**6
# What folds into ASCII, as Go's encoding/json compares names (unicode.SimpleFold).
FOLDED = str.maketrans({"\u017f": "s", "\u212a": "k"} | {chr(code): chr(code + 32) for code in range(65, 91)})
MAX_DEPTH = 128
INT64_MAX = 2**63 - 1


class Members(list[tuple[str, Any]]):
    """An object as a list of its members in order, with duplicates."""


class Count(int):
    """A number that is written as a plain integer without a sign."""


class Decimal(float):
    """A number that is written with a fraction or an exponent, without a sign."""


class Request(NamedTuple):
    """The options of a request body; ``error`` is a name of PeekError."""

    error: str = "PEEK_OK"
    model: str | None = None
    stream: bool = False
    max_tokens: int | None = None
    include_usage: bool = False
    choices: int = 1


class Response(NamedTuple):
    """The error and the usage of a complete response."""

    valid: bool = False
    is_object: bool = False
    has_error: bool = False
    usage: tuple[Any, ...] | list[Any] = ()  # its usage objects, in order


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is Python's, not JSON's")


def _integer(text: str) -> int:
    # Digits beyond int64 only need to be too many; Python refuses to convert more than 4,300 of them.
    return -1 if text.startswith("-") else Count(text[:40])


def _decimal(text: str) -> float:
    return -1.0 if text.startswith("-") else Decimal(text)


DECODER = json.JSONDecoder(
    object_pairs_hook=Members, parse_constant=_no_constant, parse_int=_integer, parse_float=_decimal
)


def parse(data: bytes) -> Any:
    """Parse strictly (RFC 8259, UTF-8 without a byte order mark). Raises ValueError or RecursionError."""
    return DECODER.decode(data.decode("utf-8", "surrogateescape"))


def depth(value: Any) -> int:
    """Return how many arrays and objects surround the innermost value."""
    if isinstance(value, Members):
        return 1 + max((depth(member) for _, member in value), default=0)
    if isinstance(value, list):
        return 1 + max((depth(member) for member in value), default=0)
    return 0


def last(value: Any, key: str) -> Any:
    """Return the last member of that name; None if there is none, or if ``value`` is not an object."""
    return dict(value).get(key) if isinstance(value, Members) else None


def count(value: Any) -> int | None:
    """Return a number of tokens, rounded up; None = not a number without a sign."""
    if isinstance(value, Decimal):
        return math.ceil(value) if math.isfinite(value) and math.ceil(value) < 9.2e18 else INT64_MAX
    return min(int(value), INT64_MAX) if isinstance(value, Count) else None


def choices(body: Members) -> int:
    """Return how many answers a request asks for: n or best_of, for each prompt of a list."""
    lists = [value for key, value in body if key == "prompt" and _is_list(value)]
    prompts = sum(isinstance(prompt, str) or _is_list(prompt) for each in lists for prompt in each)
    most = max(1, *(min(count(last(body, key)) or 0, MOST_CHOICES) for key in ("n", "best_of")))
    return most * max(prompts, 1)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and not isinstance(value, Members)


def _is_type(key: str, value: Any) -> bool:
    """Return whether a known key's value has the right type."""
    if key == "model":
        return isinstance(value, str)
    return key != "stream" or value is None or isinstance(value, bool)


def _refusal(body: Any) -> str | None:
    """Return the first error in a well-formed body (the name's text is checked last); None = no error."""
    if depth(body) > MAX_DEPTH:
        return "PEEK_DEPTH"
    if not isinstance(body, Members):
        return "PEEK_NOT_OBJECT"
    for at, (key, value) in enumerate(body):
        if key in ONCE and key in dict(body[:at]):
            return "PEEK_DUPLICATE"
        if key not in ONCE and key.translate(FOLDED) in ONCE:
            return "PEEK_DUPLICATE"
        if not _is_type(key, value):
            return "PEEK_TYPE"
    model = last(body, "model") or ""
    # Half a surrogate pair, or a byte that is not UTF-8, is no text: it can name nothing.
    return "PEEK_TYPE" if any(0xD800 <= ord(char) <= 0xDFFF for char in model) else None


def read_request(data: bytes) -> Request:
    """Return the options of a body; any fault gives PEEK_MALFORMED or its own error."""
    try:
        body = parse(data)
    except (ValueError, RecursionError):
        return Request("PEEK_MALFORMED")
    refusal = _refusal(body)
    if refusal is not None:
        return Request(refusal)
    limits = [found for key in COUNTED if (found := count(last(body, key))) is not None]
    return Request(
        model=last(body, "model"),
        stream=last(body, "stream") is True,
        max_tokens=max(limits, default=None),
        include_usage=last(last(body, "stream_options"), "include_usage") is True,
        choices=choices(body),
    )


def says_nothing(value: Any) -> bool:
    """Return whether a value is null, false, "", [] or {}."""
    return value is None or value is False or value == "" or (isinstance(value, list) and not value)


def elements(value: Any) -> list[Any]:
    """Return the elements of an array; an empty list for other values."""
    return list(value) if isinstance(value, list) and not isinstance(value, Members) else []


def read_response(data: bytes) -> Response:
    """Return the error and the usage of a complete response."""
    try:
        body = parse(data.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        return Response()
    if depth(body) > MAX_DEPTH:
        return Response()
    if not isinstance(body, Members):
        return Response(valid=True)
    found: list[Any] = []
    for key, value in body:
        found += [value] if key in ("usage", "usageMetadata") else []
        if key == "x_groq" and isinstance(value, Members):
            found += [inner for name, inner in value if name == "usage"]
    members = {key for key, value in body if not says_nothing(value)}
    error = "error" in members
    substance = bool(members & {"choices", "output", "data", "content"})
    failed = any(key == "status" and value == "failed" for key, value in body)
    broken = any(key == "error" and isinstance(value, Members) and value for key, value in body)
    for choice in [choice for key, value in body if key == "choices" for choice in elements(value)]:
        for key, value in choice if isinstance(choice, Members) else ():
            broken = broken or (key == "error" and isinstance(value, Members) and bool(value))
            broken = broken or (key == "finish_reason" and value == "error")
    said = any(key == "object" and value == "error" for key, value in body)
    return Response(
        valid=True,
        is_object=True,
        has_error=broken or (error and failed) or ((error or said) and not substance),
        usage=found,
    )
