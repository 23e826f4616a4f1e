"""A target that answers is refused nothing. Slow first tokens move requests elsewhere; only loss and collapse bind."""

from __future__ import annotations

import heapq
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from native.balance.balancer import TargetPool
from native.balance.capacity import Capacity
from native.balance.target import Target
from native.state.shared_state import SharedState
from tests.native.pools import MS, PERMIT, POLICY, START, S

if TYPE_CHECKING:
    from collections.abc import Callable


class Streams:
    """Callers of a route in virtual time. Each asks again as soon as its stream of two seconds has ended.

    Args:
        tiers: the tier of each target.
        first_ms: the time to first token, by the number of requests that are in flight at the target and the time in s.
        takes: with more in flight, a target answers 429 at once.
    """

    def __init__(
        self, first_ms: Callable[[int, float], float], *, tiers: tuple[int, ...] = (1,), takes: int = 1_000_000
    ) -> None:
        shared_state = SharedState.create(len(tiers), 0, 1)
        plan: Any = SimpleNamespace(adaptive=True, min_concurrency=4.0, price=None, media="openai", model_prices={})
        self.targets = [Target(shared_state, slot, f"t{slot}", 0, plan) for slot in range(len(tiers))]
        self.limits = [Capacity(shared_state, slot, 4) for slot in range(len(tiers))]
        self.pool = TargetPool(self.targets, list(tiers), [1.0] * len(tiers), POLICY, workers=1, permit_ns=PERMIT)
        self.first_ms, self.takes = first_ms, takes
        self.inflight = [0] * len(tiers)
        self.most = [0] * len(tiers)
        self.refused = self.lost = 0
        self.answered: list[tuple[float, int]] = []  # when, and in flight
        self.events: list[tuple[int, int, str, int, int]] = []  # time, order, what, target, begin
        self.order = 0

    def at(self, now: int, what: str, target: int = 0, begin: int = 0) -> None:
        """Let something happen."""
        self.order += 1
        heapq.heappush(self.events, (now, self.order, what, target, begin))

    def ask(self, now: int) -> None:
        """Choose a target, and ask it."""
        target, *_ = self.pool.choose(now, self.order * 0x9E3779B97F4A7C15 % 2**64)
        if target < 0:
            self.refused += 1
            self.at(now + S, "ask")  # it comes back after its Retry-After
            return
        self.targets[target].enter(0)
        self.inflight[target] += 1
        self.most[target] = max(self.most[target], self.inflight[target])
        if self.inflight[target] > self.takes:
            self.lost += 1
            self.at(now + 10 * MS, "429", target)
            return
        first = self.first_ms(self.inflight[target], (now - START) / S)
        self.at(now + int(first * MS), "first", target, now)

    def play(self, seconds: float, since: int = START) -> None:
        """Let time pass."""
        until = since + int(seconds * S)
        while self.events and self.events[0][0] <= until:
            now, _, what, target, begin = heapq.heappop(self.events)
            if what == "ask":
                self.ask(now)
            elif what == "first":
                self.answered.append(((now - START) / S, self.inflight[target]))
                self.limits[target].first(now, (now - begin) // 1000, self.inflight[target])
                self.at(now + 2 * S, "end", target)
            else:
                if what == "429":
                    self.limits[target].refused(now, self.inflight[target])
                self.targets[target].leave(0)
                self.inflight[target] -= 1
                self.at(now + (S if what == "429" else 0), "ask")


def idle_then_busy(streams: Streams, callers: int = 200, busy_at: float = 60) -> None:
    """Let one caller in ten seconds come, as health checks do, then all callers at once."""
    for second in range(20):
        streams.at(START + second * S, "ask")
    for _ in range(callers):
        streams.at(START + int(busy_at * S), "ask")


@pytest.mark.parametrize("slow_ms", [100, 400, 2_000, 8_000])
def test_uniform_slowness_refuses_nothing(slow_ms: float) -> None:
    """All callers at once after idle time, and first tokens that are many times slower from then on: all are sent."""
    streams = Streams(lambda _, at: 20 if at < 60 else slow_ms)
    idle_then_busy(streams)
    streams.play(120)
    assert streams.refused == 0
    assert streams.most == [220]
    assert streams.limits[0].binding(START + 120 * S, 220) == 0


def test_a_target_that_gets_slow_under_steady_load_is_refused_nothing() -> None:
    """The same where the load was there before, and answers get slower and quick again in turns."""
    streams = Streams(lambda _, at: 20 if at % 40 < 20 else 1_500)
    idle_then_busy(streams, busy_at=5)
    streams.play(200)
    assert streams.refused == 0


def test_slowness_moves_requests_to_another_target() -> None:
    """With a second tier, a slow target's limit spills there; what it does not take is sent to the first after all."""
    streams = Streams(lambda _, at: 20 if at < 60 else 1_500, tiers=(1, 2))
    idle_then_busy(streams)
    streams.play(120)
    assert streams.refused == 0
    assert streams.most[1] > 20


@pytest.mark.parametrize("callers", [100, 400])
def test_refusals_bind(callers: int) -> None:
    """A target that answers 429 above 60 requests gets little more than that after a few seconds."""
    streams = Streams(lambda *_: 50, takes=60)
    idle_then_busy(streams, callers)
    streams.play(70)
    lost, refused = streams.lost, streams.refused
    streams.play(100)
    assert streams.refused > 0
    assert 40 <= streams.limits[0].binding(START + 100 * S, 60) <= 80
    assert streams.lost - lost < streams.refused - refused, "most requests that it would refuse are not sent"


def test_slowness_lowers_no_binding_limit() -> None:
    """Refusals set the limit; that answers are slow afterwards does not lower it below what the target took."""
    streams = Streams(lambda _, at: 50 if at < 90 else 3_000, takes=60)
    idle_then_busy(streams)
    streams.play(140)
    assert streams.limits[0].binding(START + 140 * S, 60) >= 40


def test_collapse_binds() -> None:
    """A target whose throughput falls as it gets more is given what it had when it was best, and recovers."""
    streams = Streams(lambda inflight, _: 100 if inflight <= 80 else 100 * (inflight / 80) ** 3.5)
    for caller in range(80):
        streams.at(START + caller * 25 * MS, "ask")
    for _ in range(240):
        streams.at(START + 20 * S, "ask")
    streams.play(20)
    best = len([at for at, _ in streams.answered if at > 10]) / 10
    streams.play(300)
    last = [(at, inflight) for at, inflight in streams.answered if at > 240]
    assert streams.refused > 0
    assert max(inflight for _, inflight in last) <= 240
    assert len(last) / 60 >= best


def test_a_binding_limit_is_dropped_when_it_is_old_and_unused() -> None:
    """A minute after the last evidence it is dropped, if less than half of it is in use."""
    limit = Capacity(SharedState.create(1, 0, 1), 0, 4)
    for event in "RRFR":
        (limit.first(START, 1000, 40) if event == "F" else limit.refused(START, 40))
    assert limit.binding(START + S, 0) == pytest.approx(36)
    assert limit.binding(START + 60 * S, 18) == pytest.approx(36)
    assert limit.binding(START + 60 * S, 17) == 0
    assert limit.binding(START + 60 * S, 5_000) == 0
