"""The documents that a node publishes in the store for the others.

    nodes/REGION/NODE    a Digest, under a lease; written on change, at most once a second, and every five seconds
    manual/TARGET        a ManualOverride: what an operator did to a target in all regions
    regional/REGION/TARGET   the same in one region
    weight/REGION/TARGET     a SharedWeight: the weight of a target there; REGION is * for all regions
    shares/KIND/NAME     how much of a shared allowance each node may grant (edge.regions.shares)
    history/REGION/NODE  its last minutes, for the histories of the others (edge.incidents.told_minutes)
    issued/REGION/NODE/PLACE    who issued which ids through it, and for which keys (edge.regions.id_ring)
    spent/REGION/NODE    what a node has spent this month of shared budgets; kept permanently (edge.regions.budgets)

Times in a digest are durations as of the writing, so that clocks of different hosts are never compared. A digest omits
targets that have nothing to report: those that are usable, idle and not rate-limited.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta, Struct

from edge.config.schema_peers import MOST_ADVERTISED
from edge.terms.target_state import HALF_OPEN, MANUAL, OPEN, QUARANTINED, USABLE, Label

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION: Final = 1
"""Version of the document. A reader skips documents of another version, logs that, and decides by the others."""

CAPABILITY: Final = "capability"
"""The kind of an entry that is about a capability of a target."""

NODES: Final = "nodes/"
OVERRIDES: Final = "manual/"
REGIONAL: Final = "regional/"
WEIGHTS: Final = "weight/"
EVERYWHERE: Final = "*"
"""In place of a region's name: all regions."""
HIGHEST_WEIGHT: Final = 1000.0
"""As in the configuration; test_weighing.py compares them."""
SHARES: Final = "shares/"
SPENT: Final = "spent/"

HEARTBEAT_NS: Final = 5_000_000_000
WRITE_APART_NS: Final = 1_000_000_000
FRESH_NS: Final = 3 * HEARTBEAT_NS
LEASE_S: Final = 15.0

# Limits of one document. A document that exceeds them, or has unprintable text, is not read: neither a mistake of one
# node nor its malice may cost the others memory or time, and its texts are printed on terminals.
MOST_TARGETS: Final = 2_000
LONGEST_REASON: Final = 500
_Count = Annotated[int, Meta(ge=0, le=2**53)]
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What decoding raises for a value that is not the document: wrong JSON, text that is not UTF-8, or deep nesting."""
_LONGEST: Final = 256
_Text = Annotated[str, Meta(max_length=_LONGEST)]
_Moment = Annotated[float, Meta(ge=0, lt=253_402_300_800)]
"""Unix time of a date that can be written, up to the year 9999."""

# With fewer completed attempts a failure ratio says nothing; Envoy's minimum request volume has the same magnitude.
MIN_VOLUME: Final = 5
BAD_RATIO: Final = 0.5


class TargetDigest(Struct, frozen=True, array_like=True):
    """One target as one node sees it; counts are of the last ten seconds. Encoded as a JSON array in this order.

    A capability of a target is told like a target, under the id of ``edge.terms.capabilities.part_of``.
    """

    id: _Text
    kind: _Text  # "model", "service" or CAPABILITY
    state: Label
    total: _Count
    failed: _Count
    slow: _Count
    p95_ms: _Count  # to the first token or byte, of successes; 0: no data
    inflight: _Count
    headroom: Annotated[int, Meta(ge=-1, le=2**53)]  # requests that it can take besides those in flight; -1: unknown
    rate_limited_ms: _Count = 0  # remaining time of a rate limit that this node itself received
    consecutive: _Count = 0


class Digest(Struct, frozen=True):
    """The state of one node, as it publishes it."""

    region: _Text
    node: _Text
    instance: _Text  # of the control process that wrote it; reveals two nodes with the same name
    version: _Text  # of edge
    addresses: Annotated[tuple[_Text, ...], Meta(max_length=MOST_ADVERTISED)]  # where other edges reach it
    load: _Count  # exchanges in flight
    targets: Annotated[tuple[TargetDigest, ...], Meta(max_length=MOST_TARGETS)] = ()
    draining: bool = False
    v: int = VERSION


class ManualOverride(Struct, frozen=True):
    """What an operator did to a target in all regions; ``code`` as in the shared state (1 drain, 2 eject)."""

    code: Annotated[int, Meta(ge=1, le=2)]
    reason: Annotated[str, Meta(max_length=LONGEST_REASON)]
    since: _Moment  # for display
    by: Annotated[str, Meta(max_length=513)]  # REGION/NODE where the operator acted


class SharedWeight(Struct, frozen=True):
    """The weight of a target that an operator has set for the nodes of a region, or for all."""

    weight: Annotated[float, Meta(gt=0, le=HIGHEST_WEIGHT)]
    reason: Annotated[str, Meta(max_length=LONGEST_REASON)]
    since: _Moment  # for display
    by: Annotated[str, Meta(max_length=513)]  # REGION/NODE where the operator acted


def name_of(region: str, node: str) -> str:
    """Return the name of a node among all nodes: REGION/NODE."""
    return f"{region}/{node}"


def node_key(region: str, node: str) -> str:
    """Return the key of a node's digest."""
    return NODES + name_of(region, node)


def tellable(name: str) -> bool:
    """Return whether a document may contain a name: readers reject documents with long or unprintable names."""
    return len(name) <= _LONGEST and name.isprintable()


def encode(document: Digest | ManualOverride | SharedWeight) -> bytes:
    """Return a document as it is stored: compact JSON, so that people can read it with any client of the store."""
    return msgspec.json.encode(document)


def decode(data: bytes, name: str) -> Digest | None:
    """Return the digest, or None if it is unreadable, of another version, or of another node than ``name``."""
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
    """Return the manual override, or None if it is unreadable or has unprintable text."""
    try:
        override = msgspec.json.decode(data, type=ManualOverride)
    except UNREADABLE:
        return None
    return override if override.reason.isprintable() and override.by.isprintable() else None


def decode_weight(data: bytes) -> SharedWeight | None:
    """Return the weight, or None if it is unreadable, out of bounds or has unprintable text."""
    try:
        found = msgspec.json.decode(data, type=SharedWeight)
    except UNREADABLE:
        return None
    return found if found.reason.isprintable() and found.by.isprintable() else None


def override_key(target: str, region: str) -> str:
    """Return the key of an override in a region, or in all regions (``EVERYWHERE``)."""
    return OVERRIDES + target if region == EVERYWHERE else f"{REGIONAL}{region}/{target}"


def weight_key(target: str, region: str) -> str:
    """Return the key of a weight in a region, or in all regions (``EVERYWHERE``)."""
    return f"{WEIGHTS}{region}/{target}"


def opinion(target: TargetDigest) -> bool | None:
    """Return whether a node considers a target failing: True, False, or None if it has seen too little.

    A quarantined or rate-limited target does not count as failing for others: its state concerns this node's credential
    and allowance.
    """
    if target.state in (OPEN.label, HALF_OPEN.label):
        return True
    if target.state in (QUARANTINED.label, MANUAL.label):
        return None
    if target.total >= MIN_VOLUME and target.failed >= BAD_RATIO * target.total:
        return True
    return False if target.total > target.failed else None


def news(digest: Digest) -> tuple[object, ...]:
    """Return the part of a digest that must not wait for the next heartbeat; equal results need no extra write."""
    told: Iterable[object] = (
        (target.id, target.state, opinion(target), target.rate_limited_ms > 0)
        for target in digest.targets
        if opinion(target) is not False or target.state != USABLE.label
    )
    return (digest.addresses, digest.draining, digest.version, *sorted(told, key=repr))


class _Head(Struct, frozen=True):
    v: int
