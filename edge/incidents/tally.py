"""Counters of all targets and routes at one moment, and what an incident cost between two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.incidents.minutes import NOT_FAULTS
from edge.native import Outcome, RouteCounter, TargetCounter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from edge.incidents.incident import Impact
    from edge.native import RouteView, TargetView
    from edge.terms.snapshot import Snapshot

_SHED: Final = (RouteCounter.R_SHED_HIGH, RouteCounter.R_SHED_NORMAL, RouteCounter.R_SHED_LOW)
_ENDED: Final = (
    RouteCounter.R_2XX,
    RouteCounter.R_3XX,
    RouteCounter.R_4XX,
    RouteCounter.R_5XX,
    RouteCounter.R_CANCELLED,
    RouteCounter.R_BROKEN,
)
_PER_TOKEN: Final = 1e-6  # prices are per million tokens
_FAULTS: Final = tuple(each for each in Outcome if each is not Outcome.OK and each.name.lower() not in NOT_FAULTS)


class TargetTally(Struct, frozen=True):
    """Counters of one target, and its prices in US dollars per million tokens."""

    counts: tuple[int, ...]
    price_input: float
    price_output: float


class RouteTally(Struct, frozen=True):
    """Counters of one route, and the targets that may answer it."""

    counts: tuple[int, ...]
    members: tuple[str, ...]
    answered: tuple[int, ...] = ()  # by each member; (): not known


class Tally(Struct, frozen=True):
    """All counters of the node at one moment."""

    targets: dict[str, TargetTally]
    routes: dict[str, RouteTally]

    def routes_of(self, targets: Collection[str]) -> list[str]:
        """Return the aliases and services that use any of these targets."""
        return [name for name, route in self.routes.items() if not set(targets).isdisjoint(route.members)]


def take(snapshot: Snapshot, read_target: Callable[[int], TargetView], read_route: Callable[[int], RouteView]) -> Tally:
    """Read all counters. Routes that only name a target directly are left out, unless the target has no other."""
    own = {target.id for target in snapshot.targets}
    named = {
        snapshot.targets[member.target].id
        for route in snapshot.told_routes
        if route.name not in own
        for member in route.members
    }
    return Tally(
        {
            target.id: TargetTally(
                read_target(target.slot)["counts"],
                0.0 if target.price is None else target.price.input,
                0.0 if target.price is None else target.price.output,
            )
            for target in snapshot.targets
        },
        {
            route.name: _of_route(read_route(route.slot), [snapshot.targets[each.target].id for each in route.members])
            for route in snapshot.told_routes
            if route.name not in own or route.name not in named
        },
    )


def _of_route(view: RouteView, members: list[str]) -> RouteTally:
    return RouteTally(view["counts"], tuple(members), view["answered"][: len(members)])


def add_impact(impact: Impact, before: Tally, now: Tally, targets: Collection[str]) -> None:
    """Add to an impact what happened between two moments on the routes that use these targets."""
    routes = now.routes_of(targets)
    for name in routes:
        grown = _growth(before.routes.get(name), now.routes[name])
        impact.requests += sum(grown(counter) for counter in _ENDED)
        impact.failed += grown(RouteCounter.R_5XX) + grown(RouteCounter.R_BROKEN)
        impact.degraded += grown(RouteCounter.R_SPILLED)
        impact.shed += sum(grown(counter) for counter in _SHED)
    ill = [now.targets[name] for name in targets if name in now.targets]
    for name in targets:
        if name in now.targets:
            grown = _growth(before.targets.get(name), now.targets[name])
            impact.delayed += grown(TargetCounter.T_RETRIED)
            for outcome in _FAULTS:
                if grown(outcome):
                    reason = outcome.name.lower()
                    impact.attempts_failed[reason] = impact.attempts_failed.get(reason, 0) + grown(outcome)
    for name in dict.fromkeys(member for route in routes for member in now.routes[route].members):
        if name in targets or name not in now.targets:
            continue
        grown = _growth(before.targets.get(name), now.targets[name])
        answers = [_answers(name, before.routes.get(route), now.routes[route]) for route in routes]
        count = grown(Outcome.OK) if None in answers else sum(each or 0 for each in answers)
        if count:
            impact.answered_by[name] = impact.answered_by.get(name, 0) + count
        if ill and count:
            # Tokens and money are counted for each target as a whole: its part is that of its answers.
            part = min(count / max(grown(Outcome.OK), 1), 1.0)
            prompt, output = grown(TargetCounter.T_PROMPT_TOKENS), grown(TargetCounter.T_OUTPUT_TOKENS)
            instead = (prompt * ill[0].price_input + output * ill[0].price_output) * _PER_TOKEN
            impact.extra_usd += part * (grown(TargetCounter.T_COST_NANO) / 1e9 - instead)


def _answers(target: str, before: RouteTally | None, now: RouteTally) -> int | None:
    """Return how often a target answered a route between two moments; None: that is not known."""
    if before is None or before.members != now.members or not now.answered:
        return None
    places = [place for place, name in enumerate(now.members) if name == target]
    pairs = [(before.answered[place], now.answered[place]) for place in places]
    return sum(after - then if after >= then else after for then, after in pairs)


def _growth(before: TargetTally | RouteTally | None, now: TargetTally | RouteTally) -> Callable[[int], int]:
    """Return a function from a counter to its growth; a record that began again counts from zero."""

    def grown(counter: int) -> int:
        past = before.counts[counter] if before is not None else now.counts[counter]
        return now.counts[counter] - past if now.counts[counter] >= past else now.counts[counter]

    return grown
