"""What does a configuration look like, as data?  The schema's structs as a tree that reader, printer and docs all walk.

Three programs must agree on the schema: the one that reads YAML, the one that writes it back, and the one that prints a
JSON Schema. They agree because each walks this tree instead of looking at type hints by itself.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Meta, Struct

from edge.config.fields import Secret

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["text", "secret", "path", "integer", "number", "flag", "duration", "size", "share", "choice"]

_KINDS: Final[dict[Any, Kind]] = {str: "text", Secret: "secret", int: "integer", float: "number", bool: "flag"}


class Scalar(Struct, frozen=True):
    """One value: how its text is understood, and its bounds (``low`` and ``high`` inclusive, ``above`` exclusive)."""

    kind: Kind
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    above: float | None = None


class Field(Struct, frozen=True):
    """A key of a section; ``make_default()`` gives what it is when left out."""

    name: str
    shape: Shape
    sentence: str
    default: Any
    default_factory: Any

    @property
    def required(self) -> bool:
        """True when the key must be written."""
        return self.default is NODEFAULT and self.default_factory is NODEFAULT

    def make_default(self) -> Any:
        """Return the default of an optional key."""
        return self.default_factory() if self.default is NODEFAULT else self.default


class Section(Struct, frozen=True):
    """A mapping with known keys. Where ``short``, plain text may stand for the first of them."""

    type: Any
    sentence: str
    fields: tuple[Field, ...]
    short: bool = False

    def field(self, name: str) -> Field | None:
        """Return the field of that name."""
        return next((field for field in self.fields if field.name == name), None)


class Table(Struct, frozen=True):
    """A mapping whose keys are names that the operator chooses."""

    item: Shape


class Sequence(Struct, frozen=True):
    """A list."""

    item: Shape


Shape = Scalar | Section | Table | Sequence


def shape_of(hint: Any, bounds: dict[str, Any] | None = None) -> Shape:  # noqa: PLR0911  # one return a kind
    """Return the shape of a type hint of ``edge.config.schema``; TypeError for one that a configuration cannot hold."""
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
        return Sequence(shape_of(get_args(hint)[0]))
    if get_origin(hint) is dict:
        return Table(shape_of(get_args(hint)[1]))
    if isinstance(hint, type) and issubclass(hint, Struct):
        return section_of(hint, short=bounds.get("short", False))
    kind = bounds.pop("unit", None) or ("path" if bounds.pop("path", False) else _KINDS.get(hint))
    if kind is None:
        raise TypeError(f"{hint!r} cannot stand in a configuration")
    return Scalar(kind, **bounds)


def section_of(struct: type[Struct], *, short: bool = False) -> Section:
    """Return the section that a struct of the schema describes."""
    hints = get_type_hints(struct, include_extras=True)
    return Section(
        type=struct,
        sentence=" ".join((struct.__doc__ or "").split()),
        fields=tuple(
            Field(
                field.name,
                shape_of(hints[field.name]),
                _sentence(hints[field.name]),
                field.default,
                field.default_factory,
            )
            for field in msgspec.structs.fields(struct)
        ),
        short=short,
    )


def sections_within(shape: Shape) -> Iterable[Section]:
    """Yield every section at or under a shape, outermost first, repeats included."""
    if isinstance(shape, Section):
        yield shape
        for field in shape.fields:
            yield from sections_within(field.shape)
    elif isinstance(shape, Table | Sequence):
        yield from sections_within(shape.item)


def _sentence(hint: Any) -> str:
    metas = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((meta.description for meta in metas if meta.description), "")
