"""What a model's ``affinity``, ``prefer`` and ``hedge`` have done since the node's records were empty."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.native import RouteCounter

if TYPE_CHECKING:
    from edge.native import SharedState
    from edge.terms.snapshot import Snapshot

_NANO: Final = 1e-9
_MICRO: Final = 1e-6
_SIGN: Final = 1 << 63
_HEDGES: Final = (
    RouteCounter.R_HEDGES_WON,
    RouteCounter.R_HEDGES_LOST,
    RouteCounter.R_HEDGES_UNANSWERED,
    RouteCounter.R_HEDGES_NO_BUDGET,
    RouteCounter.R_HEDGES_NO_TARGET,
)


class Hedges(Struct, frozen=True):
    """Second targets that were asked beside a slow one, by result, and those that were due but not asked."""

    won: int
    lost: int
    unanswered: int
    no_budget: int
    no_target: int


class Choices(Struct, frozen=True):
    """The choices of one model with several targets. What was saved is below 0 if it was lost."""

    model: str
    affinity: str
    prefer: str
    requests: int
    kept: int  # answered by the target that has the prompt in its cache
    moved: int  # conversations that moved from a target that failed or rested
    cached_share: float | None  # of prompt tokens, as the targets reported them; None: there were none
    saved_usd: float  # against what the same tokens cost on average in the tier, by weights
    saved_s: float  # to first tokens, against the usual of the tier, by weights
    hedges: Hedges | None  # None: the model is not hedged


def signed(word: int) -> int:
    """Return a counter that may fall below zero: it is kept modulo 2**64."""
    return word - 2 * _SIGN if word >= _SIGN else word


def choices(shared_state: SharedState, snapshot: Snapshot) -> list[Choices]:
    """Return the choices of every model with more than one target, in the order of the configuration."""
    found = []
    for route in snapshot.routes:
        if route.kind != "model" or len(route.members) < 2:  # noqa: PLR2004  # with one there is no choice
            continue
        counts = shared_state.read_route(route.slot)["counts"]
        prompt = counts[RouteCounter.R_PROMPT_TOKENS]
        found.append(
            Choices(
                route.name,
                route.affinity,
                route.prefer,
                counts[RouteCounter.R_REQUESTS],
                counts[RouteCounter.R_KEPT],
                counts[RouteCounter.R_MOVED],
                counts[RouteCounter.R_CACHED_TOKENS] / prompt if prompt else None,
                signed(counts[RouteCounter.R_SAVED_NANO]) * _NANO,
                signed(counts[RouteCounter.R_SAVED_US]) * _MICRO,
                Hedges(*[counts[counter] for counter in _HEDGES]) if route.hedge else None,
            )
        )
    return found
