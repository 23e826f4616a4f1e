"""Output of the effective configuration as YAML without secrets, and of its JSON Schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import yaml
from msgspec import NODEFAULT

from edge.config import units
from edge.config.schema import Config
from edge.config.shape import Scalar, Section, Sequence, Shape, Table, section_of
from edge.config.words import KINDS

if TYPE_CHECKING:
    from edge.config.shape import Field

HIDDEN: Final = "***"
_PATTERNS: Final = {
    "duration": units.DURATION_PATTERN,
    "size": units.SIZE_PATTERN,
    "share": units.SHARE_PATTERN,
    "delay": units.DELAY_PATTERN,
}
_JSON_TYPES: Final = {"integer": "integer", "number": "number", "flag": "boolean"}
# Any value may contain ${NAME}, so the schema must accept that everywhere.
_FILLED: Final = {"type": "string", "pattern": r"\$\{"}


def show(config: Config) -> str:
    """Return the configuration as YAML with all defaults. A secret is shown as ``***``, whatever its length."""
    tree = plain(config, section_of(Config))
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


def plain(value: Any, shape: Shape) -> Any:
    """Return a value as an operator would write it, in plain lists, mappings, text and numbers."""
    match shape:
        case Scalar(kind="secret"):
            return HIDDEN if value else ""
        case Scalar(kind=kind):
            return KINDS[kind][1](value) if kind in _PATTERNS else value
        case Section():
            pairs = ((field, getattr(value, field.name)) for field in shape.fields)
            return {field.name: plain(item, field.shape) for field, item in pairs if not _is_absent(item, field.shape)}
        case Table():
            return {name: plain(item, shape.item) for name, item in value.items()}
        case Sequence():
            shown = [plain(item, shape.item) for item in value]
            return shown[0] if shape.may_be_one and len(shown) == 1 else shown


def _is_absent(value: Any, shape: Shape) -> bool:
    """Return whether nothing can be written for this value: an empty list in place of a section would be an error."""
    return value is None or (isinstance(shape, Sequence) and shape.may_be_one and not value)


def json_schema() -> dict[str, Any]:
    """Return a JSON Schema (2020-12) of edge.yaml for editors, with the description and default of every field."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "edge.yaml",
        **_schema(section_of(Config)),
    }


def _schema(shape: Shape) -> dict[str, Any]:
    match shape:
        case Scalar():
            return _scalar(shape)
        case Section():
            section = {
                "type": "object",
                "description": shape.sentence,
                "additionalProperties": False,
                "properties": {field.name: _field(field) for field in shape.fields},
                "required": [field.name for field in shape.fields if field.required],
            }
            return {"anyOf": [{"type": "string"}, section]} if shape.short else section
        case Table():
            return {"type": "object", "additionalProperties": _schema(shape.item)}
        case Sequence():
            item = _schema(shape.item)
            many = {"type": "array", "items": item}
            return {"anyOf": [item, {**many, "minItems": 1}]} if shape.may_be_one else many


def _scalar(scalar: Scalar) -> dict[str, Any]:
    if scalar.kind in _PATTERNS:
        return {"type": "string", "pattern": f"{_PATTERNS[scalar.kind]}|\\$\\{{"}
    if scalar.kind == "choice":
        return {"anyOf": [{"enum": list(scalar.choices)}, _FILLED]}
    if scalar.kind not in _JSON_TYPES:
        return {"type": "string"}
    bounds = {"minimum": scalar.low, "maximum": scalar.high, "exclusiveMinimum": scalar.above}
    number = {"type": _JSON_TYPES[scalar.kind]} | {name: bound for name, bound in bounds.items() if bound is not None}
    return {"anyOf": [number, _FILLED]}


def _field(field: Field) -> dict[str, Any]:
    schema = {**_schema(field.shape), "description": field.sentence}
    # Defaults that depend on the machine (the host name, the number of CPUs) are not part of the schema.
    if isinstance(field.shape, Scalar) and not field.required and field.default_factory is NODEFAULT:
        default = field.make_default()
        if default is not None:
            schema["default"] = plain(default, field.shape)
    return schema
