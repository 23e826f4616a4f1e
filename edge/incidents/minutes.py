"""Traffic per minute: counters of the shared state, minute by minute, for each target, each route and each capability.

A series is what is counted together: the requests to a provider's model in a region, or for an alias, whose most
special need is one capability. Each request counts in one series, so that series add up. A minute without traffic and
without an outage has no row, and a capability that nobody has asked for has none at all. Percentiles are taken from
histograms, and hold to one bucket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct, structs

from edge.native import HIST_BOUNDS_S, Outcome, RouteCounter
from edge.terms.capabilities import NAMES, split
from edge.terms.target_state import HALF_OPEN, OPEN, QUARANTINED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from edge.native import UseView
    from edge.terms.snapshot import Snapshot

MINUTE_S: Final = 60
NOT_FAULTS: Final = frozenset({"client_fault", "cancelled", "4xx"})
"""Reasons that are the caller's own doing. They are recorded, and no availability is lowered by them."""
MOST_COUNT: Final = 2**53
"""What a number of a minute can be: JSON's readers know no greater integer exactly, and SQLite and msgpack hold it."""
MOST_REASONS: Final = 64
CLOSED_TO_TRAFFIC: Final = frozenset({OPEN.label, HALF_OPEN.label, QUARANTINED.label})
"""States of a target that count as an outage of it."""
MOST_GAP_S: Final = 5.0  # a longer pause between two looks says nothing about the state in between

_ENDS: Final[dict[int, str]] = {
    RouteCounter.R_2XX: "",
    RouteCounter.R_3XX: "",
    RouteCounter.R_4XX: "4xx",
    RouteCounter.R_5XX: "5xx",
    RouteCounter.R_CANCELLED: "cancelled",
    RouteCounter.R_BROKEN: "broken",
}
_ATTEMPT_ENDS: Final[dict[int, str]] = {
    outcome: "" if outcome is Outcome.OK else outcome.name.lower() for outcome in Outcome
}

Kind = Literal["target", "route"]
Sparse = dict[int, int]
"""A histogram: the counts of the buckets that are not empty, by index in the bounds of the shared state."""


class Series(Struct, frozen=True):
    """What is counted together. ``target``: a provider's model; ``route``: an alias, as callers saw it."""

    kind: Kind
    provider: str  # "" for a route
    model: str  # upstream model, or the alias; for a service's target its address
    region: str
    capability: str = ""  # of edge.terms.capabilities; "": of a service, of no capability, or not told apart


class Minute(Struct, frozen=True, array_like=True):
    """What happened to a series in one minute. ``at`` is the minute since the epoch, money in 1e-9 US dollars."""

    at: int
    requests: int  # attempts, or requests of a route, that ended
    failures: dict[str, int]  # by reason; those of NOT_FAULTS too
    first: Sparse  # time to the first token, successes only
    total: Sparse
    prompt: int
    output: int
    cost_nano: int
    open_s: float  # seconds in which the target was out of rotation because it failed

    @property
    def faults(self) -> int:
        """The number of requests that failed through no fault of their callers."""
        return sum(count for reason, count in self.failures.items() if reason not in NOT_FAULTS)


Row = tuple[Series, Minute]


class _Counts(Struct, frozen=True):
    """Counters of a series since the node was started."""

    ended: int
    failures: dict[str, int]
    first: tuple[int, ...]
    total: tuple[int, ...]
    prompt: int
    output: int
    cost_nano: int


_NOTHING: Final = _Counts(0, {}, (), (), 0, 0, 0)


class MinuteBook:
    """Cuts the growing counters of the shared state into minutes.

    Args:
        read_target: reads the counters of a target's slot, by capability.
        read_route: reads those of a route's slot.
    """

    def __init__(
        self, read_target: Callable[[int], dict[int, UseView]], read_route: Callable[[int], dict[int, UseView]]
    ) -> None:
        self._read_target = read_target
        self._read_route = read_route
        self._before: dict[Series, dict[str, _Counts]] = {}  # by series without a capability
        self._open_s: dict[Series, dict[str, float]] = {}  # likewise, and by capability; "": the target as a whole
        self._minute: int | None = None
        self._looked: float | None = None

    def look(self, snapshot: Snapshot, states: Mapping[str, str], wall: float) -> list[Row]:
        """Note which targets are out of rotation; at the end of a minute, return its rows. Called once a second.

        Args:
            snapshot: names the series.
            states: label of the state of each target that a route uses, and of its capabilities by ``part_of``.
            wall: Unix time.
        """
        minute = int(wall // MINUTE_S)
        rows: list[Row] = []
        if self._minute is None:
            self._cut(snapshot, minute)  # what was counted before this control process began is not of this minute
        elif minute != self._minute:
            rows = self._cut(snapshot, self._minute)
        self._minute = minute
        since_s = min(max(wall - self._looked, 0.0), MOST_GAP_S) if self._looked is not None else 0.0
        self._looked = wall
        closed = [split(name) for name, state in states.items() if state in CLOSED_TO_TRAFFIC]
        targets = {target.id: target for target in snapshot.targets} if closed else {}
        wholes = {name for name, capability in closed if capability < 0}
        for name, capability in closed:
            target = targets.get(name)
            if target is not None and (capability < 0 or name not in wholes):
                whole = _of_target(snapshot, target.kind, target.provider, target.model, target.id)
                open_s = self._open_s.setdefault(whole, {})
                part = NAMES[capability] if capability >= 0 else ""
                open_s[part] = min(open_s.get(part, 0.0) + since_s, float(MINUTE_S))
        return rows

    def rest(self, snapshot: Snapshot) -> list[Row]:
        """Return the rows of the minute that has begun, because the node stops."""
        return [] if self._minute is None else self._cut(snapshot, self._minute)

    def _cut(self, snapshot: Snapshot, minute: int) -> list[Row]:
        now = dict(self._read(snapshot))
        rows = []
        for whole, uses in now.items():
            before = self._before.get(whole)
            open_s = self._open_s.get(whole, {})
            # An outage of the target is one of all that it has been asked for.
            for capability in sorted(uses.keys() | (open_s.keys() - {""})) or ("",):
                counts = uses.get(capability, _NOTHING)
                earlier = counts if before is None else before.get(capability, _NOTHING)
                out_s = open_s.get("", 0.0) + (open_s.get(capability, 0.0) if capability else 0.0)
                found = _minute(minute, earlier, counts, min(out_s, float(MINUTE_S)))
                if found is not None:
                    rows.append((structs.replace(whole, capability=capability), found))
        self._before, self._open_s = now, {}
        return rows

    def _read(self, snapshot: Snapshot) -> Iterable[tuple[Series, dict[str, _Counts]]]:
        for target in snapshot.told_targets:
            if target.kind != "region":
                series = _of_target(snapshot, target.kind, target.provider, target.model, target.id)
                yield series, _by_capability(self._read_target(target.slot), _ATTEMPT_ENDS)
        own = {target.id for target in snapshot.targets}
        for route in snapshot.told_routes:
            if route.name not in own and not route.name.endswith("/*"):
                series = Series("route", "", route.name, snapshot.region)
                yield series, _by_capability(self._read_route(route.slot), _ENDS)


def quantile_s(histogram: Sparse, share: float) -> float | None:
    """Return the upper bound in seconds of the bucket that holds a quantile; None without data.

    What exceeds the last bound is given as twice that bound.
    """
    total, below = sum(histogram.values()), 0
    for place in sorted(histogram):
        below += histogram[place]
        if below >= share * total:
            return HIST_BOUNDS_S[place] if place < len(HIST_BOUNDS_S) else 2 * HIST_BOUNDS_S[-1]
    return None


def added(histograms: Iterable[Sparse]) -> Sparse:
    """Return the sum of histograms; no count exceeds MOST_COUNT."""
    total: Sparse = {}
    for histogram in histograms:
        for place, count in histogram.items():
            total[place] = min(total.get(place, 0) + count, MOST_COUNT)
    return total


def joined(one: Minute, other: Minute) -> Minute:
    """Return two parts of the same minute as one: the clock was set back, or control was started again in it.

    What other nodes tell is not trusted: no count exceeds MOST_COUNT, and of reasons there are MOST_REASONS at most.
    """
    reasons = [*one.failures, *(reason for reason in other.failures if reason not in one.failures)][:MOST_REASONS]
    return Minute(
        one.at,
        _sum(one.requests, other.requests),
        {reason: _sum(one.failures.get(reason, 0), other.failures.get(reason, 0)) for reason in sorted(reasons)},
        added((one.first, other.first)),
        added((one.total, other.total)),
        _sum(one.prompt, other.prompt),
        _sum(one.output, other.output),
        _sum(one.cost_nano, other.cost_nano),
        min(one.open_s + other.open_s, float(MINUTE_S)),
    )


def _sum(one: int, other: int) -> int:
    return min(one + other, MOST_COUNT)


def _of_target(snapshot: Snapshot, kind: str, provider: str, model: str, name: str) -> Series:
    if kind == "model":
        return Series("target", provider, model or "*", snapshot.region)
    return Series("target", provider, name.partition("/")[2] or name, snapshot.region)


def _by_capability(uses: dict[int, UseView], ends: Mapping[int, str]) -> dict[str, _Counts]:
    """Return counters by the name of the capability; ``ends`` has the reason of each end, "" for a good one."""
    return {
        NAMES[use] if use < len(NAMES) else "": _Counts(
            sum(view["counts"][end] for end in ends),
            {reason: view["counts"][end] for end, reason in ends.items() if reason and view["counts"][end]},
            view["first_hist"],
            view["total_hist"],
            view["prompt_tokens"],
            view["output_tokens"],
            view["cost_nano"],
        )
        for use, view in uses.items()
    }


def _minute(at: int, before: _Counts, now: _Counts, open_s: float) -> Minute | None:
    """Return what was counted between two readings; None: nothing, and the target was in rotation."""
    if now.ended < before.ended:  # a new record under an old name
        before = _NOTHING
    found = Minute(
        at,
        now.ended - before.ended,
        {
            reason: count - before.failures.get(reason, 0)
            for reason, count in now.failures.items()
            if count > before.failures.get(reason, 0)
        },
        _grown(before.first, now.first),
        _grown(before.total, now.total),
        max(now.prompt - before.prompt, 0),
        max(now.output - before.output, 0),
        max(now.cost_nano - before.cost_nano, 0),
        round(open_s, 1),
    )
    return found if found.requests or found.cost_nano or found.open_s else None


def _grown(before: Sequence[int], now: Sequence[int]) -> Sparse:
    padded = [*before, *([0] * (len(now) - len(before)))]
    return {place: count - padded[place] for place, count in enumerate(now) if count > padded[place]}
