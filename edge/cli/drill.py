"""``edge drill``: outages replayed against a configuration, on a virtual clock, with scores against floors."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.cli.admin_client import add_address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from edge.drills.nodes_report import NodesReport
    from edge.drills.scores import Report, Score

LOADS = ("chat", "code", "long")
NODES = "thousand-nodes"


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge drill`` to the parser."""
    parser = subparsers.add_parser("drill", help="replay an outage against a configuration, hours in seconds")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list the drills")
    listing.add_argument("--json", action="store_true", help="print JSON")
    listing.set_defaults(run=_list)
    playing = actions.add_parser("run", help="play a drill and score it")
    playing.add_argument("name", metavar="NAME", help="a drill of `edge drill list`")
    playing.add_argument("-c", "--config", type=Path, default=None, metavar="FILE", help="default: the shipped example")
    playing.add_argument("--model", default="", help="the model that clients ask for (default: the first one)")
    playing.add_argument("--seed", type=_seed, default=1, help="the same seed gives the same drill (1)")
    playing.add_argument("--load", choices=LOADS, default="chat", help="kind of traffic, as measured (chat)")
    playing.add_argument("--rate", type=_rate, default=None, help="mean requests a second (default: as measured)")
    shape = playing.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print the report as JSON")
    shape.add_argument("--html", action="store_true", help="print the report as a document with pictures")
    playing.add_argument("--send", action="store_true", help="leave the scores at the running node, for its page")
    add_address(playing)
    playing.set_defaults(run=_run)


def _seed(text: str) -> int:
    """Return the seed; raise argparse.ArgumentTypeError if it is none."""
    if not text.isdigit() or int(text) >= 1 << 32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a seed; write a number from 0 to 4294967295")
    return int(text)


def _rate(text: str) -> float:
    """Return the rate; raise argparse.ArgumentTypeError if it is none."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1000:  # noqa: PLR2004
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate; write requests a second, above 0 and up to 1000")
    return rate


def _list(args: argparse.Namespace) -> int:
    """Print the drills."""
    import json  # noqa: PLC0415

    from edge.cli.screen import screen  # noqa: PLC0415
    from edge.drills.nodes import Times  # noqa: PLC0415
    from edge.drills.nodes_report import TITLE  # noqa: PLC0415
    from edge.drills.scripts import SCRIPTS  # noqa: PLC0415

    found = [(one.name, one.seconds, one.title) for one in SCRIPTS.values()]
    found.append((NODES, Times().end, TITLE))
    if args.json:
        rows = [{"name": name, "title": title, "seconds": seconds} for name, seconds, title in found]
        print(json.dumps(rows, indent=2))
        return 0
    from rich.table import Table  # noqa: PLC0415

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("drill", "plays", "what"):
        shown.add_column(head, justify="right" if head == "plays" else "left", no_wrap=head != "what")
    for name, seconds, title in found:
        shown.add_row(name, _long(seconds), title)
    screen(highlight=False).print(shown)
    return 0


def _long(seconds: float) -> str:
    minutes = max(round(seconds / 60), 1)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"  # noqa: PLR2004


def _run(args: argparse.Namespace) -> int:
    """Play a drill; return 1 if a floor is not met."""
    from edge import clock  # noqa: PLC0415
    from edge.drills.play import play  # noqa: PLC0415
    from edge.drills.scores import report  # noqa: PLC0415
    from edge.drills.scripts import SCRIPTS  # noqa: PLC0415
    from edge.drills.stage import set_stage  # noqa: PLC0415
    from edge.errors import DrillError  # noqa: PLC0415

    logging.getLogger("edge").addHandler(logging.NullHandler())  # what nodes of a drill would log is no news
    if args.name == NODES:
        return _run_nodes(args)
    script = SCRIPTS.get(args.name)
    if script is None:
        known = ", ".join((*SCRIPTS, NODES))
        raise DrillError(f"there is no drill {args.name!r}; `edge drill list` shows them: {known}")
    stage = set_stage(args.config, route=args.model, environ=os.environ, now=clock.wall())
    played = play(script, stage, seed=args.seed, kind=args.load, rate=args.rate)
    found = report(played)
    if args.html:
        from edge.drills.page import html  # noqa: PLC0415

        print(html(played, found), end="")
    elif args.json:
        import msgspec  # noqa: PLC0415

        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        _show(found)
    _send(args, found, {"source": found.source, "model": found.model, "seed": found.seed, "notes": found.notes})
    return 0 if found.met else 1


def _send(args: argparse.Namespace, found: Report | NodesReport, more: dict[str, Any]) -> None:
    """Leave the scores at a node, if that is asked for.

    Raises:
        NodeUnreachableError: the node does not answer, or refuses them.
    """
    if args.send:
        from msgspec import to_builtins  # noqa: PLC0415

        from edge.cli.admin_client import ask  # noqa: PLC0415

        scores = [to_builtins(score) for score in found.scores]
        body = {"drill": found.drill, "title": found.title, "met": found.met, "scores": scores, **more}
        ask(args, "/api/drills", method="POST", body=to_builtins(body))


def _show(found: Report) -> None:
    from rich.text import Text  # noqa: PLC0415

    from edge.cli.screen import screen  # noqa: PLC0415

    console = screen(highlight=False)
    console.print(Text(found.title, style="bold"))
    console.print(found.says)
    console.print(
        f"{found.source}, model {found.model}: {found.sides[0].requests:,} requests, {found.rate:g} a second, "
        f"load {found.load}, seed {found.seed}"
    )
    console.print(_table(found.scores))
    for note in found.notes:
        console.print(f"- {note}")


def _table(found: Sequence[Score]) -> Table:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    scores = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("", "figure", "floor", ""):
        scores.add_column(head)
    for score in found:
        word = "" if score.met is None else "met" if score.met else "not met"
        scores.add_row(score.what, score.value, score.floor, Text(word, style="green" if score.met else "bold red"))
    return scores


def _run_nodes(args: argparse.Namespace) -> int:
    """Play the drill of many nodes, and its smaller twin."""
    from edge.drills import nodes, nodes_report  # noqa: PLC0415
    from edge.errors import DrillError  # noqa: PLC0415

    if args.config is not None or args.model or args.rate is not None:
        raise DrillError(f"{NODES} plays nodes of its own: leave out -c, --model and --rate")
    shown = nodes.play(seed=args.seed)
    fewer = nodes.play(shown.nodes // nodes_report.FEWER, shown.regions, seed=args.seed)
    found = nodes_report.report(shown, fewer)
    if args.html:
        from edge.drills.nodes_page import html  # noqa: PLC0415

        print(html(found), end="")
    elif args.json:
        import msgspec  # noqa: PLC0415

        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        _show_nodes(found)
    _send(args, found, {"source": "nodes of its own", "model": "", "seed": shown.seed})
    return 0 if found.met else 1


def _show_nodes(found: NodesReport) -> None:
    from rich.text import Text  # noqa: PLC0415

    from edge.cli.screen import screen  # noqa: PLC0415

    console = screen(highlight=False)
    console.print(Text(found.title, style="bold"))
    console.print(found.says)
    console.print(f"{found.shown.nodes:,} nodes, {found.shown.regions} regions, seed {found.shown.seed}")
    console.print(_table(found.scores))
