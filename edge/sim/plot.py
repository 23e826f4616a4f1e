"""A plot of time series as an SVG of stacked panels, without a plotting library."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 900, 170, 60, 20, 40, 46
COLOURS = ("#1b6ca8", "#c2571a", "#7a7a7a", "#b3261e", "#3c7d3c")


class Line(Struct, frozen=True):
    """One series, with a value for each x."""

    name: str
    values: Sequence[float]
    dashed: bool = False


class Panel(Struct, frozen=True):
    """Lines that share an axis."""

    title: str
    lines: Sequence[Line]


def svg(title: str, xs: Sequence[float], panels: Sequence[Panel], *, shade: tuple[float, float]) -> str:
    """Return an SVG with the panels one below the other over ``xs`` (seconds); ``shade`` is an interval to mark."""
    height = TOP + len(panels) * (PANEL + GAP)
    low, high = min(xs), max(xs)
    span = (high - low) or 1.0

    def across(x: float) -> float:
        return LEFT + (min(max(x, low), high) - low) / span * (WIDTH - LEFT - RIGHT)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">',
        "<style>text { font-size: 12px }</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="22">{escape(title)}</text>',
    ]
    for number, panel in enumerate(panels):
        top = TOP + number * (PANEL + GAP) + 18
        most = max([value for line in panel.lines for value in line.values], default=0.0) * 1.1 or 1.0
        parts.append(
            f'<rect x="{across(shade[0]):.1f}" y="{top}" width="{across(shade[1]) - across(shade[0]):.1f}" '
            f'height="{PANEL}" fill="#f3e9e2"/>'
        )
        parts.append(f'<text x="{LEFT}" y="{top - 5}">{escape(panel.title)}</text>')
        parts += _scale(top, most)
        for place, line in enumerate(panel.lines):
            colour = COLOURS[place % len(COLOURS)]
            points = " ".join(
                f"{across(x):.1f},{top + PANEL - value / most * PANEL:.1f}"
                for x, value in zip(xs, line.values, strict=True)
            )
            dash = ' stroke-dasharray="5 4"' if line.dashed else ""
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}/>')
            parts.append(
                f'<text x="{LEFT + 260 + place * 125}" y="{top - 5}" fill="{colour}">{escape(line.name)}</text>'
            )
        parts.append(f'<text x="{LEFT}" y="{top + PANEL + 14}">{low:g} s</text>')
        parts.append(f'<text x="{WIDTH - RIGHT}" y="{top + PANEL + 14}" text-anchor="end">{high:g} s</text>')
    return "\n".join([*parts, "</svg>", ""])


def _scale(top: int, most: float) -> list[str]:
    lines = []
    for share in (0.0, 0.5, 1.0):
        y = top + PANEL - share * PANEL
        lines.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#d5d5d5"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{most * share:.0f}</text>')
    return lines
