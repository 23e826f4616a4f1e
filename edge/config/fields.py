"""Types of configuration values other than plain text and numbers.

Each is an ``Annotated`` type whose ``Meta.extra`` tells the reader how to parse the text and how to write it back:
``unit`` (duration, size, share), ``path``, and the bounds ``low`` and ``high`` of a field.
"""

from typing import Annotated, Any, Final

from msgspec import Meta

from edge.config import units


class Secret(str):
    """Text that must not be shown: its ``repr`` is ``***``, so that a struct that holds it can be printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


Duration = Annotated[
    int,
    Meta(extra={"unit": "duration"}, extra_json_schema={"type": "string", "pattern": units.DURATION_PATTERN}),
]
"""Integer nanoseconds, written ``250ms``, ``2s``, ``5m``, ``1h``, ``30d``."""

Size = Annotated[
    int,
    Meta(extra={"unit": "size"}, extra_json_schema={"type": "string", "pattern": units.SIZE_PATTERN}),
]
"""Integer bytes, written ``64KiB``, ``32MiB``, ``1GB``."""

Share = Annotated[
    float,
    Meta(extra={"unit": "share"}, extra_json_schema={"type": "string", "pattern": units.SHARE_PATTERN}),
]
"""A float in 0..1, written as a percentage."""

Delay = Annotated[
    str,
    Meta(extra={"unit": "delay"}, extra_json_schema={"type": "string", "pattern": units.DELAY_PATTERN}),
]
"""A time as text (``edge.config.units.delay``): a measured percentile, ``p95``, or a duration, ``250ms``."""

FilePath = Annotated[str, Meta(extra={"path": True})]
"""A file, relative to the directory of the configuration file; absolute once it is read."""


MAY_BE_SHORT: Final = Meta(extra={"short": True})
"""Marks a section that may be written as plain text, which then is the value of its first field."""


MAY_BE_ONE: Final = Meta(extra={"may_be_one": True})
"""Marks a list in whose place one item may be written."""


def about(sentence: str, **extra: Any) -> Meta:
    """Describe a field: what it does and its consequences; ``low`` and ``high`` are inclusive bounds."""
    return Meta(description=sentence, extra=extra or None)
