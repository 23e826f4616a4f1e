"""Reads a body into structs, and names the members that these do not have, however deep they stand.

A struct's decoder passes over what it does not know. Here a twin of the struct, which refuses it, is tried first: it
costs nothing where all is known. Where it refuses, the body is read as usual, and then walked once for the names.
"""

from __future__ import annotations

import functools
import re
import types
import typing
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar, Union

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

T = TypeVar("T")
Shape: TypeAlias = "dict[str, Shape | None]"

_LONGEST: Final = 64  # of a name that is shown to the client
_DEEPEST: Final = 8  # structs within structs
_UNPRINTABLE: Final = re.compile(r"[^ -~]|[,;]")
_SECOND: Final = 2  # a struct may stand in itself once, as the blocks of a tool's result do


class Members(Generic[T]):
    """Reads bodies of one kind: ``kind`` is a struct or a list of structs.

    ``silent`` holds the names (``input.content.logprobs``) of members that say nothing to another provider. Those at
    the top are left to the caller.
    """

    def __init__(self, kind: type[T], silent: Collection[str] = ()) -> None:
        self._decoder: Final[msgspec.json.Decoder[T]] = msgspec.json.Decoder(kind)
        self._strict: Final = msgspec.json.Decoder(_twin(kind, (), {}, top=True))
        self._kind: Final = kind
        self._silent: Final = frozenset(silent)

    @functools.cached_property
    def _shape(self) -> Shape:
        return _shape_of(self._kind, ())

    def decode(self, body: bytes | msgspec.Raw) -> tuple[T, tuple[str, ...]]:
        """Return the value, and the names of members below the top that it does not hold, once each.

        Raises:
            msgspec.DecodeError: the body is no such value.
        """
        try:
            return self._strict.decode(body), ()
        except msgspec.ValidationError:
            read = self._decoder.decode(body)
        names = _unknown(msgspec.json.decode(body), self._shape, "", self._silent)
        return read, tuple(dict.fromkeys(names))


def _structs(hint: Any) -> list[type[Struct]]:
    """Return the structs that a type of a field allows."""
    if isinstance(hint, type) and issubclass(hint, Struct):
        return [hint]
    if typing.get_origin(hint) in {list, Union, types.UnionType}:
        return [found for inner in typing.get_args(hint) for found in _structs(inner)]
    return []


def _twin(hint: Any, within: tuple[type, ...], made: dict[Any, Any], *, top: bool = False) -> Any:
    """Return a type whose structs refuse members that they do not have; those at the top stay as they are.

    ``made`` are the twins so far, by struct and by how often structs stand within themselves there.
    """
    if isinstance(hint, type) and issubclass(hint, Struct):
        if within.count(hint) >= _SECOND:
            return hint
        key = (hint, max(map(within.count, within), default=0))
        if key in made:
            return made[key]
        inner = typing.get_type_hints(hint)
        names, encoded = hint.__struct_fields__, hint.__struct_encode_fields__
        required = len(names) - len(hint.__struct_defaults__)
        fields: list[Any] = []
        for place, name in enumerate(names):
            kind = _twin(inner[name], (*within, hint), made)
            default = () if place < required else (hint.__struct_defaults__[place - required],)
            fields.append((name, kind, *default))
        made[key] = msgspec.defstruct(
            hint.__name__, fields, rename=dict(zip(names, encoded, strict=True)), forbid_unknown_fields=not top
        )
        return made[key]
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        return list[_twin(args[0], within, made, top=top)]  # type: ignore[misc]
    if origin in {Union, types.UnionType} and _structs(hint):
        # "anything" beside blocks would take a block with any member
        return Union[(*(_twin(arg, within, made) for arg in args if arg is not Any), None)]
    return hint


def _shape_of(hint: Any, within: tuple[type, ...]) -> Shape:
    """Return the members that objects of a type have, and what is known of those below."""
    shape: Shape = {}
    for one in _structs(hint):
        inner = typing.get_type_hints(one)
        for name, encoded in zip(one.__struct_fields__, one.__struct_encode_fields__, strict=True):
            below = within.count(one) < _SECOND and _structs(inner[name])
            shape[encoded] = _shape_of(inner[name], (*within, one)) if below else None
    return shape


def _unknown(value: Any, shape: Shape, path: str, silent: frozenset[str], depth: int = 0) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _unknown(one, shape, path, silent, depth)
    elif isinstance(value, dict) and depth < _DEEPEST:
        for name, inner in value.items():
            if inner is None or inner in ([], {}, ""):
                continue
            place = f"{path}.{_UNPRINTABLE.sub('?', name[:_LONGEST])}" if path else name
            if name not in shape:
                if path and place not in silent:
                    yield place
                continue
            below = shape[name]
            if below is not None:
                yield from _unknown(inner, below, place, silent, depth + 1)
