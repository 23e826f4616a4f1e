"""How is an allowance of ``scope: global`` divided among nodes?  Pure: one ledger, a grant per node.

One key of the store holds all grants of an allowance. A node changes its own entry alone, by a transaction on the key's
last revision, so that grants add up to the limit at most however many write at once; no request waits for any of it.
Demand moves grants: a node that is starved says what it wants, the others see it and give up what they do not need.

What makes this safe without a common clock is who stops first. A node may use its grant for HELD_NS after it *began*
its last successful heartbeat; from then on it uses its ``safe`` share, which is what every node gets when all are cut
off. The others take a silent node's grant TAKEN_NS after they last *saw* a heartbeat, and only in a transaction that
fails if there was one that they have not seen. Of silent nodes all safe shares but the largest stay reserved, and so of
those that may have been silent while we could not see. A node that writes its heartbeats and sees nobody's uses the
least of its grant and its safe share. Together they use the limit and one share at most, whichever way the network
falls apart.

Requests at once are divided as rates are, but for one thing: what is in use cannot be given away. A node that is to
give lets no more in than its new part at once, and its grant follows as requests end.

Source: Doorman (capacity leases, safe capacity, learning after a restart); amounts are thousandths per minute, or
requests at once.
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
"""A node that was not heard for this long may soon fall back to its safe share: that is reserved."""
HELD_NS: Final = 15 * _S
"""How long a node uses its grant after its last successful heartbeat, by its own clock."""
TAKEN_NS: Final = 18 * _S
"""When others take its grant; what lies between allows for clocks that run a fifth apart."""
FORGOTTEN_NS: Final = 600 * _S
"""A node that was not heard for this long has no reserve any more. It was removed, or is cut off longer than that."""

IDLE: Final = 100
"""Nodes that are asked for nothing keep this part of the limit together, so that the next request finds something."""

BOTH: Final = (0, 1)  # requests, tokens: places in the pairs below

# A move smaller than this part of the limit is not worth a write.
WORTH: Final = 0.01

Pair = tuple[int, int]
_Amount = Annotated[int, Meta(ge=0, le=2**60)]  # whoever writes more is not read: it would fit no SharedState
_Amounts = tuple[_Amount, _Amount]


class Entry(Struct, frozen=True):
    """One node's part: pairs of requests and tokens. ``taken``: the others took it, as the node was silent."""

    grant: _Amounts = (0, 0)
    want: _Amounts = (0, 0)
    safe: _Amounts = (0, 0)
    taken: bool = False


class Shares(Struct, frozen=True):
    """All grants of one allowance, by node."""

    nodes: dict[str, Entry] = field(default_factory=dict)
    v: int = 1


class Move(Struct, frozen=True):
    """What a node would write: the whole of it, and the nodes whose silence it relies on.

    ``ideal`` is what would be its part if the others gave way; ``part`` what it is to use, which is its grant but for
    what is in use beyond; ``must``: it holds more than is left for it, because others are to be reserved for or the
    limit was lowered.
    """

    shares: Shares
    silent: tuple[str, ...]
    ideal: Pair
    part: Pair
    must: bool


def decode(value: bytes) -> Shares:
    """Return what a key holds; nothing granted where it holds something else."""
    try:
        return msgspec.json.decode(value, type=Shares)
    except UNREADABLE:
        return Shares()


def encode(shares: Shares) -> bytes:
    """Return what to write."""
    return msgspec.json.encode(shares)


def fair(limit: int, wants: Mapping[str, int]) -> dict[str, int]:
    """Divide a limit: whoever wants little gets it, the others an equal part each; what nobody wants goes to all alike.

    Max-min fairness; the parts never add up to more than the limit.
    """
    parts: dict[str, int] = {}
    left = limit
    for place, (name, want) in enumerate(sorted(wants.items(), key=lambda item: (item[1], item[0]))):
        parts[name] = min(want, left // (len(wants) - place))
        left -= parts[name]
    return {name: part + left // len(wants) for name, part in parts.items()}


def safe_share(limit: Pair, nodes: int) -> Pair:
    """Return what one of so many nodes may grant when the store is silent."""
    return limit[0] // max(nodes, 1), limit[1] // max(nodes, 1)


def reserved(shares: Shares, me: str, silent_ns: Mapping[str, int], doubts: Collection[str] = ()) -> Pair:
    """Return what of the limit is not mine to take: the others' grants, and the safe shares of those that are silent.

    Args:
        shares: the ledger.
        me: my own name.
        silent_ns: for each other node, since when nothing was heard of it.
        doubts: nodes that may have been silent for longer than we know.
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
    """Return the ledger as this node would have it: its own entry, and those of silent nodes.

    Args:
        shares: the ledger as it stands.
        me: my own name.
        limit: of the allowance; 0 = no bound.
        want: what is asked of this node now.
        silent_ns: for each other node, since when nothing was heard of it.
        most: what it may enter the ledger with, if it does not stand there yet.
        used: what is in use, and cannot be given away.
        doubts: nodes that may have been silent for longer than we know.
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
    """Tell whether another node is starved."""
    least = _least(limit, kind)
    return any(name != me and entry.want[kind] >= entry.grant[kind] + least for name, entry in shares.nodes.items())


def worth_it(shares: Shares, move: Move, me: str, limit: Pair) -> bool:
    """Tell whether a move is worth a write: this node is new or was passed over, or it or another one is starved."""
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
            # the others must know what it would take; how much more it wants than it could get is nothing to them,
            # but that it waits at all is news even where it would get nothing: what holds it back may have passed
            unknown = min(after.want[kind], move.ideal[kind]) - max(before.want[kind], grant)
            if change >= least or unknown >= least or (waits and not waited):
                return True
        # giving is for those who starve, and so is no longer to stand among them
        if (-change >= least or (waited and not waits)) and waiting(shares, me, kind, limit):
            return True
    return False


def _least(limit: Pair, kind: int) -> int:
    """Return the smallest move that is worth a write."""
    return max(int(WORTH * limit[kind]), 1)


def _taken(entry: Entry) -> Entry:
    """Return the entry of a node whose grant others have taken: it has to ask again."""
    return entry if entry.taken else Entry((0, 0), entry.want, entry.safe, taken=True)
