"""The view of all regions: digests, with their age by the local clock, become one picture per region.

The presence of a key proves nothing, because leases are extended when the store changes its leader; a node counts while
its digest changes. A digest may be old if it was found at the start, after an interruption longer than a digest lives,
or in a store that has gone back in time. Such a digest is shown, and its node counts from its next change on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.regions.digest import FRESH_NS, Digest, TargetDigest, opinion
from edge.terms.target_state import USABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

# A single provider that is down everywhere must not make a region suspect itself.
SUSPECT_PROVIDERS: Final = 2


class Heard(Struct, frozen=True):
    """A digest and ``age_ns``, the time since it last changed by the local clock; ``proven``: we saw it change."""

    digest: Digest
    age_ns: int
    proven: bool = True

    @property
    def fresh(self) -> bool:
        """Whether the node is considered alive."""
        return self.age_ns <= FRESH_NS


class Peer(Struct, frozen=True):
    """A node of some region, as a destination for exchanges."""

    region: str
    node: str
    addresses: tuple[str, ...]
    version: str
    load: int
    age_s: float
    fresh: bool
    suspect: bool  # its region is suspect
    draining: bool


class TargetPicture(Struct, frozen=True):
    """A target as one region sees it; numbers are of the last ten seconds, over all fresh nodes of the region."""

    state: str
    bad: bool | None  # None: too little was seen
    total: int
    error_ratio: float
    slow_ratio: float
    p95_ms: int  # 0: no data
    headroom: int  # -1: unknown
    rate_limited_ms: int  # remaining time now


class RegionPicture(Struct, frozen=True):
    """A region. ``age_s`` is the age of its youngest digest."""

    region: str
    nodes: int
    fresh_nodes: int
    age_s: float
    fresh: bool
    suspect: bool  # most of its providers look failing at once, so the cause is probably its own
    load: int
    targets: dict[str, TargetPicture]


def survey(heard: Iterable[Heard]) -> dict[str, RegionPicture]:
    """Return a picture of each region from the digests of its nodes."""
    by_region: dict[str, list[Heard]] = {}
    for each in heard:
        by_region.setdefault(each.digest.region, []).append(each)
    return {region: _picture(region, nodes) for region, nodes in sorted(by_region.items())}


def peers(heard: Iterable[Heard], pictures: dict[str, RegionPicture]) -> tuple[Peer, ...]:
    """Return every known node, ordered by region and name."""
    found = [
        Peer(
            region=each.digest.region,
            node=each.digest.node,
            addresses=each.digest.addresses,
            version=each.digest.version,
            load=each.digest.load,
            age_s=round(each.age_ns / 1e9, 3),
            fresh=each.fresh,
            suspect=pictures[each.digest.region].suspect,
            draining=each.digest.draining,
        )
        for each in heard
    ]
    return tuple(sorted(found, key=lambda peer: (peer.region, peer.node)))


def _picture(region: str, nodes: list[Heard]) -> RegionPicture:
    fresh = [each for each in nodes if each.fresh and each.proven]
    seen: dict[str, list[tuple[TargetDigest, int]]] = {}
    for each in fresh:
        for target in each.digest.targets:
            seen.setdefault(target.id, []).append((target, each.age_ns // 1_000_000))
    targets = {name: _merged(views) for name, views in sorted(seen.items())}
    kinds = {target.id: target.kind for views in seen.values() for target, _ in views}
    return RegionPicture(
        region=region,
        nodes=len(nodes),
        fresh_nodes=sum(each.fresh for each in nodes),
        age_s=round(min(each.age_ns for each in nodes) / 1e9, 3),
        fresh=bool(fresh),
        suspect=_suspect({name: picture for name, picture in targets.items() if kinds[name] == "model"}),
        load=sum(each.digest.load for each in fresh),
        targets=targets,
    )


def _merged(views: list[tuple[TargetDigest, int]]) -> TargetPicture:
    """Merge the observations of a region's nodes, weighted by volume; an open circuit has a weight of at least one."""
    total = sum(target.total for target, _ in views)
    failed = sum(target.failed for target, _ in views)
    slow = sum(target.slow for target, _ in views)
    votes = [(opinion(target), max(target.total, 1)) for target, _ in views]
    bad = sum(weight for said, weight in votes if said is True)
    good = sum(weight for said, weight in votes if said is False)
    known = [target.headroom for target, _ in views if target.headroom >= 0]
    # The state shown is that of the node with the most requests; the p95 is that of the slowest node.
    leading = max((target for target, _ in views), key=lambda target: (target.total, target.state != USABLE.label))
    return TargetPicture(
        state=leading.state,
        bad=None if not bad and not good else bad > good,
        total=total,
        error_ratio=round(failed / total, 4) if total else 0.0,
        slow_ratio=round(slow / total, 4) if total else 0.0,
        p95_ms=max(target.p95_ms for target, _ in views),
        headroom=sum(known) if known else -1,
        rate_limited_ms=max(max(target.rate_limited_ms - age_ms, 0) for target, age_ms in views),
    )


def _suspect(models: dict[str, TargetPicture]) -> bool:
    """Return whether most of the providers that were asked look failing at once (like Kubernetes' check of zones)."""
    said: dict[str, list[bool]] = {}
    for name, picture in models.items():
        if picture.bad is not None:
            said.setdefault(name.partition("/")[0], []).append(picture.bad)
    bad = sum(all(opinions) for opinions in said.values())
    return len(said) >= SUSPECT_PROVIDERS and 2 * bad > len(said)
