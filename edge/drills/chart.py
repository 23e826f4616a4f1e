"""Pictures of a drill as inline SVG: lines and areas over minutes, and bands of circuit states.

Colours are classes of the page's style, so that a picture follows the reader's light or dark scheme.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH: Final = 900
LEFT: Final = 52
RIGHT: Final = 8
HEIGHT: Final = 150
TOP: Final = 8
FOOT: Final = 20
BAND: Final = 16
NEAR: Final = 50
"""A moment that is nearer to an end of the axis is not written."""
STYLE: Final = (
    ":root{--c0:#1b6ca8;--c1:#c2571a;--c2:#3c7d3c;--c3:#8a4fa3;--c4:#7a7a7a;--bad:#b3261e;--shade:#b3261e18;--rule:#8885}"
    "@media(prefers-color-scheme:dark){:root{--c0:#6cb2ea;--c1:#f0955c;--c2:#7fc47f;--c3:#c896de;--c4:#a8a8a8;"
    "--bad:#f28b82;--shade:#f28b8226}}"
    "figure{margin:1.4rem 0}figcaption{font-weight:600}svg{width:100%;height:auto;display:block}"
    "svg text{font:11px system-ui,sans-serif;fill:currentColor}.rule{stroke:var(--rule)}.shade{fill:var(--shade)}"
    ".line{fill:none;stroke-width:1.6}.dash{stroke-dasharray:5 4}"
    + "".join(f".s{n}{{stroke:var(--c{n})}}.f{n}{{fill:var(--c{n})}}" for n in range(5))
    + ".fbad{fill:var(--bad)}.sbad{stroke:var(--bad)}.key{display:inline-block;margin-right:1.2rem;font-weight:400}"
    ".key i{display:inline-block;width:.8rem;height:.8rem;margin-right:.35rem;vertical-align:-.1rem;border-radius:2px}"
    + "".join(f".b{n}{{background:var(--c{n})}}" for n in range(5))
    + ".bbad{background:var(--bad)}.key .thin{height:.18rem;vertical-align:.2rem}"
)


class Series(Struct, frozen=True):
    """Values for each minute, and the class of its colour: ``0`` to ``4``, or ``bad``."""

    name: str
    values: Sequence[float]
    colour: str
    dashed: bool = False


class Axis(Struct, frozen=True):
    """The time axis: how many seconds, what to shade, and how to write a moment."""

    seconds: float
    shade: tuple[float, float]
    moment: Callable[[float], str]

    def x(self, at_s: float) -> float:
        """Return where a moment stands."""
        return LEFT + min(max(at_s / self.seconds, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)


def _frame(axis: Axis, height: int, inside: Sequence[str], label: str) -> str:
    start, end = (axis.x(at) for at in axis.shade)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {TOP + height + FOOT}" role="img" aria-label="{escape(label)}">',
        f'<rect class="shade" x="{start:.1f}" y="{TOP}" width="{end - start:.1f}" height="{height}"/>',
        *inside,
    ]
    free = [at for at in axis.shade if axis.x(0) + NEAR < axis.x(at) < axis.x(axis.seconds) - NEAR]
    for at in (0.0, *free, axis.seconds):
        anchor = "start" if at == 0 else "end" if at == axis.seconds else "middle"
        parts.append(
            f'<text x="{axis.x(at):.1f}" y="{TOP + height + 14}" text-anchor="{anchor}">{axis.moment(at)}</text>'
        )
    return "".join([*parts, "</svg>"])


def _scale(most: float, unit: str) -> list[str]:
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = TOP + HEIGHT * (1 - share)
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        value = most * share
        shown = f"{value:.0f}" if most >= 10 or value == 0 else f"{value:.1f}"  # noqa: PLR2004
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{shown}{unit}</text>')
    return parts


def _keys(series: Sequence[Series]) -> str:
    return "".join(
        f'<span class="key"><i class="b{one.colour}{" thin" if one.dashed else ""}"></i>{escape(one.name)}</span>'
        for one in series
    )


def _caption(title: str, series: Sequence[Series]) -> str:
    return f"<figcaption>{escape(title)}<br>{_keys(series)}</figcaption>"


def lines(title: str, series: Sequence[Series], axis: Axis, *, most: float | None = None, unit: str = "") -> str:
    """Return a figure with a line for each series, whose values are spread evenly over the axis.

    A value below zero is a gap. ``most``: the top of the scale; None = the highest value.
    """
    top = most or max([value for one in series for value in one.values], default=0.0) * 1.05 or 1.0
    inside = _scale(top, unit)
    for one in series:
        step = axis.seconds / max(len(one.values), 1)
        strokes: list[list[str]] = [[]]
        for place, value in enumerate(one.values):
            if value < 0:
                strokes.append([])
                continue
            y = TOP + HEIGHT * (1 - min(value / top, 1.0))
            strokes[-1].append(f"{axis.x((place + 0.5) * step):.1f},{y:.1f}")
        dash = " dash" if one.dashed else ""
        inside += [
            f'<polyline class="line s{one.colour}{dash}" points="{" ".join(points)}"/>' for points in strokes if points
        ]
    return f"<figure>{_caption(title, series)}{_frame(axis, HEIGHT, inside, title)}</figure>"


def areas(title: str, series: Sequence[Series], axis: Axis, *, unit: str = "") -> str:
    """Return a figure in which the series stand on each other."""
    count = max((len(one.values) for one in series), default=0)
    base = [0.0] * count
    top = max((sum(one.values[place] for one in series) for place in range(count)), default=0.0) * 1.05 or 1.0
    step = axis.seconds / max(count, 1)
    inside = _scale(top, unit)

    def points(values: Sequence[float]) -> list[str]:
        return [
            f"{axis.x((place + 0.5) * step):.1f},{TOP + HEIGHT * (1 - value / top):.1f}"
            for place, value in enumerate(values)
        ]

    for one in series:
        upper = [low + value for low, value in zip(base, one.values, strict=True)]
        inside.append(f'<polygon class="f{one.colour}" points="{" ".join([*points(upper), *points(base)[::-1]])}"/>')
        base = upper
    return f"<figure>{_caption(title, series)}{_frame(axis, HEIGHT, inside, title)}</figure>"


def bands(title: str, rows: Sequence[tuple[str, Sequence[str]]], colours: dict[str, str], axis: Axis) -> str:
    """Return a figure with a row for each name, coloured by the word that holds in each step of the axis."""
    inside = []
    height = len(rows) * (BAND + 14)
    for number, (name, words) in enumerate(rows):
        top = TOP + number * (BAND + 14)
        inside.append(f'<text x="{LEFT}" y="{top + 10}">{escape(name)}</text>')
        step = axis.seconds / max(len(words), 1)
        begin = 0
        for place in range(1, len(words) + 1):
            if place < len(words) and words[place] == words[begin]:
                continue
            x, end = axis.x(begin * step), axis.x(place * step)
            inside.append(
                f'<rect class="f{colours[words[begin]]}" x="{x:.1f}" y="{top + 13}" width="{end - x:.2f}" '
                f'height="{BAND - 4}"><title>{escape(name)}: {escape(words[begin])}</title></rect>'
            )
            begin = place
    keys = [Series(word.replace("_", "-"), (), colour) for word, colour in colours.items()]
    return f"<figure>{_caption(title, keys)}{_frame(axis, height, inside, title)}</figure>"
