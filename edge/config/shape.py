"""The schema as data: a tree that the reader, the printer and the documentation walk.

The program that reads YAML, the one that writes it back and the one that prints a JSON Schema must agree on the schema.
They do, because each walks this tree instead of inspecting type hints itself.
"""

from __future__ import annotations

import types
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Meta, Struct

from edge.config.fields import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["text", "secret", "path", "integer", "number", "flag", "duration", "size", "share", "delay", "choice"]

_KINDS: Final[dict[Any, Kind]] = {str: "text", Secret: "secret", int: "integer", float: "number", bool: "flag"}


class Scalar(Struct, frozen=True):
    """One value: how to parse its text, and its bounds (``low`` and ``high`` inclusive, ``above`` exclusive)."""

    kind: Kind
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    above: float | None = None


class Field(Struct, frozen=True):
    """A key of a section; ``make_default()`` returns its value when it is omitted."""

    name: str
    shape: Shape
    sentence: str
    default: Any
    default_factory: Any

    @property
    def required(self) -> bool:
        """Whether the key must be written."""
        return self.default is NODEFAULT and self.default_factory is NODEFAULT

    def make_default(self) -> Any:
        """Return the default of an optional key."""
        return self.default_factory() if self.default is NODEFAULT else self.default


class Section(Struct, frozen=True):
    """A mapping with known keys. If ``short``, plain text may replace it as the value of its first key."""

    type: Any
    sentence: str
    fields: tuple[Field, ...]
    by_name: dict[str, Field]
    short: bool = False

    def field(self, name: str) -> Field | None:
        """Return the field with this name, or None."""
        return self.by_name.get(name)


class Table(Struct, frozen=True):
    """A mapping whose keys are names that the operator chooses."""

    item: Shape


class Sequence(Struct, frozen=True):
    """A list. If ``may_be_one``, an item may be written in its place, and stands for a list of it alone."""

    item: Shape
    may_be_one: bool = False


Shape = Scalar | Section | Table | Sequence


def shape_of(hint: Any, bounds: dict[str, Any] | None = None) -> Shape:  # noqa: PLR0911  # one return per kind
    """Return the shape of a type hint of ``edge.config.schema``; raise TypeError if a configuration cannot hold it."""
    bounds = dict(bounds or {})
    if get_origin(hint) is Annotated:
        inner, *metas = get_args(hint)
        for meta in metas:
            bounds.update(cast("Meta", meta).extra or {})
        return shape_of(inner, bounds)
    if get_origin(hint) in (Union, types.UnionType):
        (inner,) = (member for member in get_args(hint) if member is not type(None))
        return shape_of(inner, bounds)
    if get_origin(hint) is Literal:
        return Scalar("choice", choices=get_args(hint))
    if get_origin(hint) is tuple:
        return Sequence(shape_of(get_args(hint)[0]), may_be_one=bounds.get("may_be_one", False))
    if get_origin(hint) is dict:
        return Table(shape_of(get_args(hint)[1]))
    if isinstance(hint, type) and issubclass(hint, Struct):
        return section_of(hint, short=bounds.get("short", False))
    kind = bounds.pop("unit", None) or ("path" if bounds.pop("path", False) else _KINDS.get(hint))
    if kind is None:
        raise TypeError(f"{hint!r} cannot stand in a configuration")
    return Scalar(kind, **bounds)


@cache
def section_of(struct: type[Struct], *, short: bool = False) -> Section:
    """Return the section for a struct of the schema."""
    hints = get_type_hints(struct, include_extras=True)
    fields = tuple(
        Field(
            field.name, shape_of(hints[field.name]), _sentence(hints[field.name]), field.default, field.default_factory
        )
        for field in msgspec.structs.fields(struct)
    )
    sentence = " ".join((struct.__doc__ or "").split())
    return Section(struct, sentence, fields, {field.name: field for field in fields}, short=short)


def sections_within(shape: Shape) -> Iterable[Section]:
    """Yield every section at or below a shape, outermost first, including repetitions."""
    if isinstance(shape, Section):
        yield shape
        for field in shape.fields:
            yield from sections_within(field.shape)
    elif isinstance(shape, Table | Sequence):
        yield from sections_within(shape.item)


def _sentence(hint: Any) -> str:
    metas = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((meta.description for meta in metas if meta.description), "")
