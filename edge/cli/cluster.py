"""``edge cluster status``: shows each etcd member of the store that nodes share, as seen from this machine."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from rich.table import Table

    from edge.cluster.members import MemberStatus
    from edge.config.schema_cluster import Etcd

_MIB: Final = 1024**2


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:  # argparse has no public name for it
    """Add ``edge cluster status`` to the parser."""
    parser = subparsers.add_parser("cluster", help="show the members of the store that nodes share")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    status = actions.add_parser("status", help="show leader, revision, size and alarms of each member")
    status.add_argument("-c", "--config", metavar="FILE", default="edge.yaml", help="default: edge.yaml")
    status.add_argument("--json", action="store_true", help="print JSON")
    status.set_defaults(run=run_status)


def run_status(args: argparse.Namespace) -> int:
    """Show the members; return 0 if most of them respond, one leads, and none has an alarm."""
    import asyncio  # noqa: PLC0415

    from edge.control.compose import load_checked  # noqa: PLC0415

    etcd = load_checked(args.config).cluster.etcd
    if etcd is None:
        print(f"edge: {args.config} has no cluster.etcd: its nodes share nothing", file=sys.stderr)
        return 1
    members = asyncio.run(_ask(etcd))
    if args.json:
        import msgspec  # noqa: PLC0415

        print(msgspec.json.format(msgspec.json.encode(members), indent=2).decode())
    else:
        from edge.cli.screen import screen  # noqa: PLC0415

        console = screen()
        console.print(table(members))
        for line in notes(members):
            console.print(line, style="bold yellow", markup=False, highlight=False, soft_wrap=True)
    return 0 if well(members) else 1


def table(members: Sequence[MemberStatus]) -> Table:
    """Return a table with one row per member."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    shown = Table("member", "version", "role", "revision", "database", box=None, pad_edge=False)
    for member in members:
        if member.error:
            shown.add_row(member.url, "", Text("no response", style="red"), "", "")
            continue
        role = Text("leader" if member.leads else "follower")
        if not member.has_leader:
            role = Text("no leader", style="red")
        size = f"{member.in_use / _MIB:.1f} of {member.size / _MIB:.1f} MiB"
        shown.add_row(member.url, member.version, role, str(member.revision), size)
    return shown


def notes(members: Sequence[MemberStatus]) -> list[str]:
    """Return errors and alarms, each once, and the remedy for a full database."""
    from edge.cluster.refusals import FULL  # noqa: PLC0415  # not for --help

    lines = [member.error for member in members if member.error]
    alarms = [alarm.strip() for member in members for alarm in member.alarms]
    lines += alarms
    lines += [f"{FULL} (docs/cluster.md has the commands)"] if any("NOSPACE" in alarm for alarm in alarms) else []
    return list(dict.fromkeys(lines))


def well(members: Sequence[MemberStatus]) -> bool:
    """Return whether nodes can write: most members respond, one of them leads, and there is no alarm."""
    answering = [member for member in members if not member.error]
    leads = any(member.leads for member in answering)
    return leads and 2 * len(answering) > len(members) and not any(member.alarms for member in answering)


async def _ask(etcd: Etcd) -> tuple[MemberStatus, ...]:
    from edge.cluster.etcd import EtcdStore  # noqa: PLC0415

    store = EtcdStore(etcd)
    try:
        return await store.members()
    finally:
        await store.close()
