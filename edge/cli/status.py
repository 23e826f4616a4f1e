"""How is this node?  ``edge status``: a table of targets, who is left alone, why, and until when."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import argparse

    from rich.table import Table

DEFAULT_ADMIN: Final = "http://127.0.0.1:9901"
LIMIT_S: Final = 5.0
EVERY_S: Final = 1.0
_STYLES: Final = {
    "closed": "green",
    "ramping": "cyan",
    "half_open": "cyan",
    "resting": "yellow",
    "open": "red",
    "out": "bold white on red",
    "manual": "magenta",
}


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Declare ``edge status``."""
    parser = subparsers.add_parser("status", help="show every target of a running node: state, load, latency, why")
    parser.add_argument(
        "--admin",
        default=os.environ.get("EDGE_ADMIN", DEFAULT_ADMIN),
        metavar="URL",
        help=f"admin address (EDGE_ADMIN, {DEFAULT_ADMIN})",
    )
    parser.add_argument(
        "--token", default=os.environ.get("EDGE_ADMIN_TOKEN", ""), help="bearer token (EDGE_ADMIN_TOKEN)"
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="what the admin address answers, as JSON")
    shape.add_argument("--watch", action="store_true", help="again every second, until Ctrl-C")
    parser.set_defaults(run=run)


def run(asked: argparse.Namespace) -> int:
    """Show the targets; 0 when the node answers, whatever state they are in."""
    if asked.json:
        print(json.dumps(_targets(asked), indent=2))
        return 0
    from rich.console import Console  # noqa: PLC0415

    console = Console()
    if not asked.watch:
        console.print(table(_targets(asked)))
        return 0
    from rich.live import Live  # noqa: PLC0415

    with Live(table(_targets(asked)), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(EVERY_S)
            live.update(table(_targets(asked)), refresh=True)


def table(targets: list[dict[str, Any]]) -> Table:
    """Return the table of what ``/api/targets`` said."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("target", no_wrap=True)
    shown.add_column("serves")
    shown.add_column("tier", justify="right")
    shown.add_column("state", no_wrap=True)
    for heading in ("in flight", "first token", "first byte", "errors", "of"):
        shown.add_column(heading, justify="right")
    shown.add_column("why")
    for target in targets:
        shown.add_row(
            target["id"],
            # that a target can be asked for by its own name is true of all of them
            ", ".join(route for route in target["routes"] if route != target["id"]),
            str(target["tier"]),
            Text(target["state"], style=_STYLES.get(target["state"], "")),
            str(target["inflight"]),
            _milliseconds(target["latency_ms"]["stream"]),
            _milliseconds(target["latency_ms"]["whole"]),
            f"{target['error_ratio']:.0%}" if target["volume"] else "-",
            str(target["volume"]),
            _why(target),
        )
    return shown


def _why(target: dict[str, Any]) -> str:
    until = target["until_s"]
    return str(target["why"]) + (f" ({until:.0f} s left)" if until else "")


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _targets(asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Ask the node.

    Raises:
        NodeUnreachableError: it does not answer, refuses the token, or is something else than edge.
    """
    import urllib.error  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    from edge.errors import NodeUnreachableError  # noqa: PLC0415

    base = asked.admin if "://" in asked.admin else f"http://{asked.admin}"
    url = f"{base.rstrip('/')}/api/targets"
    if not url.startswith(("http://", "https://")):
        raise NodeUnreachableError(f"{asked.admin} is not an http address; write --admin {DEFAULT_ADMIN}")
    headers = {"Authorization": f"Bearer {asked.token}"} if asked.token else {}
    try:
        with urllib.request.urlopen(  # noqa: S310  # the scheme was checked above
            urllib.request.Request(url, headers=headers),  # noqa: S310
            timeout=LIMIT_S,
        ) as answer:
            targets: list[dict[str, Any]] = json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            remedy = "give its token with --token or EDGE_ADMIN_TOKEN" if error.code == 401 else "is this edge?"  # noqa: PLR2004
            raise NodeUnreachableError(f"{url} answered {error.code}: {remedy}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise NodeUnreachableError(
            f"nothing answers at {url} ({reason}): start a node with `edge run`, "
            "or name its admin address with --admin or EDGE_ADMIN"
        ) from error
    return targets
