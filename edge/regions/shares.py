"""Division of an allowance of ``scope: global`` among nodes, by a ledger with a grant per node; pure functions.

One key of the store holds all grants of an allowance. A node changes only its own entry, in a transaction on the key's
last revision, so the grants never add up to more than the limit, however many nodes write at once; no request waits
for any of it. Demand moves grants: a starved node publishes what it wants, and the others give up what they do not
need.

Without a common clock, safety depends on who stops first. A node may use its grant until HELD_NS after the *beginning*
of its last successful heartbeat; after that it uses its ``safe`` share, the part that every node gets if all are cut
off. The others take a silent node's grant TAKEN_NS after they last *saw* a heartbeat, in a transaction that fails if
there was a heartbeat they have not seen. The safe shares of silent nodes stay reserved, all but the largest, and so do
those of nodes that may have been silent while this node could not see them. A node that writes heartbeats but sees
nobody else's uses the smaller of its grant and its safe share. However the network is partitioned, the nodes together
use at most the limit plus one share.

Concurrent requests are divided like rates, with one difference: what is in use cannot be given away. A node that has to
give admits no more than its new part at once, and its grant follows as requests end.

Source: Doorman (capacity leases, safe capacity, learning after a restart). Amounts are thousandths per minute, or
concurrent requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta, Struct, field

from edge.regions.digest import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_S: Final = 1_000_000_000
SILENT_NS: Final = 10 * _S
"""A node that has been silent for this long may soon use its safe share, which is therefore reserved."""
HELD_NS: Final = 15 * _S
"""How long a node uses its grant after its last successful heartbeat, by its own clock."""
TAKEN_NS: Final = 18 * _S
"""When others take a silent node's grant; the margin over HELD_NS allows for clocks whose speeds differ by a fifth."""
FORGOTTEN_NS: Final = 600 * _S
"""A node that has been silent for this long keeps no reserve: it was removed, or is cut off for longer than that."""

IDLE: Final = 100
"""Nodes without demand together keep 1/IDLE of the limit, so that their next request can be granted."""

BOTH: Final = (0, 1)  # indexes into the pairs below: requests, tokens

# A move smaller than this fraction of the limit is not worth a write.
WORTH: Final = 0.01

Pair = tuple[int, int]
_Amount = Annotated[int, Meta(ge=0, le=2**60)]  # larger values exceed the shared state and make the ledger unreadable
_Amounts = tuple[_Amount, _Amount]


class Entry(Struct, frozen=True):
    """One node's entry, in pairs of requests and tokens. ``taken``: others took its grant while it was silent."""

    grant: _Amounts = (0, 0)
    want: _Amounts = (0, 0)
    safe: _Amounts = (0, 0)
    taken: bool = False


class Shares(Struct, frozen=True):
    """The ledger of an allowance: all grants, by node."""

    nodes: dict[str, Entry] = field(default_factory=dict)
    v: int = 1


class Move(Struct, frozen=True):
    """A ledger that a node would write, and the nodes on whose silence it relies.

    ``ideal`` is the node's part if the others gave way. ``part`` is what it may use: its grant, except for what is
    still in use beyond the part. ``must`` is True if the node holds more than is left for it, because others need a
    reserve or the limit was lowered.
    """

    shares: Shares
    silent: tuple[str, ...]
    ideal: Pair
    part: Pair
    must: bool


def decode(value: bytes) -> Shares:
    """Return the ledger that a key holds; an empty one if the value is unreadable."""
    try:
        return msgspec.json.decode(value, type=Shares)
    except UNREADABLE:
        return Shares()


def encode(shares: Shares) -> bytes:
    """Return the ledger as it is stored."""
    return msgspec.json.encode(shares)


def fair(limit: int, wants: Mapping[str, int]) -> dict[str, int]:
    """Divide a limit by max-min fairness; the parts never add up to more than the limit.

    Small demands are met in full, the others get equal parts, and what nobody wants is divided equally among all.
    """
    parts: dict[str, int] = {}
    left = limit
    for place, (name, want) in enumerate(sorted(wants.items(), key=lambda item: (item[1], item[0]))):
        parts[name] = min(want, left // (len(wants) - place))
        left -= parts[name]
    return {name: part + left // len(wants) for name, part in parts.items()}


def safe_share(limit: Pair, nodes: int) -> Pair:
    """Return what each of ``nodes`` nodes may grant when the store is silent."""
    return limit[0] // max(nodes, 1), limit[1] // max(nodes, 1)


def reserved(shares: Shares, me: str, silent_ns: Mapping[str, int], doubts: Collection[str] = ()) -> Pair:
    """Return the part of the limit that this node must not take: others' grants and silent nodes' safe shares.

    Args:
        shares: the ledger.
        me: the name of this node.
        silent_ns: how long each other node has been silent.
        doubts: nodes that may have been silent for longer than that.
    """
    sums, spared = [0, 0], [0, 0]
    for name, entry in shares.nodes.items():
        if name == me:
            continue
        for kind in BOTH:
            grant, safe, quiet = entry.grant[kind], entry.safe[kind], silent_ns.get(name, 0)
            if entry.taken or quiet >= TAKEN_NS:
                held, extra = safe, safe
            elif quiet >= SILENT_NS or name in doubts:
                held, extra = max(grant, safe), max(safe - grant, 0)
            else:
                held, extra = grant, 0
            sums[kind] += held
            spared[kind] = max(spared[kind], extra)
    return sums[0] - spared[0], sums[1] - spared[1]


def moved(
    shares: Shares,
    me: str,
    limit: Pair,
    want: Pair,
    silent_ns: Mapping[str, int],
    *,
    most: Pair,
    used: Pair = (0, 0),
    doubts: Collection[str] = (),
) -> Move:
    """Return the ledger that this node would write: with its own new entry and those of silent nodes updated.

    Args:
        shares: the current ledger.
        me: the name of this node.
        limit: the limit of the allowance; 0: none.
        want: the current demand at this node.
        silent_ns: how long each other node has been silent.
        most: the largest grant with which a node may enter the ledger.
        used: what is in use and so cannot be given away.
        doubts: nodes that may have been silent for longer than known.
    """
    kept = {name: entry for name, entry in shares.nodes.items() if name == me or silent_ns.get(name, 0) < FORGOTTEN_NS}
    quiet = {name for name in kept if name != me and silent_ns.get(name, 0) >= TAKEN_NS}
    trusted = Shares(kept)
    others = reserved(trusted, me, silent_ns, doubts)
    present = {name: entry for name, entry in kept.items() if name not in quiet and not entry.taken}
    before = present.setdefault(me, Entry())
    ideals, part, grant = [], [], []
    for kind in BOTH:
        floor = limit[kind] // (IDLE * len(present))
        wants = {name: max(entry.want[kind], floor) for name, entry in present.items()}
        ideal = fair(limit[kind], {**wants, me: max(want[kind], floor)})[me]
        if me not in kept:
            ideal = min(ideal, most[kind])
        ideals.append(ideal)
        part.append(max(min(ideal, limit[kind] - others[kind]), 0))
        grant.append(max(part[kind], min(used[kind], before.grant[kind])))
    must = any(before.grant[kind] > max(limit[kind] - others[kind], grant[kind]) for kind in BOTH)
    mine = Entry((grant[0], grant[1]), want, safe_share(limit, len({*kept, me})))
    nodes = {name: _taken(entry) if name in quiet else entry for name, entry in kept.items()}
    gone = shares.nodes.keys() - kept.keys()
    silent = tuple(sorted(quiet | gone))
    return Move(Shares({**nodes, me: mine}), silent, (ideals[0], ideals[1]), (part[0], part[1]), must)


def waiting(shares: Shares, me: str, kind: int, limit: Pair) -> bool:
    """Return whether another node is starved."""
    least = _least(limit, kind)
    return any(name != me and entry.want[kind] >= entry.grant[kind] + least for name, entry in shares.nodes.items())


def worth_it(shares: Shares, move: Move, me: str, limit: Pair) -> bool:
    """Return whether a move is worth a write: this node is new or lost its grant, or some node is starved."""
    before, after = shares.nodes.get(me), move.shares.nodes[me]
    if before is None or before.taken:
        return True
    if move.must or before.safe != after.safe:
        return True
    for kind in BOTH:
        least = _least(limit, kind)
        grant, change = before.grant[kind], after.grant[kind] - before.grant[kind]
        waited, waits = (want >= grant + least for want in (before.want[kind], after.want[kind]))
        if after.want[kind] > grant:
            # The others must know what this node would take; a demand beyond that is irrelevant. That it has begun to
            # wait is news even if it would get nothing: the obstacle may have gone.
            unknown = min(after.want[kind], move.ideal[kind]) - max(before.want[kind], grant)
            if change >= least or unknown >= least or (waits and not waited):
                return True
        # Give only to starved nodes; likewise, stop being listed as starved only if others are.
        if (-change >= least or (waited and not waits)) and waiting(shares, me, kind, limit):
            return True
    return False


def _least(limit: Pair, kind: int) -> int:
    """Return the smallest move that is worth a write."""
    return max(int(WORTH * limit[kind]), 1)


def _taken(entry: Entry) -> Entry:
    """Return the entry of a node whose grant others have taken; it must claim a new one."""
    return entry if entry.taken else Entry((0, 0), entry.want, entry.safe, taken=True)
