"""Verdicts on targets from the observations of other regions: traffic weights and failure thresholds; pure.

1. Local evidence opens circuits, remote evidence never does. Remote evidence lowers the share of traffic that a target
   gets while others can take it (``weight``), and the number of consecutive failures that open its circuit
   (``failure_threshold``).
2. Hearsay: one other region, or another node of this region, finds a target failing. The threshold becomes two and
   nothing else changes. A success resets the count, so a target that works here is not lost.
3. Verdict: a majority of the fresh regions that have an opinion, and at least two, find a target failing. The threshold
   becomes one, and the weight becomes the fraction of regions that disagree, at least a tenth.
4. This node's evidence outranks the others' in both directions: if a target has recent successes here, a verdict counts
   as hearsay only; if its circuit is open here, no other region's health closes it.
5. A region where most providers look failing at once is ignored, including this one: its own network is the likelier
   cause. Other nodes of this region are still heard, because they share its way out.
6. Another region that is suspect in this way can hardly serve: its edges are used only when no other region's can be.
7. A provider's own status page that speaks of an outage counts as hearsay, too.
8. With fewer than two fresh regions there is no verdict. Nothing here ever removes a target.

Sources: k of n, suspect observers (Route 53, Kubernetes' zones, Eureka): see docs/regions.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.regions.digest import opinion
from edge.terms.target_state import SLOW_START, USABLE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from edge.regions.digest import TargetDigest
    from edge.regions.view import Heard, RegionPicture
    from edge.terms.snapshot import Target

QUORUM: Final = 2
LEAST_WEIGHT: Final = 0.1
HEARSAY_THRESHOLD: Final = 2
VERDICT_THRESHOLD: Final = 1
# A target works here if it had this many successes in the last ten seconds, hardly any failure, and no recent one.
WORKS_SUCCESSES: Final = 3
WORKS_RATIO: Final = 0.2
# The longest Retry-After that edge accepts from a provider; no other region may stop a target for longer.
LONGEST_RATE_LIMIT_MS: Final = 300_000


class Verdict(Struct, frozen=True):
    """What remote evidence means for a target: ``failure_threshold`` 0 keeps the route's; ``why`` names the regions."""

    weight: float
    failure_threshold: int
    why: str


def judge(
    own: str,
    here: Mapping[str, TargetDigest],
    pictures: Mapping[str, RegionPicture],
    members: Iterable[Heard],
) -> dict[str, Verdict]:
    """Return a verdict for each target that others find failing.

    Args:
        own: the name of this region.
        here: what this node would publish, by target.
        pictures: all regions, including this one (with this node).
        members: the other nodes of this region.
    """
    heard = {name: picture for name, picture in pictures.items() if picture.fresh and not picture.suspect}
    beside: set[str] = set()
    for each in members:
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


def of_pages(targets: Iterable[Target], providers: Collection[str]) -> dict[str, Verdict]:
    """Return hearsay about the models of providers whose own status page speaks of an outage.

    A page lags, and may be wrong or about something else: as with hearsay, two failures in a row open the circuit, and
    nothing else changes.
    """
    why = "the provider's status page speaks of an outage"
    return {
        target.id: Verdict(1.0, HEARSAY_THRESHOLD, why)
        for target in targets
        if target.kind == "model" and target.provider in providers
    }


def elsewhere(edges: Mapping[str, str], pictures: Mapping[str, RegionPicture]) -> dict[str, Verdict]:
    """Return a verdict for each edge of a suspect region, which is to be avoided while there is a choice.

    Args:
        edges: the region of each target that is another region's edge, by target id.
        pictures: all regions.
    """
    found = {}
    for name, region in edges.items():
        picture = pictures.get(region)
        if picture is not None and picture.fresh and picture.suspect:
            found[name] = Verdict(LEAST_WEIGHT, 0, f"most providers look failing from {region}")
    return found


def rate_limits(others: Iterable[Heard], shared: Collection[str]) -> dict[str, int]:
    """Return how long (ms, from now) targets are rate-limited because other nodes were told so; the longest wins.

    Args:
        others: every other node, including those of this region, which share a global credential as well.
        shared: targets whose credential is the same everywhere (``scope: global``); another 429 means nothing here.
    """
    found: dict[str, int] = {}
    for each in others:
        if not (each.fresh and each.proven):
            continue
        for target in each.digest.targets:
            left_ms = min(target.rate_limited_ms - each.age_ns // 1_000_000, LONGEST_RATE_LIMIT_MS)
            if left_ms > found.get(target.id, 0) and target.id in shared:
                found[target.id] = left_ms
    return found


def _verdict(said: Mapping[str, bool | None], *, beside: bool, works: bool) -> Verdict | None:
    bad = sorted(region for region, opinion_ in said.items() if opinion_ is True)
    asked = sum(opinion_ is not None for opinion_ in said.values())
    if len(bad) >= max(QUORUM, asked // 2 + 1) and not works:
        weight = max(LEAST_WEIGHT, round(1 - len(bad) / asked, 3))
        return Verdict(weight, VERDICT_THRESHOLD, f"found failing by {', '.join(bad)}")
    if bad or beside:
        return Verdict(1.0, HEARSAY_THRESHOLD, f"found failing by {', '.join(bad) or 'another node of this region'}")
    return None


def _works(target: TargetDigest | None) -> bool:
    if target is None or target.state not in (USABLE.label, SLOW_START.label) or target.consecutive:
        return False
    good = target.total - target.failed
    return good >= WORKS_SUCCESSES and target.failed <= WORKS_RATIO * target.total
