"""Draws the pictures of docs/architecture.md: ``python -m docs.draw_architecture`` writes them to docs/pictures.

The floors of edge/ come from the import-linter contract in pyproject.toml, so a room without a caption here, or a
caption without a room, ends the drawing with a KeyError or a ValueError. Colours follow the reader's light or dark
scheme; each picture brings its own background, so that it can be read where the scheme is not known.
"""

# ruff: noqa: INP001  # a script beside the documents, not a package

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

HERE: Final = Path(__file__).parent
PICTURES: Final = HERE / "pictures"

FONT: Final = 'font-family="sans-serif" role="img"'
# Names of the classes: page, box, band (a group of boxes), strong, text, faint (captions), line (arrows).
LIGHT: Final = (
    ".page{fill:#ffffff}.box{fill:#e8f0f8;stroke:#4a7fb5}.band{fill:#f5f7f9;stroke:#c4ccd4}.strong{fill:#1c232b}"
    ".text{fill:#1c232b}.faint{fill:#56606b}.line{stroke:#56606b;fill:none}.head{fill:#56606b}"
    ".memory{fill:#f8f0dc;stroke:#b08a2e}"
)
DARK: Final = (
    ".page{fill:#14181d}.box{fill:#1f3348;stroke:#6ea3d8}.band{fill:#1b2127;stroke:#4a5560}.strong{fill:#f2f5f8}"
    ".text{fill:#f2f5f8}.faint{fill:#a9b4c0}.line{stroke:#a9b4c0;fill:none}.head{fill:#a9b4c0}"
    ".memory{fill:#3a3117;stroke:#d0aa4e}"
)

ROOMS: Final = {
    "__main__": "python -m edge",
    "cli": "the commands: run, check, status, keys, demo",
    "drills": "outages replayed on a virtual clock",
    "sim": "simulated providers, faults, load",
    "app": "builds and runs the processes of a node",
    "admin": "admin API over HTTP and gRPC",
    "control": "publishes the Snapshot, probes, shares, records",
    "listen": "sockets, TLS, replies",
    "admission": "callers' keys",
    "cache": "answers that are kept",
    "routing": "config to Snapshot",
    "balance": "what a status means",
    "providers": "URLs, hints, prices",
    "dialects": "JSON of the APIs",
    "upstream": "names, TLS, connect",
    "credentials": "tokens of clouds",
    "cluster": "the shared store",
    "regions": "verdicts, shares",
    "discovery": "DNS, Kubernetes, files",
    "incidents": "history, outages",
    "telemetry": "metrics, logs and traces",
    "config": "schema, checks and units of edge.yaml",
    "terms": "the shared vocabulary, without behaviour",
    "client": "Python client of the gRPC API",
    "native": "imports native/",
    "errors": "the error tree",
    "clock": "time and chance",
    "version": "one number",
    "wire": "generated protobuf",
}
PACKAGES: Final = {
    "proxy": ("one exchange: request, attempts, response,", "accounting, and their order"),
    "balance": ("circuit breaker, limits,", "balancer, queue"),
    "http": ("HTTP/1.1 and HTTP/2", "connections, pools"),
    "state": ("shared memory: windows,", "buckets, keys, budgets"),
    "codec": ("JSON, SSE, gRPC, header", "fields; no I/O"),
    "io": ("clock, timers, atomic operations", ""),
}
# What is drawn; everything that a package may cimport is reached along these arrows.
CIMPORTS: Final = (
    ("proxy", "balance"),
    ("proxy", "http"),
    ("balance", "state"),
    ("http", "codec"),
    ("http", "io"),
    ("state", "codec"),
    ("state", "io"),
)
# Name of a step, what happens there, and the modules of native/ that do it.
STEPS: Final = (
    (
        "1  Accept",
        ("The first bytes tell HTTP/1.1", "from HTTP/2. The head is read", "and its framing is checked."),
        ("http/protocol_detect", "http/http1_server", "http/http2_server"),
    ),
    (
        "2  Admit",
        ("The key is looked up, the body", "of a model request is held", "within limits."),
        ("proxy/request", "state/callers"),
    ),
    (
        "3  Route",
        ("Model, or host and path, gives", "a pool. What the key may use", "is charged with an estimate."),
        ("proxy/router", "codec/request_peek", "state/allowance"),
    ),
    (
        "4  Choose",
        ("The best tier that has a usable", "target. If all are full, the", "request waits in a queue."),
        ("balance/balancer", "balance/breaker", "balance/queue"),
    ),
    (
        "5  Attempt",
        ("A connection is taken, the", "target is asked, and its answer", "is judged under deadlines."),
        ("proxy/attempt", "http/connection_pool", "http/http1_client"),
    ),
    (
        "6  Commit and relay",
        ("The first content goes to the", "client. From here on nothing", "is repeated."),
        ("proxy/response", "codec/sse"),
    ),
    (
        "7  Settle",
        ("Counters, health, tokens and", "money, once. A record goes to", "traces and the log."),
        ("proxy/accounting", "proxy/record"),
    ),
)


def floors() -> list[list[str]]:
    """Return the floors of edge/ from the top: the rooms of each, as pyproject.toml has them."""
    settings = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[room.strip() for room in layer.split("|")] for layer in layers]


def rooms() -> str:
    """Return the floors of edge/ beside the packages of native/."""
    named = [room for floor in floors() for room in floor]
    if sorted(named) != sorted(ROOMS):
        raise ValueError(f"rooms and captions differ: {sorted(set(named) ^ set(ROOMS))}")
    parts = [_text(20, 30, "edge/: Python, per configuration and per second", "strong", 15)]
    y = 46
    for floor in floors():
        # A room that is alone on its floor has space for its caption beside its name.
        rows = [floor[at : at + 3] for at in range(0, len(floor), 3)]
        height = 40 if len(floor) == 1 else 44 * len(rows) + 4
        parts.append(_rect(14, y, 560, height, "band"))
        for number, row in enumerate(rows):
            width = (548 - 6 * (len(row) - 1)) / len(row)
            for place, room in enumerate(row):
                x = 20 + (width + 6) * place
                if len(floor) == 1:
                    parts += [_rect(x, y + 5, width, 30, "box"), _text(x + 12, y + 25, room, "strong")]
                    parts.append(_text(x + 110, y + 25, ROOMS[room], "faint", 12))
                else:
                    top = y + 5 + 44 * number
                    parts += [_rect(x, top, width, 38, "box"), _text(x + 12, top + 16, room, "strong")]
                    parts.append(_text(x + 12, top + 31, ROOMS[room], "faint", 12))
        y += height + 6
    parts.append(_text(20, y + 14, "A room imports only from floors below it; rooms on one floor never meet.", "faint"))
    parts += _native()
    return _picture(986, y + 34, "The floors of edge/ and the packages of native/", parts)


def _native() -> list[str]:
    """Return the packages of native/ and what each may cimport."""
    places = {
        "proxy": (600, 46, 372, 70),
        "balance": (600, 156, 176, 70),
        "http": (796, 156, 176, 70),
        "state": (600, 266, 176, 70),
        "codec": (796, 266, 176, 70),
        "io": (600, 376, 372, 52),
    }
    parts = [_text(600, 30, "native/: Cython, per request and chunk", "strong", 15)]
    for package, (first, second) in PACKAGES.items():
        x, y, width, height = places[package]
        parts += [_rect(x, y, width, height, "box"), _text(x + 12, y + 22, package, "strong")]
        parts += [_text(x + 12, y + 40, first, "faint", 12), _text(x + 12, y + 56, second, "faint", 12)]
    parts += [_arrow(688, 116, 688, 153), _arrow(884, 116, 884, 153), _arrow(688, 226, 688, 263)]
    parts += [_arrow(884, 226, 884, 263), _arrow(688, 336, 688, 373)]
    parts += ['<path class="line" d="M796 191 H786 V340"/>', _arrow(786, 340, 786, 373)]
    for number, said in enumerate(
        (
            "An arrow means: may cimport, also what is further below.",
            "edge/ uses native/ through edge/native.py alone.",
            "native/README.md lists every module.",
        )
    ):
        parts.append(_text(600, 456 + 18 * number, said, "faint"))
    return parts


def node() -> str:
    """Return the processes of one node, and who talks to them."""
    parts = [
        _rect(200, 16, 570, 428, "band"),
        _text(214, 40, "one node", "strong", 15),
        *_labelled(12, 96, 162, 72, "clients", "HTTP/1.1, HTTP/2,", "gRPC, WebSocket"),
        *_labelled(12, 290, 162, 72, "operators", "edge status, edge top,", "Prometheus"),
    ]
    parts += [_rect(220 + shift, 60 + shift, 280, 104, "box") for shift in (14, 7)]
    parts += [
        *_labelled(
            220,
            60,
            280,
            104,
            "worker 0 … N-1",
            "listeners (SO_REUSEPORT) and the data",
            "path; decides by the last Snapshot and",
            "the shared state alone",
        ),
        *_labelled(
            220,
            280,
            280,
            92,
            "control",
            "builds the Snapshot, probes targets,",
            "shares with other nodes; admin API,",
            "metrics, traces",
        ),
        *_labelled(556, 60, 196, 72, "supervisor", "starts, restarts and drains", "the other processes"),
        *_labelled(
            556,
            216,
            196,
            88,
            "shared state (memfd)",
            "circuits, latencies, in flight,",
            "rates, budgets, counters;",
            "atomic, without locks",
            kind="memory",
        ),
        *_labelled(
            556,
            340,
            196,
            88,
            "last Snapshot (memfd)",
            "read by a process that",
            "starts; another copy is",
            "on disk, mode 0600",
            kind="memory",
        ),
        *_labelled(816, 60, 150, 72, "targets", "providers, services"),
        *_labelled(816, 146, 150, 72, "other regions", "their edges"),
        *_labelled(816, 270, 150, 72, "etcd", "what nodes share"),
        *_labelled(816, 356, 150, 72, "OTLP collector", "traces, metrics"),
        _arrow(174, 132, 217, 132),
        _arrow(174, 326, 217, 326),
        # workers to targets and to other regions
        '<path class="line" d="M514 168 H792 M792 96 V182"/>',
        _arrow(792, 96, 813, 96),
        _arrow(792, 182, 813, 182),
        # between control and workers
        _arrow(300, 280, 300, 182),
        _text(292, 236, "Snapshot", "faint", 12, anchor="end"),
        _arrow(400, 178, 400, 277),
        _text(408, 236, "records", "faint", 12),
        # shared state and the last Snapshot
        '<path class="line" d="M514 150 H530 V244"/>',
        _arrow(530, 244, 553, 244),
        '<path class="line" d="M500 300 H530 V276"/>',
        _arrow(530, 276, 553, 276),
        '<path class="line" d="M500 340 H530 V384"/>',
        _arrow(530, 384, 553, 384),
        # control to the store and the collector
        '<path class="line" d="M360 372 V436 H792 M792 436 V306"/>',
        _arrow(792, 306, 813, 306),
        _arrow(792, 392, 813, 392),
    ]
    return _picture(984, 460, "The processes of one node", parts)


def journey() -> str:
    """Return the steps of a request, with the modules that do each."""
    width, height, gap = 226, 146, 18
    parts = [_text(20, 34, "client", "strong"), '<path class="line" d="M70 30 H110"/>', _arrow(110, 30, 110, 53)]
    for number, (name, said, modules) in enumerate(STEPS):
        x = 16 + (width + gap) * (number if number < 4 else 6 - number)  # noqa: PLR2004 - four in the upper row
        y = 56 if number < 4 else 312  # noqa: PLR2004
        parts += [_rect(x, y, width, height, "box"), _text(x + 12, y + 24, name, "strong", 15)]
        parts += [_text(x + 12, y + 46 + 16 * line, text, "text", 12) for line, text in enumerate(said)]
        parts += [_text(x + 12, y + 100 + 15 * line, module, "faint", 11) for line, module in enumerate(modules)]
    for place in range(3):
        right = 16 + width + (width + gap) * place
        parts.append(_arrow(right, 129, right + gap - 1, 129))
    parts += [
        '<path class="line" d="M880 202 V385"/>',
        _arrow(880, 385, 733, 385),
        '<path class="line" d="M690 312 V252 H800"/>',
        _arrow(800, 252, 800, 205),
        _text(682, 270, "no answer yet:", "faint", 12, anchor="end"),
        _text(682, 286, "another target", "faint", 12, anchor="end"),
        _arrow(504, 385, 489, 385),
        _arrow(260, 385, 245, 385),
        _text(16, 226, "2, 3: refused with 401, 403, 404, 413 or 429.", "faint", 12),
        _text(16, 244, "4, 5: no usable target is left: 503 with Retry-After.", "faint", 12),
        _text(16, 262, "6: broken after the first content: an error event,", "faint", 12),
        _text(16, 280, "and never an end that looks complete.", "faint", 12),
        _text(16, 482, "Modules are those of native/. proxy/exchange holds the order of these steps.", "faint"),
    ]
    return _picture(980, 498, "The journey of a request through native/", parts)


def _labelled(
    x: float, y: float, width: float, height: float, name: str, *captions: str, kind: str = "box"
) -> list[str]:
    lines = [_text(x + 12, y + 42 + 16 * number, said, "faint", 12) for number, said in enumerate(captions)]
    return [_rect(x, y, width, height, kind), _text(x + 12, y + 22, name, "strong"), *lines]


def _rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"/>'


def _text(x: float, y: float, said: str, kind: str = "text", size: int = 13, *, anchor: str = "start") -> str:
    weight = ' font-weight="bold"' if kind == "strong" else ""
    place = f'class="{kind}" x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}"'
    return f"<text {place}{weight}>{escape(said)}</text>" if said else ""


def _arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<path class="line" d="M{x1:g} {y1:g} L{x2:g} {y2:g}" marker-end="url(#head)"/>'


def _picture(width: float, height: float, title: str, parts: list[str]) -> str:
    head = '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" {FONT}>',
            f"<title>{escape(title)}</title>",
            f"<style>{LIGHT}@media (prefers-color-scheme: dark){{{DARK}}}</style>",
            f'<defs>{head}<path class="head" d="M0 0 L8 4 L0 8 Z"/></marker></defs>',
            f'<rect class="page" width="{width:g}" height="{height:g}" rx="8"/>',
            *(part for part in parts if part),
            "</svg>\n",
        ]
    )


DRAWN: Final = {"node.svg": node, "rooms.svg": rooms, "journey.svg": journey}
"""What draws each file of docs/pictures that stands in docs/architecture.md."""


def main() -> int:
    """Draw all pictures."""
    for name, draw in DRAWN.items():
        (PICTURES / name).write_text(draw(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
