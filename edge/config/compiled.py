"""Conversion of sections of the configuration into structs of the Snapshot, by one rule for names."""

from __future__ import annotations

import types
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from msgspec import Struct, structs

from edge.config.shape import Scalar, section_of

Compiled = TypeVar("Compiled", bound=Struct)


def compiled(section: Struct, kind: type[Compiled], /, **given: Any) -> Compiled:
    """Return the ``kind`` of struct that a section of the configuration stands for.

    A duration keeps its name with ``_ns`` at the end, every other key keeps its name as it is, and a section within
    becomes the struct that its field asks for, by the same rule. ``given`` has the fields that no key says, or that a
    key says in other words.

    Raises:
        TypeError: a field of ``kind`` has no key of its name and is not given, or ``given`` has a field too many.
    """
    keys = _keys(type(section))
    for name, inner in _fields(kind).items():
        if name not in given and name in keys:
            value = getattr(section, keys[name])
            given[name] = compiled(value, inner) if inner is not None and isinstance(value, Struct) else value
    return kind(**given)


def compiled_name(name: str, shape: object) -> str:
    """Return the name that a key of that shape has in the Snapshot."""
    return f"{name}_ns" if isinstance(shape, Scalar) and shape.kind == "duration" else name


@cache
def _keys(section: type[Struct]) -> dict[str, str]:
    """Return the keys of a section by the names that they have in the Snapshot."""
    return {compiled_name(field.name, field.shape): field.name for field in section_of(section).fields}


@cache
def _fields(kind: type[Struct]) -> dict[str, type[Struct] | None]:
    """Return the names of the fields of a struct, with the struct that a field holds, if it holds one."""
    hints = get_type_hints(kind)
    return {field.name: _struct_of(hints[field.name]) for field in structs.fields(kind)}


def _struct_of(hint: Any) -> type[Struct] | None:
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Struct)), None)
