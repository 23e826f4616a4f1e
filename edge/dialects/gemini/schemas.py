"""Turns the schemas of Gemini's older fields, a part of OpenAPI 3.0, into JSON Schema."""

from __future__ import annotations

from typing import Any, Final

_INNER: Final = ("items", "additionalProperties")
_NAMES: Final[dict[str, str]] = {
    "any_of": "anyOf",
    "max_items": "maxItems",
    "min_items": "minItems",
    "min_properties": "minProperties",
    "max_properties": "maxProperties",
    "min_length": "minLength",
    "max_length": "maxLength",
}
_COUNTS: Final = frozenset(("maxItems", "minItems", "minProperties", "maxProperties", "minLength", "maxLength"))
_UNKNOWN: Final = ("propertyOrdering", "property_ordering", "nullable", "example")


def _member(name: str, value: Any) -> Any:
    if name == "type" and isinstance(value, str):
        return value.lower()
    if name == "properties" and isinstance(value, dict):
        return {field: to_json_schema(inner) for field, inner in value.items()}
    if name in _INNER:
        return to_json_schema(value)
    if name == "anyOf" and isinstance(value, list):
        return [to_json_schema(inner) for inner in value]
    if name in _COUNTS and isinstance(value, str) and value.isdigit():
        return int(value)  # protobuf's JSON writes an int64 as a string
    return value


def to_json_schema(schema: Any) -> Any:
    """Return the JSON Schema that accepts what an OpenAPI schema of Gemini's accepts."""
    if not isinstance(schema, dict):
        return schema
    said: dict[str, Any] = {}
    for key, value in schema.items():
        if isinstance(key, str) and key not in _UNKNOWN:
            name = _NAMES.get(key, key)
            said[name] = _member(name, value)
    if schema.get("nullable") is True:
        if isinstance(said.get("type"), str):
            said["type"] = [said["type"], "null"]
            if isinstance(said.get("enum"), list) and None not in said["enum"]:
                said["enum"] = [*said["enum"], None]
        elif "anyOf" in said:
            said["anyOf"] = [*said["anyOf"], {"type": "null"}]
    return said
