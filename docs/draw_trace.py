"""Draws docs/trace.svg: one request as a trace over two regions. ``python -m docs.draw_trace`` draws it again.

``--record`` records the request first. The record is real: two edges, of which the near one has a silent and a broken
provider, so that the far one answers. ``docs/trace.json`` keeps it as ``/api/traces/ID`` of both edges returned it.
"""

# ruff: noqa: INP001  # a script beside the documents, not a package

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

import aiohttp

from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.node import EdgeProcess
from edge.sim.provider import ProviderSpec, SimProvider

HERE: Final = Path(__file__).parent
RECORD: Final = HERE / "trace.json"
PICTURE: Final = HERE / "trace.svg"
ASK: Final = {"model": "chat", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
TOKEN: Final = "token-of-the-picture"  # noqa: S105  # the token of two edges on loopback that run for a second

WIDTH: Final = 960
LABELS: Final = 300
ROW: Final = 46
TOP: Final = 64
FONT: Final = 'font-family="sans-serif" font-size="13"'
COLORS: Final = {"connecting": "#e0b040", "waiting": "#9ab8d8", "first byte": "#4a7fb5", "content": "#4c9a5b"}
_SERVER: Final = "#5b6470"
_ERROR: Final = "#c0392b"


def drawn(records: list[dict[str, Any]]) -> str:
    """Return the SVG of one trace: a row per span, indented below its parent, on one time axis."""
    rows = _rows(records)
    began = min(record["started_ns"] for record in records)
    span_ns = max(row["end"] for row in rows) - began
    height = TOP + ROW * len(rows) + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {FONT} role="img">',
        "<title>One request as a trace: two failed attempts, then another region</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(16, 26, f"{records[0]['method']} {records[0]['path']}", weight="bold"),
        _text(16, 44, f"trace {records[0]['trace_id']}", fill="#6b7480", size=11),
    ]
    for tick in range(5):
        x = LABELS + (WIDTH - LABELS - 24) * tick / 4
        parts.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{height - 40}" stroke="#e4e7eb"/>')
        parts.append(_text(x, TOP - 14, f"{span_ns * tick / 4 / 1e6:.0f} ms", fill="#6b7480", size=11, anchor="middle"))
    for number, row in enumerate(rows):
        y = TOP + ROW * number
        parts.append(_text(16 + 18 * row["depth"], y + 16, row["name"], weight="bold" if row["server"] else "normal"))
        fill = _ERROR if row["error"] else "#6b7480"
        parts.append(_text(16 + 18 * row["depth"], y + 32, row["note"], fill=fill, size=11))
        parts += [
            _bar(_x(start - began, span_ns), _x(end - began, span_ns), y + 8, color)
            for start, end, color in row["pieces"]
        ]
    x = LABELS
    for meaning, color in (*COLORS.items(), ("failed", _ERROR)):
        parts.append(_bar(x, x + 14, height - 28, color))
        parts.append(_text(x + 20, height - 17, meaning, size=11, fill="#3d4650"))
        x += 110
    return "\n".join([*parts, "</svg>"]) + "\n"


def _rows(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the spans in tree order: each edge's own span, its attempts, and below a hop the far edge's spans."""
    below = {record["parent_span_id"]: record for record in records}
    rows: list[dict[str, Any]] = []

    def walk(record: dict[str, Any], depth: int) -> None:
        began = record["started_ns"]
        end = began + record["duration_ns"]
        note = f"SERVER, {record['status']}, {record['duration_ns'] / 1e6:.0f} ms"
        own = {"name": f"edge {record['region']}", "note": note, "server": True, "error": False}
        rows.append({**own, "depth": depth, "end": end, "pieces": [(began, end, _SERVER)]})
        for attempt in record["attempts"]:
            note = f"CLIENT, {attempt['detail'] or attempt['status']}"
            failed = bool(attempt["detail"])
            row = {"name": attempt["target"], "note": note, "server": False, "error": failed, "depth": depth + 1}
            rows.append({**row, "end": began + attempt["ended_ns"], "pieces": _pieces(began, attempt)})
            if attempt["span_id"] in below:
                walk(below[attempt["span_id"]], depth + 2)

    ids = {attempt["span_id"] for record in records for attempt in record["attempts"]}
    for record in records:
        if record["parent_span_id"] not in ids:
            walk(record, 0)
    return rows


def _pieces(began: int, attempt: dict[str, Any]) -> list[tuple[int, int, str]]:
    """Return (start, end, color) of an attempt's phases."""
    if attempt["detail"]:
        return [(began + attempt["started_ns"], began + attempt["ended_ns"], _ERROR)]
    marks = [
        ("connecting", attempt["started_ns"]),
        ("waiting", max(attempt["connected_ns"], attempt["started_ns"])),
        ("first byte", attempt["head_ns"]),
        ("content", attempt["content_ns"]),
    ]
    known = [(meaning, at) for meaning, at in marks if at >= 0]
    ends = [at for _, at in known[1:]] + [attempt["ended_ns"]]
    pieces = zip(known, ends, strict=True)
    return [(began + at, began + end, COLORS[meaning]) for (meaning, at), end in pieces if end > at]


def _x(ns: float, span_ns: int) -> float:
    return LABELS + (WIDTH - LABELS - 24) * ns / span_ns


def _bar(start: float, end: float, y: float, color: str) -> str:
    return f'<rect x="{start:.1f}" y="{y}" width="{max(end - start, 1.5):.1f}" height="14" fill="{color}"/>'


def _text(
    x: float,
    y: float,
    said: str,
    *,
    fill: str = "#1c232b",
    size: int = 13,
    weight: str = "normal",
    anchor: str = "start",
) -> str:
    style = f'fill="{fill}" font-size="{size}" font-weight="{weight}" text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y}" {style}>{escape(said)}</text>'


async def record() -> list[dict[str, Any]]:
    """Run two edges, send the near one a request, and return the records of both."""
    async with contextlib.AsyncExitStack() as stack:
        pace = Pace(ttft_s=0.12, tps=100, tokens=24)
        silent, broken, good = [
            await stack.enter_async_context(SimProvider(ProviderSpec(name=name, pace=pace)))
            for name in ("silent", "broken", "good")
        ]
        await silent.switch(Fault(kind="latency", delay_s=5))
        await broken.switch(Fault(kind="error"))
        far = await stack.enter_async_context(EdgeProcess(_config("us-east", {"good": good.base_url}, [])))
        near = {"silent": silent.base_url, "broken": broken.base_url}
        peers = [{"region": "us-east", "addresses": [far.url.removeprefix("http://")]}]
        edge = await stack.enter_async_context(EdgeProcess(_config("eu-west", near, peers)))
        client = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)))
        async with client.post(f"{edge.base_url}/chat/completions", json=ASK) as answer:
            await answer.read()
            name = answer.headers["x-edge-request-id"]
        await asyncio.sleep(1)  # workers send records ten times a second
        async with client.get(f"{edge.admin}/api/traces/{name}") as answer:
            first = await answer.json()
        async with client.get(f"{far.admin}/api/traces/{first['trace_id']}") as answer:
            return [first, await answer.json()]


def _config(region: str, urls: dict[str, str], peers: list[dict[str, Any]]) -> dict[str, Any]:
    targets = [{"target": f"{name}/sim-small", "tier": tier} for tier, name in enumerate(urls, 1)]
    return {
        "node": {"region": region, "name": region},
        "providers": {name: {"base_url": url, "api_key": "sk-not-a-key"} for name, url in urls.items()},
        "models": {"chat": {"targets": targets, "timeouts": {"first_byte": "250ms"}}},
        "peers": {"token": TOKEN, "nodes": peers},
        "telemetry": {"sample": "100%"},
    }


def main() -> int:
    """Draw the picture, after recording if ``--record`` is given."""
    parser = argparse.ArgumentParser(prog="python -m docs.draw_trace", description=__doc__.partition("\n")[0])
    parser.add_argument("--record", action="store_true", help="run two edges and record a request first")
    if parser.parse_args().record:
        RECORD.write_text(json.dumps(asyncio.run(record()), indent=1) + "\n", encoding="utf-8")
    PICTURE.write_text(drawn(json.loads(RECORD.read_text(encoding="utf-8"))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
