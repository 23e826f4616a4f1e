"""Parsing and writing of durations, sizes and shares: ``250ms`` ``2s`` ``5m`` ``1h`` ``30d``, ``64KiB``, ``20%``.

A value is a number and a unit without a space. A duration becomes integer nanoseconds, a size integer bytes, a share a
float in 0..1. Everything else is refused with a suggestion, because a bare ``20`` could mean seconds, milliseconds or
minutes.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

NS_PER_MS: Final = 1_000_000
NS_PER_S: Final = 1_000_000_000

DURATIONS: Final = {"ms": NS_PER_MS, "s": NS_PER_S, "m": 60 * NS_PER_S, "h": 3600 * NS_PER_S, "d": 24 * 3600 * NS_PER_S}
SIZES: Final = {
    "B": 1,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
DURATION_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"
SIZE_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?(B|KB|MB|GB|KiB|MiB|GiB)$"
SHARE_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?%$"
DELAY_PATTERN: Final = r"^(p([5-9][0-9])(\.[0-9])?|[0-9]+(\.[0-9]+)?(ms|s|m|h|d))$"

# Other spellings that people use, by the unit that they mean.
_MEANT_DURATIONS: Final = {
    "ms": ("msec", "msecs", "milli", "millis", "millisecond", "milliseconds"),
    "s": ("", "sec", "secs", "second", "seconds"),
    "m": ("min", "mins", "minute", "minutes"),
    "h": ("hr", "hrs", "hour", "hours"),
    "d": ("day", "days"),
}
_MEANT_SIZES: Final = {
    "B": ("", "b", "byte", "bytes"),
    "KiB": ("k", "kb", "kib", "ki"),
    "MiB": ("m", "mb", "mib", "mi"),
    "GiB": ("g", "gb", "gib", "gi"),
}
# A value beyond these is a typing mistake, and sums of such values could exceed 64 bits.
LONGEST_NS: Final = 3660 * 24 * 3600 * NS_PER_S
LARGEST: Final = 1024**4
_LOOSE: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def parse_duration(text: str) -> int:
    """Return nanoseconds; raise ValueError with what is wrong and what to write."""
    if re.fullmatch(DURATION_PATTERN, text):
        return _bounded(text, _scaled(text, DURATIONS), LONGEST_NS, "ten years")
    raise ValueError(f"{text!r} is not a duration; {_suggest(text, _MEANT_DURATIONS, '250ms, 2s, 5m or 1h')}")


def parse_size(text: str) -> int:
    """Return bytes; raise ValueError with what is wrong and what to write."""
    if re.fullmatch(SIZE_PATTERN, text):
        return _bounded(text, _scaled(text, SIZES), LARGEST, "1024GiB")
    raise ValueError(f"{text!r} is not a size; {_suggest(text, _MEANT_SIZES, '64KiB, 32MiB or 1GB')}")


def parse_share(text: str) -> float:
    """Return a share in 0..1; raise ValueError with what is wrong and what to write."""
    if re.fullmatch(SHARE_PATTERN, text):
        percent = float(text[:-1])
        if percent > 100:  # noqa: PLR2004  # 100 percent
            raise ValueError(f"{text!r} is more than 100%; write 0% to 100%")
        return percent / 100
    bare = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(%|percent)?\s*", text)
    if bare is None:
        raise ValueError(f"{text!r} is not a share; write a percentage such as 20%")
    number = float(bare[1])
    percent = number * 100 if number < 1 and not bare[2] else number
    raise ValueError(f"{text!r} is not a share; write {percent:g}%")


def parse_delay(text: str) -> str:
    """Return a percentile or a duration as it is written, once it can be read by :func:`delay`.

    Raises:
        ValueError: it is neither; the text says what to write.
    """
    percentile, ns = delay(text)
    return text if percentile else format_duration(ns)


def delay(text: str) -> tuple[float, int]:
    """Return the percentile as a share and 0, or 0 and nanoseconds: what the text of a delay stands for."""
    if re.fullmatch(r"p[0-9]+(\.[0-9]+)?", text):
        if not re.fullmatch(DELAY_PATTERN, text):
            raise ValueError(f"{text!r} is no percentile that can be measured; write p50 to p99, or p99.9")
        return float(text[1:]) / 100, 0
    try:
        ns = parse_duration(text)
    except ValueError as error:
        raise ValueError(f"{error}, or a percentile such as p95") from error
    if ns < NS_PER_MS:
        raise ValueError(f"{text} is too small; write at least 1ms")
    return 0.0, ns


def format_duration(ns: int) -> str:
    """Return nanoseconds as text, in the largest unit that gives an integer; days only for several of them."""
    if ns >= 2 * DURATIONS["d"] and ns % DURATIONS["d"] == 0:
        return f"{ns // DURATIONS['d']}d"
    for unit in ("h", "m", "s"):
        if ns and ns % DURATIONS[unit] == 0:
            return f"{ns // DURATIONS[unit]}{unit}"
    return _exact(ns, NS_PER_MS, "ms") if ns else "0s"


def format_size(size: int) -> str:
    """Return bytes as text, in the largest unit that gives an integer, binary units first."""
    for unit in ("GiB", "MiB", "KiB", "GB", "MB", "KB"):
        if size and size % SIZES[unit] == 0:
            return f"{size // SIZES[unit]}{unit}"
    return f"{size}B"


def format_share(share: float) -> str:
    """Return a share as a percentage."""
    return f"{round(share * 100, 9):.10g}%"


def _scaled(text: str, units: dict[str, int]) -> int:
    number = text.rstrip("".join(units))
    return int(Fraction(number) * units[text[len(number) :]])


def _bounded(text: str, value: int, most: int, called: str) -> int:
    if value > most:
        raise ValueError(f"{text!r} is more than {called}")
    return value


def _exact(value: int, unit: int, name: str) -> str:
    whole, rest = divmod(value, unit)
    return f"{whole}{name}" if rest == 0 else f"{whole}.{rest:06d}".rstrip("0") + name


def _suggest(text: str, meant: Mapping[str, tuple[str, ...]], examples: str) -> str:
    loose = _LOOSE.fullmatch(text)
    if loose:
        for unit, spellings in meant.items():
            if loose[2].lower() in (unit.lower(), *spellings):
                return f"write {loose[1]}{unit}"
    return f"write a number and a unit, such as {examples}"
