"""What do the others' troubles mean here?  Pure: a picture of every region and our own view become weights and fuses.

1. Local evidence opens circuits, remote evidence never does. It lowers the share of traffic that a target takes where
   another could (``weight``), and the number of failures in a row that open it here (``fuse``).
2. Hearsay: one other region, or another node of ours, finds it bad. A fuse of two, nothing else: a success in between
   starts the count over, so that a target that works here is not lost by it.
3. A verdict: the majority of the fresh regions that have an opinion, and at least two, find it bad. A fuse of one and
   a weight of what part of them disagrees, a tenth at least.
4. This node outranks them in both directions: where it has recent successes, a verdict is no more than hearsay; where
   its circuit is open, nobody's health closes it.
5. A region where most providers look bad at once is left out, ours too: it doubts itself before its providers. Other
   nodes of our own region are still heard: we share its way out.
6. Another region that doubts itself has little to answer with: its edges are asked where no other region's can be.
7. With fewer than two fresh regions there is no verdict. Nothing here ever removes a target.

Sources: k of n, suspect observers (Route 53, Kubernetes' zones, Eureka): see docs/regions.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.regions.digest import opinion

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from edge.regions.digest import TargetDigest
    from edge.regions.view import Heard, RegionPicture

QUORUM: Final = 2
LEAST_WEIGHT: Final = 0.1
FUSE_HEARSAY: Final = 2
FUSE_VERDICT: Final = 1
# What makes a target work here: as many successes in the last ten seconds, hardly a failure, and none the last.
WORKS_SUCCESSES: Final = 3
WORKS_RATIO: Final = 0.2
# As far as a provider's own Retry-After is believed: no other region may silence a target for longer.
LONGEST_REST_MS: Final = 300_000


class Verdict(Struct, frozen=True):
    """What to make of a target here: ``fuse`` 0 is that of its route. ``why`` names the regions."""

    weight: float
    fuse: int
    why: str


def judge(
    own: str,
    here: Mapping[str, TargetDigest],
    pictures: Mapping[str, RegionPicture],
    neighbours: Iterable[Heard],
) -> dict[str, Verdict]:
    """Return a verdict per target that others find bad.

    Args:
        own: our region.
        here: what this node itself would tell, by target.
        pictures: every region, ours (with this node) among them.
        neighbours: the other nodes of our region.
    """
    heard = {name: picture for name, picture in pictures.items() if picture.fresh and not picture.suspect}
    beside: set[str] = set()
    for each in neighbours:
        if each.fresh and each.proven:
            beside.update(target.id for target in each.digest.targets if opinion(target))
    elsewhere = {
        name
        for region, picture in heard.items()
        if region != own
        for name, target in picture.targets.items()
        if target.bad
    }
    found = {}
    for name in sorted(elsewhere | beside):
        said = {region: picture.targets[name].bad for region, picture in heard.items() if name in picture.targets}
        verdict = _verdict(said, beside=name in beside, works=_works(here.get(name)))
        if verdict is not None:
            found[name] = verdict
    return found


def elsewhere(edges: Mapping[str, str], pictures: Mapping[str, RegionPicture]) -> dict[str, Verdict]:
    """Return a verdict per edge of another region that is better not asked while there is a choice.

    Args:
        edges: the region of each target that is such an edge, by the target's id.
        pictures: every region.
    """
    found = {}
    for name, region in edges.items():
        picture = pictures.get(region)
        if picture is not None and picture.fresh and picture.suspect:
            found[name] = Verdict(LEAST_WEIGHT, 0, f"most providers look bad from {region}")
    return found


def rests(others: Iterable[Heard], shared: Collection[str]) -> dict[str, int]:
    """Return how long (ms, from now) targets should rest because another node was told so: the longest of them.

    Args:
        others: every other node, those of our own region among them: a credential of all is theirs as well.
        shared: the targets whose credential is the same everywhere (``scope: global``); a 429 says nothing of others.
    """
    found: dict[str, int] = {}
    for each in others:
        if not (each.fresh and each.proven):
            continue
        for target in each.digest.targets:
            left_ms = min(target.rest_ms - each.age_ns // 1_000_000, LONGEST_REST_MS)
            if left_ms > found.get(target.id, 0) and target.id in shared:
                found[target.id] = left_ms
    return found


def _verdict(said: Mapping[str, bool | None], *, beside: bool, works: bool) -> Verdict | None:
    bad = sorted(region for region, opinion_ in said.items() if opinion_ is True)
    asked = sum(opinion_ is not None for opinion_ in said.values())
    if len(bad) >= max(QUORUM, asked // 2 + 1) and not works:
        weight = max(LEAST_WEIGHT, round(1 - len(bad) / asked, 3))
        return Verdict(weight, FUSE_VERDICT, f"found bad by {', '.join(bad)}")
    if bad or beside:
        return Verdict(1.0, FUSE_HEARSAY, f"found bad by {', '.join(bad) or 'another node of this region'}")
    return None


def _works(target: TargetDigest | None) -> bool:
    if target is None or target.state not in ("closed", "ramping") or target.consecutive:
        return False
    good = target.total - target.failed
    return good >= WORKS_SUCCESSES and target.failed <= WORKS_RATIO * target.total
