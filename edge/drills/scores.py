"""What a drill shows: scores against floors, and the figures of three ways to ask, as plain data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from edge.drills.play import Played
    from edge.drills.results import Results

EDGE: Final = "through edge"
ONE: Final = "one provider"
LISTED: Final = "fallback list"
# An open period is at least this part of its maximum once it has grown, which takes so many trials at most.
_SHORTEST: Final = 0.6
_GROWING: Final = 8
_PAST: Final = 1e9  # seconds, later than any drill


class Score(Struct, frozen=True):
    """One figure that is held against a floor. ``met`` None: it is stated, and has no floor."""

    what: str
    value: str
    floor: str = ""
    met: bool | None = None


class Side(Struct, frozen=True):
    """One way to ask. Shares are 0 to 1, times seconds, money US dollars."""

    name: str
    requests: int
    failed: int
    availability: float
    window_requests: int
    window_failed: int
    window_availability: float
    first_s: tuple[float, float, float]  # to the first content in the window, of good answers: p50, p95, p99
    cost_usd: float
    answered: dict[str, int]  # in the window, by target
    attempts: dict[str, int]
    most: dict[str, int]  # requests at once
    refused: dict[str, int]  # for lack of room
    failures: dict[str, int]  # by reason


class Report(Struct, frozen=True):
    """A drill that was played; the same drill, configuration and seed give the same report."""

    drill: str
    title: str
    says: str
    source: str
    model: str
    seed: int
    load: str
    rate: float
    seconds: float
    window: tuple[float, float]
    scores: tuple[Score, ...]
    sides: tuple[Side, ...]
    capacities: dict[str, int]
    notes: tuple[str, ...]

    @property
    def met(self) -> bool:
        """Whether every floor holds."""
        return all(score.met is not False for score in self.scores)


def report(played: Played) -> Report:
    """Return the report of a drill."""
    script = played.script
    return Report(
        drill=script.name,
        title=script.title,
        says=script.says,
        source=played.stage.source,
        model=played.stage.route,
        seed=played.seed,
        load=played.kind,
        rate=played.rate,
        seconds=script.seconds,
        window=script.window,
        scores=tuple(_scores(played)),
        sides=tuple(
            _side(name, results, script.window)
            for name, results in ((EDGE, played.edge), (ONE, played.one), (LISTED, played.listed))
        ),
        capacities=played.capacities,
        notes=tuple(_notes(played)),
    )


def _side(name: str, results: Results, window: tuple[float, float]) -> Side:
    whole, within = results.span(0, _PAST), results.span(*window)
    return Side(
        name=name,
        requests=whole.requests,
        failed=whole.failed,
        availability=whole.availability,
        window_requests=within.requests,
        window_failed=within.failed,
        window_availability=within.availability,
        first_s=(within.first(0.5), within.first(0.95), within.first(0.99)),
        cost_usd=round(results.cost_usd, 4),
        answered=dict(sorted(within.answered.items())),
        attempts=dict(results.attempts),
        most=dict(results.most),
        refused=dict(results.refused),
        failures=dict(results.statuses.most_common()),
    )


def percent(share: float) -> str:
    """Return a share in per cent, without rounding a loss away."""
    shown = f"{share:.3%}"
    return f"below {shown}" if shown == "100.000%" and share < 1 else shown


def _scores(played: Played) -> list[Score]:
    script = played.script
    edge, one, listed = (results.span(*script.window) for results in (played.edge, played.one, played.listed))
    found = [
        Score(
            "availability in the window",
            percent(edge.availability),
            f"at least {percent(script.floor)}",
            edge.availability >= script.floor,
        ),
        Score("... at one provider alone", percent(one.availability)),
        Score("... with a fallback list, no circuit breaker", percent(listed.availability)),
    ]
    backups = [place.target.id for place in played.stage.places if place.role != "primary"]
    over = sum(played.edge.refused[name] for name in backups)
    asked = sum(played.edge.attempts[name] for name in backups)
    if asked:
        bounded = all(place.target.max_inflight for place in played.stage.places if place.role == "backup")
        floor = "none" if bounded else "at most a tenth: no max_inflight is written, so edge learns it"
        met = over == 0 if bounded else over <= asked / 10
        found.append(Score("requests to backups beyond their capacity", f"{over:,} of {asked:,}", floor, met))
        listed_over = sum(count for name, count in played.listed.refused.items() if name in backups)
        found.append(Score("... with a fallback list", f"{listed_over:,}"))
    before = played.edge.span(0, script.window[0])
    found.append(
        Score("median first token, before and in the window", f"{before.first(0.5):.2f} s, {_s(edge.first(0.5))}")
    )
    found.append(Score("... with a fallback list, in the window", _s(listed.first(0.5))))
    found += _money(played)
    found += _pictures(played)
    found += _theft(played)
    found += _shared(played)
    return found


def _s(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds else "no good answer"


def _money(played: Played) -> list[Score]:
    alone = played.usual_usd
    if not alone:
        return []
    spent = played.edge.cost_usd
    more = f"{spent:,.2f} USD, {spent / alone:.1f} times the {alone:,.2f} USD of the preferred target for all of it"
    return [Score("money for the whole drill", more)]


def _pictures(played: Played) -> list[Score]:
    blind = played.script.blind
    if blind is None:
        return []
    asked, answered = played.edge.images["asked blind"], played.edge.images["answered blind"]
    by_primary = played.edge.images["answered by the first blind"]
    share = answered / asked if asked else 1.0
    listed = played.listed.images["answered blind"] / (played.listed.images["asked blind"] or 1)
    return [
        Score(
            "pictures understood after the provider calls itself recovered",
            f"{percent(share)}, {by_primary} of {answered:,} by the preferred provider",
            "100%, none by the preferred provider",
            share == 1 and by_primary == 0,
        ),
        Score("... with a fallback list", percent(listed)),
        _declined(played, asked),
    ]


def _declined(played: Played, asked: int) -> Score:
    """Hold the pictures that the preferred provider was offered first against the trials that its circuit allows."""
    declined, blind = played.edge.images["declined blind"], played.script.blind or (0.0, 0.0)
    route = next(route for route in played.stage.snapshot.routes if route.name == played.stage.route)
    # The second picture opens the circuit of vision. Then a trial follows each open period, which grows to its maximum.
    most = 2 + math.ceil((blind[1] - blind[0]) / (route.breaker.open_duration_max_ns / 1e9 * _SHORTEST)) + _GROWING
    value = f"{declined:,} of {asked:,}"
    return Score("... declined there first", value, f"at most {most:,}: two, and the trials", declined <= most)


def _theft(played: Played) -> list[Score]:
    leak = played.script.leak
    thief = played.thief.span(0, _PAST)
    if leak is None or not thief.requests:
        return []
    name = played.stage.callers[-1]
    key = next(key for key in played.stage.snapshot.keys if key.name == name)
    passed = thief.requests - thief.failed
    found = [Score(f"requests with the stolen key {name}", f"{thief.requests:,}, of which {passed:,} were answered")]
    limit = key.allowance.requests_per_minute if key.allowance is not None else 0
    if limit:
        most = int(limit * ((leak[1] - leak[0]) / 60) + (key.allowance.requests_burst if key.allowance else 0))
        found.append(Score("... answered", f"{passed:,}", f"at most {most:,}, its requests_per_minute", passed <= most))
    if key.budget_nano:
        budget, spent = key.budget_nano / 1e9, played.spent_usd[name]
        worst = budget * 1.01
        found.append(Score("... spent", f"{spent:,.2f} USD", f"at most {budget:,.2f} USD, its budget", spent <= worst))
    return found


def _shared(played: Played) -> list[Score]:
    lost, seen = played.script.store_lost, played.neighbours
    if lost is None or seen is None:
        return []
    heard = [word.at_s for word in seen.words if word.threshold]
    during = [at for at in heard if lost[0] <= at < lost[1]]
    before, after = (sum(word_at < lost[0] for word_at in heard), sum(word_at >= lost[1] for word_at in heard))
    found = [
        Score(
            "other regions' words about the preferred target: before, while the store is lost, after",
            f"{before}, {len(during)}, {after}",
            "none while it is lost, and some before and after",
            not during and before > 0 and after > 0,
        )
    ]
    for name, limit in seen.limits.items():
        held = [seen.shares[when][name] for when in ("before", "during", "after")]
        shown = ", ".join(f"{share[0]:,.0f}" for share in held)
        most = limit * (1 + 1 / len(held[0]))
        found.append(
            Score(
                f"requests a minute that this node grants of {name} ({limit:,.0f}): before, while it is lost, after",
                shown,
                "all nodes together at most the limit and one share",
                all(sum(share) <= most for share in held),
            )
        )
    return found


def _notes(played: Played) -> list[str]:
    found = []
    script, stage = played.script, played.stage
    if script.blind is not None:
        found.append(
            "Texts return to the recovered provider, and pictures do not: the circuit of its capability vision is open."
            " Trials of it are requests with pictures, which are answered elsewhere after they were declined."
        )
    roles = {place.role for place in stage.places}
    if "backup" not in roles:
        found.append(
            f"The model {stage.route} has no target of another provider: write one in models.{stage.route}.targets."
        )
    if script.name == "egress" and "region" not in roles:
        found.append(
            "No other region's edge is configured, so nothing is left when this region has no way out: write peers."
        )
    if script.leak is not None and not played.thief.span(0, _PAST).requests:
        found.append(
            "The configuration has fewer than two keys for this model, so that there is none to steal: write keys."
        )
    lost = played.edge.span(0, _PAST).failed
    if lost:
        reasons = ", ".join(f"{name} ({count:,})" for name, count in played.edge.statuses.most_common(4))
        found.append(f"Failed through edge in the whole drill: {lost:,}, by status and error code {reasons}.")
    own = {name: count for name, count in played.edge.statuses.items() if name.startswith("429 ")}
    if own:
        reasons = ", ".join(f"{count:,} by {name.removeprefix('429 ')}" for name, count in own.items())
        found.append(f"Some requests were refused by their callers' own limits, not for want of a target: {reasons}.")
    return found
