"""Rows of the history as bytes: single minutes, and whole hours packed by columns and compressed.

A year of minutes for hundreds of series fits on a small disk only if an hour takes some hundred bytes. A packed hour
keeps each minute's counts, money (to 1e-6 dollars) and three percentiles, and the hour's histograms, so that the
percentiles of a month are exact to a bucket; what is given up is the histogram of each minute.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec
from msgspec import Struct

from edge.incidents.minutes import Minute, Sparse, added
from edge.native import HIST_BOUNDS_S

HOUR: Final = 60
SHARES: Final = (0.5, 0.95, 0.99)
NANO_PER_MICRO: Final = 1000
# Of one packed hour; what a damaged file claims beyond it is not unpacked.
_LONGEST: Final = 1024 * 1024


class Packed(Struct, frozen=True, array_like=True):
    """An hour of one series by columns; ``at`` are minutes of the hour. A column is bytes by significance."""

    at: bytes
    requests: bytes
    failures: list[dict[str, int]]
    marks: bytes  # bucket indexes, a column each for p50, p95, p99 of the first token, then of the total; 255: none
    prompt: bytes
    output: bytes
    cost_micro: bytes  # what a minute cost in 1e-6 US dollars
    open_ds: bytes  # tenths of seconds
    first: Sparse
    total: Sparse


class Point(Struct, frozen=True):
    """One minute of a series as it is read back. Percentiles are seconds, None: no data."""

    at: int
    requests: int
    failures: dict[str, int]
    first_s: tuple[float | None, ...]  # p50, p95, p99
    total_s: tuple[float | None, ...]
    prompt: int
    output: int
    cost_nano: int
    open_s: float


_minute_decoder: Final = msgspec.msgpack.Decoder(Minute)
_hour_decoder: Final = msgspec.msgpack.Decoder(Packed)


def pack_minute(minute: Minute) -> bytes:
    """Return a minute as bytes."""
    return msgspec.msgpack.encode(minute)


def unpack_minute(body: bytes) -> Minute:
    """Return the minute of :func:`pack_minute`; raise msgspec.MsgspecError if it is damaged."""
    return _minute_decoder.decode(body)


def pack_hour(minutes: list[Minute]) -> bytes:
    """Return minutes of one hour, in order, as bytes."""
    packed = Packed(
        bytes(minute.at % HOUR for minute in minutes),
        _column([minute.requests for minute in minutes]),
        [minute.failures for minute in minutes],
        b"".join(bytes(column) for column in zip(*map(_marks, minutes), strict=True)),
        _column([minute.prompt for minute in minutes]),
        _column([minute.output for minute in minutes]),
        _column([round(minute.cost_nano / NANO_PER_MICRO) for minute in minutes]),
        _column([round(minute.open_s * 10) for minute in minutes]),
        added(minute.first for minute in minutes),
        added(minute.total for minute in minutes),
    )
    return zlib.compress(msgspec.msgpack.encode(packed), 9)


def unpack_hour(body: bytes) -> Packed:
    """Return the hour of :func:`pack_hour`.

    Raises:
        zlib.error, msgspec.MsgspecError: the bytes are damaged.
    """
    reader = zlib.decompressobj()
    return _hour_decoder.decode(reader.decompress(body, _LONGEST))


def points(hour: int, packed: Packed) -> list[Point]:
    """Return the minutes of a packed hour; ``hour`` is its first minute since the epoch."""
    rows = len(packed.at)
    columns = [values(column, rows) for column in (packed.requests, packed.prompt, packed.output)]
    costs, opens = values(packed.cost_micro, rows), values(packed.open_ds, rows)
    marks = [packed.marks[row::rows] for row in range(rows)]
    return [
        Point(
            hour + at,
            columns[0][row],
            packed.failures[row],
            _seconds(marks[row][:3]),
            _seconds(marks[row][3:]),
            columns[1][row],
            columns[2][row],
            costs[row] * NANO_PER_MICRO,
            opens[row] / 10,
        )
        for row, at in enumerate(packed.at)
    ]


def point(minute: Minute) -> Point:
    """Return a minute that is not packed yet in the form of one that is."""
    marks = _marks(minute)
    return Point(
        minute.at,
        minute.requests,
        minute.failures,
        _seconds(marks[:3]),
        _seconds(marks[3:]),
        minute.prompt,
        minute.output,
        minute.cost_nano,
        minute.open_s,
    )


_NONE: Final = 255


def _column(values: list[int]) -> bytes:
    """Return numbers as bytes: all lowest bytes, then all next ones; equal high bytes compress to nothing."""
    width = max((value.bit_length() + 7) // 8 for value in values) if values else 0
    return b"".join(bytes(value >> 8 * place & 255 for value in values) for place in range(width))


def values(column: bytes, rows: int) -> list[int]:
    """Return the numbers of a column of a packed hour, one per minute that it has."""
    planes = [column[place : place + rows] for place in range(0, len(column), rows)] or [bytes(rows)]
    found = list(planes[-1])
    for plane in planes[-2::-1]:
        found = [high << 8 | low for high, low in zip(found, plane, strict=True)]
    return found


def _marks(minute: Minute) -> bytes:
    return bytes(_bucket(histogram, share) for histogram in (minute.first, minute.total) for share in SHARES)


def _bucket(histogram: Sparse, share: float) -> int:
    total, below = sum(histogram.values()), 0
    for place in sorted(histogram):
        below += histogram[place]
        if below >= share * total:
            return place
    return _NONE


def _seconds(marks: bytes) -> tuple[float | None, ...]:
    return tuple(
        None if mark == _NONE else HIST_BOUNDS_S[mark] if mark < len(HIST_BOUNDS_S) else 2 * HIST_BOUNDS_S[-1]
        for mark in marks
    )
