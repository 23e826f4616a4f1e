"""Draws docs/pictures/costs.svg: where a worker's microseconds go. ``python -m docs.draw_costs`` draws it again.

``--record`` measures first (``bench.macro.profile``, which needs perf) and writes docs/costs.json. Colours follow the
reader's light or dark scheme as those of docs/draw_architecture.py do.
"""

# ruff: noqa: INP001  # a script beside the documents, not a package

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from bench.macro.profile import RUNS, measure
from bench.macro.scenarios import SCENARIOS

HERE: Final = Path(__file__).parent
RECORD: Final = HERE / "costs.json"
PICTURE: Final = HERE / "pictures" / "costs.svg"
NAMES: Final = ("json-full", "tls-in", "tls-out", "newconn", "body-64k", "paced")

WIDTH: Final = 960
LABELS: Final = 190
ROW: Final = 44
TOP: Final = 20
# What is drawn together, with its colour: the kernel, wire, decisions, and what they run on.
GROUPS: Final = {
    "kernel": ("#7a8794", ("kernel",)),
    "sockets and timers": ("#4a7fb5", ("sockets", "event loop")),
    "TLS": ("#8e6bb0", ("TLS",)),
    "heads, chunks, frames": ("#3a9a9a", ("HTTP/1.1", "HTTP/2")),
    "bodies and events": ("#4c9a5b", ("bodies",)),
    "route, key, target, response": ("#d0902f", ("route", "target", "exchange")),
    "metrics and traces": ("#c0603a", ("metrics",)),
    "C library, interpreter": ("#b0a890", ("C library", "interpreter")),
}
FONT: Final = 'font-family="sans-serif" font-size="13"'
STYLE: Final = (
    "<style>.page{fill:#ffffff}.text{fill:#1c232b}.faint{fill:#56606b}@media(prefers-color-scheme:dark)"
    "{.page{fill:#14181d}.text{fill:#f2f5f8}.faint{fill:#a9b4c0}}</style>"
)


def grouped(phases: dict[str, float]) -> dict[str, float]:
    """Return the share of each group; every phase belongs to one."""
    found = dict.fromkeys(GROUPS, 0.0)
    for phase, share in phases.items():
        found[next(name for name, (_, begins) in GROUPS.items() if phase.startswith(begins))] += share
    return found


def drawn(rows: list[dict[str, Any]]) -> str:
    """Return the SVG: a bar per scenario, as long as its microseconds, in pieces by group."""
    height = TOP + ROW * len(rows) + 62
    scale = (WIDTH - LABELS - 90) / max(row["us"] for row in rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {FONT} role="img">',
        "<title>CPU time of a worker per request or event, by phase</title>",
        STYLE,
        f'<rect class="page" width="{WIDTH}" height="{height}"/>',
    ]
    for number, row in enumerate(rows):
        y, x = TOP + ROW * number, float(LABELS)
        parts.append(_text(LABELS - 12, y + 19, f"{row['scenario']}, per {row['unit']}", anchor="end"))
        for name, share in grouped(row["phases"]).items():
            width = share * row["us"] * scale
            parts.append(f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="28" fill="{GROUPS[name][0]}"/>')
            x += width
        parts.append(_text(x + 8, y + 19, f"{row['us']:.0f} us", kind="faint"))
    y = TOP + ROW * len(rows) + 10
    for number, (name, (color, _)) in enumerate(GROUPS.items()):
        x, line = 16 + 236 * (number % 4), y + 24 * (number // 4)
        parts.append(f'<rect x="{x}" y="{line}" width="12" height="12" fill="{color}"/>')
        parts.append(_text(x + 18, line + 11, name, kind="faint"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, *, anchor: str = "start", kind: str = "text") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


async def _recorded() -> list[dict[str, Any]]:
    found = []
    for name in NAMES:
        one = await measure(next(scenario for scenario in SCENARIOS if scenario.name == name), RUNS)
        phases = {phase: round(share, 4) for phase, share in one.phases}
        found.append({"scenario": one.scenario, "unit": one.unit, "us": round(one.us, 1), "phases": phases})
    return found


def main() -> None:
    """Measure if asked to, and draw."""
    parser = argparse.ArgumentParser(prog="python -m docs.draw_costs", description=__doc__.partition("\n")[0])
    parser.add_argument("--record", action="store_true", help=f"measure first, and write {RECORD.name}")
    if parser.parse_args().record:
        RECORD.write_text(json.dumps(asyncio.run(_recorded()), indent=1) + "\n", encoding="utf-8")
    PICTURE.write_text(drawn(json.loads(RECORD.read_text(encoding="utf-8"))), encoding="utf-8")
    print(f"drawn: {PICTURE}", file=sys.stderr)  # noqa: T201  # a script for people


if __name__ == "__main__":
    main()
