"""Reads and checks pieces of JSON text that one dialect keeps as a string and another as an object."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw

EMPTY: Final = Raw(b"{}")
_OBJECT: Final = msgspec.json.Decoder(dict[str, Raw])
_ANY: Final = msgspec.json.Decoder()


def is_object(text: str | bytes | Raw) -> bool:
    """Return whether the text is one JSON object."""
    try:
        _OBJECT.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def as_object(arguments: str) -> Raw:
    """Return a call's arguments as an object. A model sometimes writes what is none: it is kept as text in one."""
    if not arguments.strip():
        return EMPTY
    if is_object(arguments):
        return Raw(arguments.encode())
    return Raw(msgspec.json.encode({"arguments": arguments}))


def as_text(value: Raw) -> str:
    """Return an object as the text that other dialects keep; null is an empty object."""
    text = bytes(value).decode()
    return "{}" if text == "null" else text


def decoded(value: Raw) -> Any:
    """Return the value of a piece of JSON."""
    return _ANY.decode(value)


def is_closed(schema: Any) -> bool:
    """Return whether OpenAI can enforce a JSON Schema: each object names all that it may hold, and requires it."""
    if isinstance(schema, list):
        return all(map(is_closed, schema))
    if not isinstance(schema, dict):
        return True
    fields = schema.get("properties")
    if schema.get("type") == "object" or isinstance(fields, dict):
        required = schema.get("required")
        if schema.get("additionalProperties") is not False or not isinstance(fields, dict):
            return False
        if set(fields) != set(required if isinstance(required, list) else ()):
            return False
        if not all(map(is_closed, fields.values())):
            return False
    return all(is_closed(schema[name]) for name in ("items", "anyOf", "oneOf", "allOf") if name in schema) and all(
        all(map(is_closed, schema[name].values()))
        for name in ("$defs", "definitions")
        if isinstance(schema.get(name), dict)
    )
