"""What each node has spent of this month's budgets, and how an operator makes edge forget it.

A node without a heartbeat keeps what it has published counted until the month ends, because the money is gone. If the
node's file was lost, its name was reused or its numbers are wrong, only an operator can know that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge import clock
from edge.errors import EdgeError
from edge.regions.digest import name_of
from edge.regions.shares import SILENT_NS
from edge.telemetry import logs
from edge.telemetry.usage import month_of, spent_in

if TYPE_CHECKING:
    from edge.control.node import Node

_NANO: Final = 1_000_000_000


class UnknownNodeError(EdgeError):
    """No node of that name has spent anything."""

    kind = "unknown_node"
    source = "client"


class NodeAliveError(EdgeError):
    """Another node sends heartbeats, and would publish its spending again."""

    kind = "node_alive"
    source = "client"


class KeySpending(Struct, frozen=True):
    """What a node has spent with a key this month, and may spend until it publishes again; US dollars."""

    key: str
    spent: float
    may_spend: float | None  # None: the budget is the node's alone


class NodeSpending(Struct, frozen=True):
    """The spending of one node; ``silent_s`` is the time since its last heartbeat, None: it has none."""

    node: str
    here: bool
    silent_s: float | None
    keys: tuple[KeySpending, ...]


def node_spending(node: Node) -> list[NodeSpending]:
    """Return the spending of this node, and what other nodes have published of shared budgets."""
    snapshot, month = node.accounted, month_of(clock.wall())
    own = []
    for key in snapshot.keys:
        if key.allowance is None or not key.budget_nano:
            continue
        record = node.shared_state.read_allowance(key.allowance.slot)
        shared = key.allowance.shared and record["ceiling_month"] == month
        may_spend = min(record["ceiling_nano"], key.budget_nano) / _NANO if shared else None
        own.append(KeySpending(key.name, spent_in(record, month) / _NANO, may_spend))
    found = [NodeSpending(name_of(snapshot.region, snapshot.node), here=True, silent_s=0.0, keys=tuple(own))]
    others = {} if node.sharing is None else node.sharing.spending()
    for name, (silent_s, parts) in sorted(others.items()):
        keys = [KeySpending(key, part.spent / _NANO, part.ceiling / _NANO) for key, part in sorted(parts.items())]
        found.append(NodeSpending(name, here=False, silent_s=silent_s, keys=tuple(keys)))
    return found


async def forget(node: Node, name: str) -> NodeSpending:
    """Forget what a node has spent this month, on all nodes; return what it was.

    Args:
        node: this node.
        name: REGION/NODE, of this node or of one that sends no heartbeats.

    Raises:
        UnknownNodeError: no node of that name has spent anything.
        NodeAliveError: it is another node, and alive.
        StoreUnavailableError: the store cannot be reached; nothing has changed.
        StoreRefusedError: the store denies the write.
    """
    known = node_spending(node)
    found = next((each for each in known if each.node == name), None)
    if found is None:
        raise UnknownNodeError(f"no node {name} has spent anything; known are {', '.join(each.node for each in known)}")
    if not found.here and found.silent_s is not None and found.silent_s * _NANO < SILENT_NS:
        raise NodeAliveError(f"{name} is alive and would tell its spending again; ask that node itself to forget it")
    if node.sharing is not None:
        await node.sharing.forget(name)
    if found.here:
        for key in node.accounted.keys:
            if key.allowance is not None and key.budget_nano:
                node.shared_state.forget_spent(key.allowance.slot)
    spent = {each.key: each.spent for each in found.keys if each.spent}
    logs.say(logs.WARNING, "spending was forgotten by an operator", node=name, spent=spent)
    return found
