"""Conversion between JSON objects and google.protobuf.Struct, for fields that edge's messages do not define.

A Struct stores every number as a double: integers up to 2^53 keep their exact value, larger ones become the nearest
double. Protobuf readers also limit how deeply messages may nest, so values below ``DEPTH`` levels are stored as JSON
text.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import msgspec

from edge.dialects.inference.errors import RequestUnreadableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.struct_pb2 import Struct, Value

# Readers stop at 100 levels of messages. One level of JSON takes three, and `extra` itself lies up to five levels deep.
DEPTH: Final = 30
_WHOLE: Final = 2**53


def fill(struct: Struct, values: Mapping[str, Any]) -> None:
    """Store JSON values in an empty Struct."""
    for name, value in values.items():
        _put(struct.fields[name], value, 1)


def _put(place: Value, value: Any, level: int) -> None:
    if value is None:
        place.null_value = 0  # type: ignore[assignment]  # the only value of NullValue
    elif isinstance(value, bool):
        place.bool_value = value
    elif isinstance(value, str):
        place.string_value = value
    elif isinstance(value, (int, float)):
        try:
            place.number_value = float(value)
        except OverflowError:  # the integer is larger than every double
            place.string_value = str(value)
    elif level >= DEPTH:
        place.string_value = msgspec.json.encode(value).decode()
    elif isinstance(value, dict):
        place.struct_value.SetInParent()
        for name, inner in value.items():
            _put(place.struct_value.fields[name], inner, level + 1)
    else:
        place.list_value.SetInParent()
        for inner in value:
            _put(place.list_value.values.add(), inner, level + 1)


def taken(struct: Struct, where: str) -> dict[str, Any]:
    """Return the JSON object that a Struct holds.

    Args:
        struct: the Struct to read.
        where: path of the Struct in the request, for error messages.

    Raises:
        RequestUnreadableError: a number in the Struct is infinite or NaN.
    """
    return {name: _take(value, f"{where}.{name}") for name, value in struct.fields.items()}


def _take(value: Value, where: str) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return taken(value.struct_value, where)
    if kind == "list_value":
        return [_take(inner, f"{where}[{index}]") for index, inner in enumerate(value.list_value.values)]
    if kind == "number_value":
        return number(value.number_value, where)
    if kind == "string_value":
        return value.string_value
    return value.bool_value if kind == "bool_value" else None


def number(value: float, where: str) -> int | float:
    """Return the number in the form that JSON should show: an int when it has no fraction.

    Raises:
        RequestUnreadableError: the number is infinite or NaN.
    """
    if not math.isfinite(value):
        raise RequestUnreadableError(f"{where} is {value}, which JSON cannot express; send a finite number")
    return int(value) if value.is_integer() and abs(value) <= _WHOLE else value
