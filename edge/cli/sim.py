"""``edge sim``: runs simulated providers and services, switches their faults, and shows what they received."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import argparse

URL: Final = "http://127.0.0.1:9101"  # address of the first simulated provider of a node without configuration

# Options of `edge sim fault`, named after the fields of edge.sim.faults.Fault; durations are written 250ms, 2s, 5m.
FAULT_OPTIONS: Final = (
    ("rate", float, "share of the matching requests, 0 to 1 (1)"),
    ("after", int, "spare the first N matching requests"),
    ("count", int, "strike at most N requests"),
    ("for_s", "duration", "heal after this time"),
    ("period_s", "duration", "strike during the first part of every period"),
    ("duty", float, "length of that part as a share of the period, 0 to 1 (0.5)"),
    ("path", str, "only paths with this prefix, such as /v1/embeddings"),
    ("asked", str, "only requests for this: stream, json, tools, image, audio, structured, reasoning, long"),
    ("model", str, "only this upstream model"),
    ("at", str, "where it strikes: start, head or middle"),
    ("tokens", int, "tokens sent before it strikes in the middle (3)"),
    ("delay_s", "duration", "time that latency, slow_tokens and capacity add"),
    ("status", int, "status of the error, 400 to 599"),
    ("retry_after", str, "send Retry-After"),
    ("ratelimit_reset", str, "send x-ratelimit-reset-requests, such as 6m0s"),
    ("code", str, "error.code in the body"),
    ("shape", str, "form of an error: openai or vllm; of garbage: html or json"),
    ("limit", int, "capacity: requests at once"),
)

# Options of `edge sim service` that have the names of fields of edge.sim.v1.Fault.
SERVICE_FAULTS: Final = ("message", "after", "rate", "method", "reset", "blackhole", "unhealthy")


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge sim`` and its subcommands to the parser."""
    sim = subparsers.add_parser("sim", help="simulated providers: run one, make it fail, show what it received")
    under = sim.add_subparsers(metavar="WHAT", required=True)

    provider = under.add_parser("provider", help="run a provider until Ctrl-C")
    provider.add_argument("--name", default="sim-a", help="name in its responses (sim-a)")
    provider.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    provider.add_argument("--port", type=int, default=0, help="port to listen on; 0 picks a free one and prints it")
    provider.add_argument("--key", help="bearer token that clients must send (default: any)")
    provider.add_argument("--ttft", default="50ms", metavar="DURATION", help="time to the first token (50ms)")
    provider.add_argument("--tps", type=float, default=50.0, help="tokens per second; 0: all at once (50)")
    provider.add_argument("--tokens", type=int, default=24, help="tokens per response (24)")
    provider.add_argument(
        "--prefill",
        choices=("continue", "restart", "refuse"),
        default="restart",
        help="what it does with a last message of the assistant (restart)",
    )
    provider.add_argument(
        "--turn",
        choices=("continue", "restart", "repeat"),
        default="repeat",
        help="what it does where a last message asks for the rest of an answer (repeat: from its last words on)",
    )
    provider.set_defaults(run=run_provider)

    fault = under.add_parser("fault", help="make a provider fail, or heal it with the kind none")
    fault.add_argument("url", help=f"address of the provider, such as {URL}")
    fault.add_argument(
        "kind",
        help="latency, slow_tokens, error, stall, cut, reset, blackhole, refuse, inband_error, corrupt, no_done, "
        "garbage, truncated, flapping, capability, capacity; none heals",
    )
    for field, kind, text in FAULT_OPTIONS:
        read = str if kind == "duration" else kind
        shown = "DURATION" if kind == "duration" else getattr(kind, "__name__", "TEXT").upper()
        fault.add_argument(_flag(field), dest=field, type=read, metavar=shown, help=text)
    fault.add_argument("--clean", action="store_true", default=None, help="cut: end the HTTP framing properly")
    fault.set_defaults(run=run_fault)

    service = under.add_parser("service", help="run a gRPC service until Ctrl-C, optionally with a fault")
    service.add_argument("--name", default="sim-service", help="name in its responses (sim-service)")
    service.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    service.add_argument("--port", type=int, default=0, help="port to listen on; 0 picks a free one and prints it")
    service.add_argument("--latency", metavar="DURATION", help="wait before every message")
    service.add_argument("--status", metavar="NAME", help="end calls with this gRPC status, such as UNAVAILABLE")
    service.add_argument("--message", default="", metavar="TEXT", help="message of that status")
    service.add_argument("--after", type=int, default=0, metavar="N", help="send N messages of a stream first")
    service.add_argument("--rate", type=float, default=0.0, help="share of the calls that fail, 0 to 1 (all)")
    service.add_argument("--method", default="", help="only methods with this prefix, such as /helloworld.Greeter/")
    service.add_argument("--reset", action="store_true", help="reset the connection instead of responding")
    service.add_argument("--blackhole", action="store_true", help="never respond")
    service.add_argument("--unhealthy", action="store_true", help="report NOT_SERVING in grpc.health.v1")
    service.set_defaults(run=run_service)

    stats = under.add_parser("stats", help="print what a provider has received, as JSON")
    stats.add_argument("url", help=f"address of the provider, such as {URL}")
    stats.set_defaults(run=run_stats)


def run_provider(args: argparse.Namespace) -> int:
    """Run one provider until it is stopped."""
    from edge.config.units import NS_PER_S, parse_duration  # noqa: PLC0415
    from edge.sim.asked import Pace  # noqa: PLC0415
    from edge.sim.provider import ProviderSpec, SimProvider  # noqa: PLC0415
    from edge.sim.serve import run as serve  # noqa: PLC0415

    def announce(provider: SimProvider) -> None:
        print(f"{provider.spec.name} (simulated) listens at {provider.base_url}", flush=True)

    try:
        pace = Pace(ttft_s=parse_duration(args.ttft) / NS_PER_S, tps=args.tps, tokens=args.tokens)
    except ValueError as wrong:
        return _refuse(f"--ttft: {wrong}")
    spec = ProviderSpec(args.name, args.host, args.port, args.key, pace, prefill=args.prefill, turn=args.turn)
    try:
        serve((spec,), announce)
    except OSError as wrong:
        print(
            f"edge: cannot listen on {args.host}:{args.port}: {os.strerror(wrong.errno or 0)}; choose another --port",
            file=sys.stderr,
        )
        return 1
    return 0


def run_service(args: argparse.Namespace) -> int:
    """Run one gRPC service until it is stopped."""
    import uvloop  # noqa: PLC0415

    from edge.config.units import NS_PER_S, parse_duration  # noqa: PLC0415
    from edge.listen.grpc_status import Code  # noqa: PLC0415
    from edge.sim.service import ServiceSpec, SimService, serve  # noqa: PLC0415
    from edge.wire.edge.sim.v1.service_pb2 import Fault  # noqa: PLC0415

    def announce(service: SimService) -> None:
        print(f"{service.spec.name} (simulated gRPC) listens at {service.address}", flush=True)

    names = [code.name for code in Code if code is not Code.OK]
    if args.status is not None and args.status.upper() not in names:
        return _refuse(f"--status: {args.status!r} is not one of {', '.join(names)}")
    try:
        latency_s = parse_duration(args.latency) / NS_PER_S if args.latency else 0.0
    except ValueError as wrong:
        return _refuse(f"--latency: {wrong}")
    fault = Fault(
        latency_s=latency_s,
        status=0 if args.status is None else Code[args.status.upper()],
        **{name: getattr(args, name) for name in SERVICE_FAULTS},
    )
    try:
        uvloop.run(serve(ServiceSpec(args.name, args.host, args.port), fault, announce, until_eof=False))
    except OSError as wrong:
        print(f"edge: {wrong}; choose another --port", file=sys.stderr)
        return 1
    return 0


def run_fault(args: argparse.Namespace) -> int:
    """Switch a fault on, or all of them off, and print the active faults."""
    import msgspec  # noqa: PLC0415

    from edge.config.units import NS_PER_S, parse_duration  # noqa: PLC0415
    from edge.sim import remote  # noqa: PLC0415
    from edge.sim.faults import decode  # noqa: PLC0415

    given: dict[str, Any] = {"kind": args.kind}
    for field, kind, _ in (*FAULT_OPTIONS, ("clean", bool, "")):
        value = getattr(args, field)
        if value is None:
            continue
        try:
            given[field] = parse_duration(value) / NS_PER_S if kind == "duration" else value
        except ValueError as wrong:
            return _refuse(f"{_flag(field)}: {wrong}")
    try:
        faults = decode(msgspec.json.encode(given))
    except ValueError as wrong:
        return _refuse(str(wrong))
    return _show(remote.switch(args.url, *faults))


def run_stats(args: argparse.Namespace) -> int:
    """Print what a provider has received."""
    from edge.sim import remote  # noqa: PLC0415

    return _show(remote.stats(args.url))


def _show(result: Any) -> int:
    import asyncio  # noqa: PLC0415
    import json  # noqa: PLC0415

    print(json.dumps(asyncio.run(result), indent=2))
    return 0


def _flag(field: str) -> str:
    return "--" + field.removesuffix("_s").replace("_", "-")


def _refuse(sentence: str) -> int:
    print(f"edge: {sentence}", file=sys.stderr)
    return 2
