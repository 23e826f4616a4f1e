"""``edge bench``: what an edge costs its callers, measured from outside: round trips, first tokens, relayed chunks."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Final

from edge.errors import EdgeError

if TYPE_CHECKING:
    from edge.cli.bench_client import Bench, Plan, Way

DEFAULT_URL: Final = "http://127.0.0.1:8080"
MOST_REQUESTS: Final = 200
MOST_SECONDS: Final = 600
MOST_TOKENS: Final = 256


class BenchError(EdgeError):
    """The measurement cannot be made as asked."""

    kind = "bench"
    source = "client"


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge bench`` to the parser."""
    parser = subparsers.add_parser("bench", help="measure an edge from outside, beside its provider where you name it")
    parser.add_argument("--url", default=DEFAULT_URL, help=f"a client listener of the edge ({DEFAULT_URL})")
    parser.add_argument("--key", default=os.environ.get("EDGE_KEY", ""), help="a caller's key (EDGE_KEY)")
    parser.add_argument("--model", default="chat", help="the model to ask for (chat)")
    parser.add_argument("--direct", default="", metavar="URL", help="base URL of the provider, to ask it beside edge")
    parser.add_argument("--direct-model", default="", metavar="NAME", help="the model's name there (that of --model)")
    parser.add_argument(
        "--direct-key",
        default=os.environ.get("EDGE_BENCH_DIRECT_KEY", ""),
        metavar="KEY",
        help="the provider's key (EDGE_BENCH_DIRECT_KEY)",
    )
    parser.add_argument(
        "--paid", action="store_true", help="ask models, too: you know that the provider charges for each request"
    )
    whole = (("requests", 20, MOST_REQUESTS, "requests each way"), ("seconds", 60, MOST_SECONDS, "the whole time"))
    for name, default, most, what in (*whole, ("tokens", 32, MOST_TOKENS, "tokens of each answer")):
        parser.add_argument(
            f"--{name}",
            type=_from_one_to(most),
            default=default,
            metavar="N",
            help=f"most {what}, 1 to {most} ({default})",
        )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="print the figures as JSON")
    shape.add_argument("--html", action="store_true", help="print a document with pictures")
    parser.set_defaults(run=run)


def _from_one_to(most: int) -> type[int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {most}")
        return int(text)

    return read  # type: ignore[return-value]  # argparse calls it like a type


def run(args: argparse.Namespace) -> int:
    """Measure; return 1 if a way had no good answer."""
    import asyncio  # noqa: PLC0415

    from edge.cli import bench_client  # noqa: PLC0415

    plan = _plan(args)
    found = asyncio.run(bench_client.measure(plan))
    if args.html:
        from edge.cli.bench_page import html  # noqa: PLC0415

        print(html(found), end="")
    elif args.json:
        import msgspec  # noqa: PLC0415

        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        _show(found, args)
    return 0 if all(way.answered for way in found.ways) else 1


def _plan(args: argparse.Namespace) -> Plan:
    """Return what to measure.

    Raises:
        BenchError: an address is none, or a provider would be asked without the word that it may cost.
    """
    from edge.cli.bench_client import Plan  # noqa: PLC0415

    url = _address(args.url, "--url").removesuffix("/v1")
    direct = _address(args.direct, "--direct") if args.direct else ""
    if direct and not args.paid:
        raise BenchError(
            f"--direct asks a provider, which charges for it: up to {args.requests} requests of about 30 tokens, with "
            f"answers of at most {args.tokens}, and as many through edge. Add --paid to say that you know"
        )
    for name in ("key", "direct_key"):
        if not getattr(args, name).isascii() or not (getattr(args, name) or " ").isprintable():
            raise BenchError(f"--{name.replace('_', '-')} has characters that a header cannot carry")
    return Plan(
        url=url,
        key=args.key,
        model=args.model,
        direct=direct,
        direct_key=args.direct_key,
        direct_model=args.direct_model or args.model,
        paid=args.paid,
        requests=args.requests,
        seconds=float(args.seconds),
        tokens=args.tokens,
    )


def _address(text: str, option: str) -> str:
    """Return an address without a slash at its end; raise BenchError if it is none. Its text may hold a password."""
    from urllib.parse import urlsplit  # noqa: PLC0415

    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        port = -1
    whole = port != -1 and parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    if not whole or parts.query or parts.fragment or not url.isprintable():
        raise BenchError(f"{option} is not an http or https address without user and query; write {DEFAULT_URL}")
    return url.rstrip("/")


def _show(found: Bench, args: argparse.Namespace) -> None:
    from rich.table import Table  # noqa: PLC0415

    from edge.cli.screen import screen  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("", *(way.name for way in found.ways)):
        table.add_column(head, justify="right" if head else "left")
    for what, cells in rows(found.ways):
        table.add_row(what, *cells)
    console = screen(highlight=False)
    console.print(table)
    for note in found.notes:
        console.print(f"- {note}", soft_wrap=True)
    if not args.paid:
        console.print(
            f"- No model was asked. `--paid` asks for up to {args.requests} answers of at most {args.tokens} tokens, "
            "which the provider charges for; with --direct it asks the provider beside edge.",
            soft_wrap=True,
        )


def rows(ways: tuple[Way, ...]) -> list[tuple[str, list[str]]]:
    """Return the figures as rows: what, and a cell for each way."""

    def times(share: float, name: str) -> list[str]:
        from edge.sim.scores import quantile  # noqa: PLC0415

        values = [getattr(way, name) for way in ways]
        return [f"{quantile(each, share) * 1000:,.2f} ms" if each else "-" for each in values]

    found = [
        ("answered", [f"{way.answered} of {way.asked}" for way in ways]),
        ("failed", [", ".join(f"{why} ({count})" for why, count in way.failures.items()) or "none" for way in ways]),
    ]
    for name, words in (("first_s", "first token"), ("whole_s", "whole answer"), ("gap_s", "between chunks")):
        if any(getattr(way, name) for way in ways):
            found += [(f"{words}, {label}", times(share, name)) for label, share in (("p50", 0.5), ("p95", 0.95))]
    if any(way.gap_s for way in ways):
        found.append(("between chunks, longest", times(1.0, "gap_s")))
        found.append(
            ("chunks of an answer", [f"{way.chunks / way.answered:.1f}" if way.chunks else "-" for way in ways])
        )
        found.append(("tokens: prompt, answer", [f"{way.prompt:,}, {way.output:,}" for way in ways]))
    return found
