"""What does a node tell the others?  One small document under one key, whatever the number of its targets.

    nodes/REGION/NODE    a Digest, under a lease; written on change at most once a second, and every five seconds
    manual/TARGET        a Hand: what a person did to a target everywhere
    shares/KIND/NAME     who may grant how much of a shared allowance (edge.regions.shares)
    spent/REGION/NODE    what a node has spent this month of budgets that others share, for good (edge.regions.budgets)

Times in a digest are durations (what is left, as of the writing): no two clocks are ever compared. A target is told
when there is something to tell: one that is closed, idle and rests not is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from edge.config.schema_peers import MOST_ADVERTISED

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION: Final = 1
"""Of the document. A reader leaves out what has another one: it says so, and decides by the rest."""

NODES: Final = "nodes/"
OVERRIDES: Final = "manual/"
SHARES: Final = "shares/"
SPENT: Final = "spent/"

HEARTBEAT_NS: Final = 5_000_000_000
WRITE_APART_NS: Final = 1_000_000_000
FRESH_NS: Final = 3 * HEARTBEAT_NS
LEASE_S: Final = 15.0

State = Literal["closed", "open", "half_open", "ramping", "resting", "out", "manual"]

# What one document may say at most. Whoever writes more, or what is no line of text, is not read: one node's mistake,
# or its malice, must cost the others neither memory nor a turn of their loop, and its words stand in terminals.
MOST_TARGETS: Final = 2_000
LONGEST_REASON: Final = 500
_Count = Annotated[int, Meta(ge=0, le=2**53)]
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What a value raises that is no document: beside other JSON, text that is no UTF-8, and brackets within brackets."""
_LONGEST: Final = 256
_Text = Annotated[str, Meta(max_length=_LONGEST)]

# Below this many ended attempts a share of failures says nothing; Envoy's minimum is of this size.
MIN_VOLUME: Final = 5
BAD_RATIO: Final = 0.5


class TargetDigest(Struct, frozen=True, array_like=True):
    """One target as one node sees it; counts are of the last ten seconds. As JSON an array, in this order."""

    id: _Text
    kind: _Text  # "model" or "service"
    state: State
    total: _Count
    failed: _Count
    slow: _Count
    p95_ms: _Count  # first token or byte of successes; 0 = no data
    inflight: _Count
    headroom: Annotated[int, Meta(ge=-1, le=2**53)]  # requests that it takes beside those; -1 = nothing is known
    rest_ms: _Count = 0  # what was left of a rest that this node itself was told of
    consecutive: _Count = 0


class Digest(Struct, frozen=True):
    """What one node tells."""

    region: _Text
    node: _Text
    instance: _Text  # of the control that wrote it: two nodes of one name are found by this
    version: _Text  # of edge
    addresses: Annotated[tuple[_Text, ...], Meta(max_length=MOST_ADVERTISED)]  # where other edges reach it
    load: _Count  # exchanges in flight
    targets: Annotated[tuple[TargetDigest, ...], Meta(max_length=MOST_TARGETS)] = ()
    draining: bool = False
    v: int = VERSION


class ManualOverride(Struct, frozen=True):
    """What a person did to a target in all regions: ``code`` as on the shared state (1 drain, 2 eject)."""

    code: Annotated[int, Meta(ge=1, le=2)]
    reason: Annotated[str, Meta(max_length=LONGEST_REASON)]
    since: float  # Unix time, for people
    by: Annotated[str, Meta(max_length=513)]  # REGION/NODE where it was asked for


def name_of(region: str, node: str) -> str:
    """Return how a node is called among all."""
    return f"{region}/{node}"


def node_key(region: str, node: str) -> str:
    """Return where a node's digest stands."""
    return NODES + name_of(region, node)


def tellable(name: str) -> bool:
    """Tell whether a name may stand in a document: others read none of one that has a name too long or unprintable."""
    return len(name) <= _LONGEST and name.isprintable()


def encode(document: Digest | ManualOverride) -> bytes:
    """Return a document as it is written: compact JSON, so that any client of the store can be read by people."""
    return msgspec.json.encode(document)


def decode(data: bytes, name: str) -> Digest | None:
    """Return the digest in a value; None when it is of another version or node than ``name``, or none at all."""
    try:
        if msgspec.json.decode(data, type=_Head).v != VERSION:
            return None
        digest = msgspec.json.decode(data, type=Digest)
    except UNREADABLE:
        return None
    words = (digest.region, digest.node, digest.instance, digest.version, *digest.addresses)
    plain = all(map(str.isprintable, (*words, *(each.id for each in digest.targets))))
    return digest if plain and name_of(digest.region, digest.node) == name else None


def decode_override(data: bytes) -> ManualOverride | None:
    """Return the hand in a value; None when it is none, or says something that does not exist."""
    try:
        hand = msgspec.json.decode(data, type=ManualOverride)
    except UNREADABLE:
        return None
    return hand if hand.reason.isprintable() and hand.by.isprintable() else None


def opinion(target: TargetDigest) -> bool | None:
    """Return whether a node finds a target bad: True, False, or None where it has seen too little to say.

    A target that is out or resting is not bad for others: that is said of this node's credential and allowance.
    """
    if target.state in ("open", "half_open"):
        return True
    if target.state in ("out", "manual"):
        return None
    if target.total >= MIN_VOLUME and target.failed >= BAD_RATIO * target.total:
        return True
    return False if target.total > target.failed else None


def news(digest: Digest) -> tuple[object, ...]:
    """Return what must not wait for the next heartbeat: two digests that agree in it are no news to each other."""
    told: Iterable[object] = (
        (target.id, target.state, opinion(target), target.rest_ms > 0)
        for target in digest.targets
        if opinion(target) is not False or target.state != "closed"
    )
    return (digest.addresses, digest.draining, digest.version, *sorted(told, key=repr))


class _Head(Struct, frozen=True):
    v: int
