"""``edge doctor``: checks what a node needs outside its configuration, and says what to do about each fault."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse

    from edge.cli.doctor_finding import Finding

_MARKS: Final = {"ok": "ok  ", "warning": "WARN", "fault": "FAIL"}


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge doctor`` to the parser."""
    parser = subparsers.add_parser("doctor", help="check ports, limits, DNS, TLS, clock, etcd and providers of a node")
    parser.add_argument("-c", "--config", metavar="FILE", default="edge.yaml", help="default: edge.yaml")
    parser.add_argument("--running", action="store_true", help="the node runs already: its ports may be in use")
    parser.add_argument("--offline", action="store_true", help="ask nothing outside this machine")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a line for each thing that was checked; return 1 if there is a fault."""
    import asyncio  # noqa: PLC0415

    from edge.cli.doctor_host import of_host  # noqa: PLC0415
    from edge.cli.doctor_remote import of_remote  # noqa: PLC0415
    from edge.config.check import check  # noqa: PLC0415
    from edge.config.load import read  # noqa: PLC0415
    from edge.config.problems import errors  # noqa: PLC0415
    from edge.providers import KNOWN  # noqa: PLC0415
    from edge.telemetry import logs  # noqa: PLC0415

    logs.set_up("edge", level="error", form="auto")
    document = read(args.config)
    refused = errors(check(document, KNOWN))
    findings = _of_file(args.config, [problem.text(document.source) for problem in refused])
    findings += of_host(document.config, running=args.running)
    if not args.offline and not refused:  # what cannot be compiled has no targets to ask
        findings += asyncio.run(of_remote(document.config))
    if args.json:
        import msgspec  # noqa: PLC0415

        print(msgspec.json.format(msgspec.json.encode(findings), indent=2).decode())
    else:
        for finding in findings:
            print(f"{_MARKS[finding.level]} {finding.subject}: {finding.sentence}")
            if finding.remedy:
                print(f"       {finding.remedy}")
    faults = sum(finding.level == "fault" for finding in findings)
    if faults and not args.json:
        print(f"{faults} {'fault' if faults == 1 else 'faults'}", file=sys.stderr)
    return 1 if faults else 0


def _of_file(name: str, problems: list[str]) -> list[Finding]:
    from edge.cli.doctor_finding import fault, ok  # noqa: PLC0415

    if not problems:
        return [ok("configuration", f"{name} is valid")]
    return [fault("configuration", problem, f"edge check {name} lists everything") for problem in problems]
