"""Signs of trouble: what one second's look at targets, regions, the store and budgets says is wrong.

A sign names its subject, by which signs are joined into one incident: a provider, a service, a region, the shared
store, or a caller's key. Signs decide nothing about requests; circuits and verdicts do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from edge.terms import capabilities
from edge.terms.target_state import HALF_OPEN, OPEN, QUARANTINE, QUARANTINED, RATE_LIMITED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Kind = Literal["target_down", "credential", "misconfigured", "quota", "capability", "slow", "region", "store", "budget"]

HOLD_S: Final[dict[Kind, float]] = {
    "target_down": 0.0,
    "credential": 0.0,
    "misconfigured": 0.0,
    "capability": 0.0,
    "quota": 30.0,  # a provider that asks for a pause of seconds is no incident
    "slow": 20.0,
    "region": 5.0,
    "store": 15.0,  # as long as the last view of the other regions is used
    "budget": 0.0,
}
"""How long a sign must last before it opens an incident."""

# Slower than usual by this factor, and by this much: with less, a provider is merely busy.
SLOW_FACTOR: Final = 3.0
SLOW_LEAST_MS: Final = 1000.0
_LEARNS: Final = 0.02  # of a second's average; the usual latency follows within some minutes
_LEAST_VOLUME: Final = 5
_TROUBLED: Final = 0.1  # share of failures from which a target is no longer calm


class Look(Struct, frozen=True):
    """One target at one moment, as this node sees it. ``first_ms`` None: no success lately."""

    id: str
    provider: str
    service: bool
    state: str  # label of edge.terms.target_state
    why: str
    failed: int  # of the last ten seconds
    total: int
    consecutive: int
    first_ms: float | None
    lacks: tuple[tuple[str, str], ...] = ()  # capabilities whose circuit is open or half-open, and why


class Sign(Struct, frozen=True):
    """One thing that is wrong now. ``target`` "": no target is meant; ``capability`` "": the target as a whole."""

    kind: Kind
    subject: str
    target: str
    region: str
    why: str
    capability: str = ""

    @property
    def about(self) -> str:
        """What is not there, as a timeline names it: a target, or a capability of one; "" where neither is meant."""
        return f"{self.capability} at {self.target}" if self.capability else self.target


class Usual:
    """The usual time to the first token of each target, learned while the target is healthy."""

    def __init__(self) -> None:
        self._ms: dict[str, float] = {}

    def slow(self, look: Look) -> float | None:
        """Return the usual time in ms if the target is far slower than that now; learn from it if it is not."""
        if look.first_ms is None or look.total < _LEAST_VOLUME:
            return None
        usual = self._ms.get(look.id)
        if usual is None:
            self._ms[look.id] = look.first_ms
            return None
        if look.first_ms > usual * SLOW_FACTOR and look.first_ms - usual > SLOW_LEAST_MS:
            return usual
        self._ms[look.id] = usual + _LEARNS * (look.first_ms - usual)
        return None

    def forget(self, known: Iterable[str]) -> None:
        """Forget targets that are not among these."""
        kept = set(known)
        self._ms = {name: ms for name, ms in self._ms.items() if name in kept}


def subject_of(look: Look) -> str:
    """Return what a target's trouble is joined by: its provider or its service."""
    return f"{'service' if look.service else 'provider'}:{look.provider}"


def troubled(look: Look) -> bool:
    """Return whether a target fails now, or would be asked less than usual because it failed."""
    return look.state in (OPEN.label, HALF_OPEN.label, QUARANTINED.label) or (
        look.consecutive > 0 or look.failed > _TROUBLED * look.total
    )


def of_target(look: Look, region: str, usual: Usual) -> list[Sign]:
    """Return what is wrong with a target here."""
    subject = subject_of(look)
    lacks = [Sign("capability", subject, look.id, region, why, name) for name, why in look.lacks]
    return _of_whole(look, region, subject, usual) + lacks


def _of_whole(look: Look, region: str, subject: str, usual: Usual) -> list[Sign]:
    slow_ms = usual.slow(look)
    if look.state in (OPEN.label, HALF_OPEN.label):
        return [Sign("target_down", subject, look.id, region, look.why)]
    if look.state == QUARANTINED.label:
        return [Sign(_quarantined(look.why), subject, look.id, region, look.why)]
    if look.state == RATE_LIMITED.label:
        return [Sign("quota", subject, look.id, region, look.why)]
    if slow_ms is not None and look.first_ms is not None:
        why = f"first token after {look.first_ms / 1000:.1f} s, usually {slow_ms / 1000:.1f} s"
        return [Sign("slow", subject, look.id, region, why)]
    return []


def _quarantined(why: str) -> Kind:
    if why.startswith(QUARANTINE[11].sentence):
        return "credential"
    return "misconfigured" if why.startswith(QUARANTINE[12].sentence) else "target_down"


def elsewhere(own: str, states: Mapping[str, Mapping[str, str]], subjects: Mapping[str, str]) -> list[Sign]:
    """Return what other regions find down.

    Args:
        own: the name of this region.
        states: by region, the state of each target, and of each capability of one, that it reported.
        subjects: by target id, the subject of the targets that this node knows.
    """
    found = []
    for region, targets in states.items():
        for name, state in targets.items():
            target, part = capabilities.split(name)
            if region == own or state not in (OPEN.label, HALF_OPEN.label) or target not in subjects:
                continue
            kind: Kind = "target_down" if part < 0 else "capability"
            capability = "" if part < 0 else capabilities.NAMES[part]
            why = f"{region} reports the circuit{f' of {capability}' if capability else ''} as {state}"
            found.append(Sign(kind, subjects[target], target, region, why, capability))
    return found


def of_regions(suspect: Iterable[str]) -> list[Sign]:
    """Return a sign per region from which most providers look failing at once."""
    why = "most providers look failing from this region at once: its own network is the likely cause"
    return [Sign("region", f"region:{region}", "", region, why) for region in suspect]


def of_store(view_age_s: float | None, error: str, region: str) -> Sign:
    """Return the sign that the shared store does not answer."""
    since = "it was not reached yet" if view_age_s is None else f"the view of other regions is {view_age_s:.0f} s old"
    return Sign("store", "store", "", region, f"{since}{f': {error}' if error else ''}")


def of_budgets(spent: Mapping[str, tuple[float, float]], region: str) -> list[Sign]:
    """Return a sign per key whose budget is used up; ``spent`` has (spent, budget) in US dollars by key."""
    return [
        Sign("budget", f"key:{name}", "", region, f"{used:.2f} of {budget:.2f} US dollars are spent this month")
        for name, (used, budget) in spent.items()
        if budget > 0 and used >= budget
    ]
