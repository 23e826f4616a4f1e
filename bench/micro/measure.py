"""Measurement of the time per call, and its output.

The result is the best of several rounds, because other work on the machine can only slow a round down. A call from
Python takes about 30 ns itself, which the data path does not pay; both sides of a comparison include it.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct, to_builtins

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 7
ROUND_NS = 40_000_000


class Row(Struct, frozen=True, omit_defaults=True):
    """One measured case: nanoseconds per call and, if the case depends on them, the number of bytes processed."""

    case: str
    ns: float
    size: int = 0
    beside: str = ""  # another way to do the same, measured in the same run
    beside_ns: float = 0.0

    @property
    def gb_per_s(self) -> float:
        """Bytes per nanosecond, which is GB/s."""
        return self.size / self.ns


def per_call(call: Callable[[], object]) -> float:
    """Return the nanoseconds per call, as the best of several rounds of about 40 ms."""
    began = time.perf_counter_ns()
    call()
    times = max(1, ROUND_NS // max(1, time.perf_counter_ns() - began))
    if times > 1:  # the first call was cold: estimate again
        times = max(1, int(ROUND_NS / _round(call, max(1, times // 10))))
    return min(_round(call, times) for _ in range(ROUNDS))


def _round(call: Callable[[], object], times: int) -> float:
    began = time.perf_counter_ns()
    for _ in range(times):
        call()
    return (time.perf_counter_ns() - began) / times


def main(name: str, rows: Callable[[], list[Row]]) -> None:
    """Run a benchmark module; print a table or, with ``--json``, one object on one line."""
    parser = argparse.ArgumentParser(prog=f"python -m bench.micro.{name}")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    as_json = parser.parse_args().json
    measured = rows()
    print(json.dumps({"bench": name, "rows": [_plain(row) for row in measured]}) if as_json else _table(measured))


def _plain(row: Row) -> dict[str, Any]:
    plain: dict[str, Any] = to_builtins(row)
    if row.size:
        plain["gb_per_s"] = round(row.gb_per_s, 3)
    if row.beside_ns:
        plain["ratio"] = round(row.ns / row.beside_ns, 4)
    return plain


def _table(rows: list[Row]) -> str:
    lines = [f"{'case':44}{'bytes':>10}{'ns':>12}{'GB/s':>8}   beside"]
    for row in rows:
        size, speed = (str(row.size), f"{row.gb_per_s:.2f}") if row.size else ("", "")
        beside = f"{row.ns / row.beside_ns:.3f} of {row.beside} ({row.beside_ns:.0f} ns)" if row.beside_ns else ""
        lines.append(f"{row.case:44}{size:>10}{row.ns:>12.0f}{speed:>8}   {beside}".rstrip())
    return "\n".join(lines)
