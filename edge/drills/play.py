"""Plays one script on a stage: through edge, at one provider alone, and with a fallback list; then scores the three."""

from __future__ import annotations

import heapq
import math
from random import Random
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.drills import load
from edge.drills.alone import TIMEOUT_S, Alone
from edge.drills.neighbours import Neighbours
from edge.drills.rehearsal import Rehearsal
from edge.drills.stage import secret_of
from edge.drills.upstream import Pace, Upstream
from edge.errors import DrillError
from edge.native import Price

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from edge.drills.load import Kind, Mix, Request
    from edge.drills.rehearsal import Sample
    from edge.drills.results import Results
    from edge.drills.scripts import Script
    from edge.drills.stage import Place, Stage

PATIENCE_S: Final = 120.0
"""How long every client waits for its answer, with edge and without it."""
# The busiest moments need more places than the mean, which Little's law gives.
_PEAK: Final = 2.5
# What targets take at once, in parts of the busiest need, where the configuration has no max_inflight.
_ROOM: Final = {"primary": 8.0, "backup": 2.0, "region": 3.0}
# The first of several backups is too small for everything: others use it already.
_FIRST_BACKUP: Final = 0.3
MOST_REQUESTS: Final = 1_000_000
"""Of one drill; all of them are held in memory."""
THEFT: Final = 20
THIEF_FROM: Final = 10_000_000
"""The requests of a thief, in times of the usual traffic; they are numbered from ``THIEF_FROM`` on."""


class Played(Struct):
    """What came of a script. ``thief`` counts a thief's requests, which no other side has."""

    script: Script
    stage: Stage
    seed: int
    kind: Kind
    rate: float  # requests a second, in the mean
    edge: Results
    one: Results
    listed: Results
    thief: Results
    capacities: dict[str, int]
    samples: list[Sample]
    spent_usd: dict[str, float]  # by caller
    neighbours: Neighbours | None  # what was shared, where the store is lost
    usual_usd: float  # what all requests would cost at the preferred target


def mix_of(kind: Kind, rate: float | None) -> Mix:
    """Return a kind of traffic at another rate; None: as it was measured."""
    mix = load.MIXES[kind]
    return mix if rate is None else load.Mix(rate, mix.gap_cv, mix.lowest, mix.highest, mix.prompt, mix.answer)


def room_for(places: tuple[Place, ...], mix: Mix) -> dict[str, int]:
    """Return how many requests each target takes at once, by id: as configured, else in proportion to the need."""
    pace = Pace()
    mean_s = pace.first_s + load.mean(mix.prompt) / pace.prefill + load.mean(mix.answer) / pace.tokens
    need = mix.rate * mean_s * _PEAK
    backups = [place for place in places if place.role == "backup"]
    found = {}
    for place in places:
        part = _FIRST_BACKUP if len(backups) > 1 and place is backups[0] else _ROOM[place.role]
        found[place.target.id] = place.target.max_inflight or max(math.ceil(need * part), 4)
    return found


def play(script: Script, stage: Stage, *, seed: int, kind: Kind = "chat", rate: float | None = None) -> Played:
    """Play a script. The same arguments give the same result.

    Raises:
        DrillError: at this rate it would be more requests than a machine should be asked to hold.
    """
    mix = mix_of(kind, rate)
    stolen_s = script.leak[1] - script.leak[0] if script.leak is not None else 0.0
    weight_s = script.seconds + THEFT * stolen_s
    if mix.rate * weight_s > MOST_REQUESTS:
        most = math.floor(MOST_REQUESTS / weight_s)
        many = f"{script.name} at {mix.rate:g} requests a second is more than {MOST_REQUESTS:,} requests"
        raise DrillError(f"{many}; write --rate {most}")
    rooms = room_for(stage.places, mix)
    minutes = int(script.seconds // 60)
    prices = {place.target.id: Price(place.target.price) for place in stage.places if place.target.price is not None}
    honest, stolen = _callers(script, stage)

    chance = Random(f"{seed} requests")
    requests = list(load.requests(mix, script.seconds, chance, images=script.images, callers=len(honest)))

    def upstreams() -> dict[str, Upstream]:
        return {
            place.target.id: Upstream(
                place.target.id,
                rooms[place.target.id],
                script.phases.get(place.role, ()),
                Random(f"{seed} {place.target.id}"),
                Pace(),
            )
            for place in stage.places
        }

    rehearsal = Rehearsal(
        stage.snapshot,
        stage.route,
        upstreams(),
        minutes=minutes,
        callers=[secret_of(caller) for caller in (*honest, *stolen)] or ("",),
        wall_s=script.begins.timestamp(),
        seed=seed,
        patience_s=PATIENCE_S,
        thief=len(honest) if stolen else None,
        blind=script.blind,
    )
    coming: Iterable[Request] = requests
    if script.leak is not None and stolen:
        coming = _merged(coming, _theft(script.leak, mix, seed, len(honest)))
    neighbours = None
    if script.store_lost is None:
        rehearsal.run(coming)
    else:
        neighbours = Neighbours(rehearsal, stage, script, seed)
        rehearsal.run(coming, neighbours.acts())
        neighbours.end()
    sides = []
    own = [place for place in stage.places if place.role != "region"]
    for count, timeout_s in ((1, 0.0), (len(own), TIMEOUT_S)):
        models = upstreams()
        asked = [models[place.target.id] for place in own[:count]]
        alone = Alone(asked, prices, minutes=minutes, timeout_s=timeout_s, patience_s=PATIENCE_S, blind=script.blind)
        sides.append(alone.run(requests))
    return Played(
        script, stage, seed, kind, mix.rate, rehearsal.results, sides[0], sides[1], rehearsal.thief, rooms,
        rehearsal.samples, rehearsal.spent(), neighbours,
        _usual(requests, prices.get(stage.places[0].target.id)),
    )  # fmt: skip


def _usual(requests: list[Request], price: Price | None) -> float:
    if price is None:
        return 0.0
    prompt, answer = sum(one.prompt for one in requests), sum(one.answer for one in requests)
    return price.cost_of(prompt=prompt, output=answer) / load.NS


def _callers(script: Script, stage: Stage) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the callers of the usual traffic, and the one whose key is stolen."""
    if script.leak is None or len(stage.callers) < 2:  # noqa: PLR2004
        return stage.callers or ("",), ()
    return stage.callers[:-1], stage.callers[-1:]


def _theft(when: tuple[float, float], mix: Mix, seed: int, caller: int) -> Iterator[Request]:
    start_s, end_s = when
    chance = Random(f"{seed} thief")
    heavy = load.Mix(mix.rate * THEFT, 1.0, 0.5, 1.5, mix.prompt, tuple(2 * tokens for tokens in mix.answer))
    for one in load.requests(heavy, end_s - start_s, chance, images=0.0):
        yield load.Request(
            THIEF_FROM + one.number,
            one.at_ns + int(start_s * load.NS),
            one.prompt,
            one.answer,
            one.stream,
            False,
            caller,
        )


def _merged(first: Iterable[Request], second: Iterable[Request]) -> Iterator[Request]:
    return heapq.merge(first, second, key=lambda request: request.at_ns)
