"""The model of one provider's target: how fast it answers, how many requests it takes, and what is wrong with it when.

A model decides; it neither sends nor schedules. The data path under test and the callers without edge ask the same
model, so that a difference between them is theirs.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from edge.drills.load import Request

CONNECT_S: Final = 0.03
DECLINED: Final = "image_not_supported"
REFUSAL_S: Final = 0.08
"""How long a provider takes to say no."""


class Condition(Struct, frozen=True):
    """What is wrong with a provider; nothing by default."""

    slower: float = 1.0  # times to the first token are multiplied by this, paces divided by its square root
    dark: float = 0.0  # the part of requests that are accepted and never answered
    failing: float = 0.0  # the part of requests that fail at once
    status: int = 503  # ... with this status
    code: str = "overloaded"  # ... and this error code
    retry_after: int = 0  # ... and this Retry-After in seconds; 0 = none
    refused: bool = False  # connections are refused
    blind: bool = False  # requests with a picture are declined


WELL: Final = Condition()


class Phase(Struct, frozen=True):
    """A condition from ``start_s`` on, in seconds from the begin of the drill; it holds until the next phase."""

    start_s: float
    condition: Condition
    says: str


class Pace(Struct, frozen=True):
    """How fast a healthy provider answers: orders of magnitude of public measurements, not of one provider."""

    first_s: float = 0.5  # median time to the first token of a short prompt
    spread: float = 0.35  # sigma of its logarithm
    prefill: float = 6000.0  # prompt tokens read a second
    tokens: float = 70.0  # answer tokens a second


class Plan(Struct, frozen=True):
    """What becomes of one request at a target. Times are seconds from now.

    never: it is accepted and not answered; status 200: the answer begins after ``first_s`` and ends after ``total_s``.
    """

    kind: Literal["answer", "refusal", "never"]
    status: int = 200
    code: str = ""
    message: str = ""
    retry_after: int = 0
    first_s: float = 0.0
    total_s: float = 0.0


_NEVER: Final = Plan("never")


def condition_at(phases: Sequence[Phase], at_s: float) -> Condition:
    """Return the condition that holds at a time."""
    place = bisect_right(phases, at_s, key=_start)
    return phases[place - 1].condition if place else WELL


def _start(phase: Phase) -> float:
    return phase.start_s


class Upstream:
    """One target.

    Args:
        name: the target's id.
        capacity: how many requests it takes at once; more are refused.
        phases: what is wrong with it, by time; sorted.
        random: its chance.
        pace: how fast it answers when it is well.
        crowded: the part of its capacity that others use already.
    """

    def __init__(self, name: str, capacity: int, phases: Sequence[Phase], random: Random, pace: Pace) -> None:
        self.name = name
        self.capacity = capacity
        self.pace = pace
        self.asked = 0
        self.inflight = 0
        self.most = 0  # requests at once, the refused ones too
        self.refused = 0  # requests beyond its capacity
        self.phases = phases
        self._random = random

    def condition(self, at_s: float) -> Condition:
        """Return what is wrong with it at a time."""
        return condition_at(self.phases, at_s)

    def stands_still(self, at_s: float) -> bool:
        """Return whether answers that have begun do not go on, because the provider has gone dark."""
        return self.condition(at_s).dark >= 1

    def begin(self, request: Request, at_s: float) -> Plan:
        """Take a request, and return what becomes of it; the caller tells by :meth:`end` when it is gone."""
        now = self.condition(at_s)
        chance = self._random.random()
        self.asked += 1
        self.inflight += 1
        self.most = max(self.most, self.inflight)
        if chance < now.dark:
            return _NEVER
        if chance < now.dark + now.failing:
            return _refusal(now.status, now.code, "The server had an error.", now.retry_after)
        if self.inflight > self.capacity:
            self.refused += 1
            return _refusal(429, "rate_limit_exceeded", "Too many concurrent requests.", 0)
        if now.blind and request.image:
            return _refusal(400, DECLINED, "This model does not support image input.", 0)
        queueing = 1 + (self.inflight / self.capacity) ** 4
        first = (
            self.pace.first_s * math.exp(self._random.gauss(0, self.pace.spread)) + request.prompt / self.pace.prefill
        )
        first *= now.slower * queueing
        return Plan("answer", first_s=first, total_s=first + request.answer / self.pace.tokens * math.sqrt(now.slower))

    def end(self) -> None:
        """A request is gone: it is answered, refused or abandoned."""
        self.inflight -= 1


def _refusal(status: int, code: str, message: str, retry_after: int) -> Plan:
    return Plan("refusal", status, code, message, retry_after, REFUSAL_S, REFUSAL_S)
