"""Weights hold, also where nothing is in flight; a slow target gets less, and a loaded one spills."""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from tests.native.pools import MS, POLICY, START, Bench, S

if TYPE_CHECKING:
    from collections.abc import Callable

# Four standard deviations: seeded draws that hold a weight stay within, and a bias of a few hundredths does not.
DEVIATIONS = 4.0


def one_by_one(
    bench: Bench,
    requests: int,
    gap_ns: int,
    takes: Callable[[int], int],
    now: int = START,
    *,
    fails: Callable[[int], bool] = lambda _: False,
) -> Counter[int]:
    """Ask one request at a time, and return who was asked.

    ``takes`` gives the latency in ns of an answer of a member, ``fails`` whether it is a failure.
    """
    asked: Counter[int] = Counter()
    for _ in range(requests):
        index = bench.choose(now)[0]
        took = takes(index)
        bench.targets[index].enter(0)
        now += took
        bench.targets[index].leave(0)
        failed = fails(index)
        if not failed:
            bench.targets[index].record(0, now, took)
        bench.pool.report(index, now, 0, failed=failed)
        asked[index] += 1
        now += gap_ns
    return asked


def at_once(bench: Bench, requests: int, gap_ns: int, takes: Callable[[int], int]) -> Counter[int]:
    """Begin a request each ``gap_ns`` on average, whether earlier ones have ended or not. Return who was asked."""
    asked: Counter[int] = Counter()
    running: list[tuple[int, int, int]] = []
    now = START
    for turn in range(requests):
        now += int(bench.chance.expovariate(1.0) * gap_ns)
        while running and running[0][0] <= now:
            ended, began, index = heapq.heappop(running)
            bench.targets[index].leave(0)
            bench.targets[index].record(0, ended, ended - began)
        index = bench.choose(now)[0]
        bench.targets[index].enter(0)
        heapq.heappush(running, (now + takes(index), now, index))
        asked[index] += turn >= 50  # a pool that has only just begun knows nothing of its members
    return asked


def deviations(asked: Counter[int], weights: list[float]) -> list[float]:
    """Return by how many standard deviations of a binomial distribution each member differs from its weight."""
    total = sum(asked.values())
    parts = [weight / sum(weights) for weight in weights]
    return [(asked[index] - total * part) / math.sqrt(total * part * (1.0 - part)) for index, part in enumerate(parts)]


@pytest.mark.parametrize("gap_ns", [0, 10 * MS, S, 7 * S, 15 * S, 45 * S, 300 * S])
@pytest.mark.parametrize("weights", [[3.0, 1.0], [1.0, 3.0], [1.0, 1.0], [300.0, 200.0, 100.0, 0.5]])
def test_requests_one_by_one_keep_to_the_weights(weights: list[float], gap_ns: int) -> None:
    """Of requests that never meet, each member gets its share, however long the pauses between them."""
    bench = Bench(POLICY, [1] * len(weights), weights)
    asked = one_by_one(bench, 4000, gap_ns, lambda _: 300 * MS)
    assert all(abs(value) < DEVIATIONS for value in deviations(asked, weights)), asked


def test_latencies_that_vary_do_not_move_the_weights() -> None:
    """Answers whose times vary by a third, as those of providers do, leave the shares where they are."""
    chance = random.Random(3)
    bench = Bench(POLICY, [1, 1], [3.0, 1.0])
    asked = one_by_one(bench, 4000, S, lambda _: int(300 * MS * math.exp(chance.gauss(0, 0.3))))
    assert all(abs(value) < DEVIATIONS for value in deviations(asked, [3.0, 1.0])), asked


@pytest.mark.parametrize("gap_ns", [300 * MS, 100 * MS, 30 * MS, 10 * MS, MS])
@pytest.mark.parametrize("weights", [[3.0, 1.0], [10.0, 1.0], [4.0, 3.0, 2.0, 1.0]])
def test_requests_at_once_keep_to_the_weights(weights: list[float], gap_ns: int) -> None:
    """With one to 300 requests in flight each member has its share of requests, within a seventh of it."""
    bench = Bench(POLICY, [1] * len(weights), weights)
    asked = at_once(bench, 20_000, gap_ns, lambda _: int(300 * MS * bench.chance.uniform(0.8, 1.2)))
    for index, weight in enumerate(weights):
        assert asked[index] / sum(asked.values()) == pytest.approx(weight / sum(weights), rel=1 / 7)


@pytest.mark.parametrize("gap_ns", [10 * MS, S])
@pytest.mark.parametrize("weights", [[3.0, 1.0], [1.0, 1.0], [1.0, 3.0]])
def test_a_slow_target_gets_less_than_its_weight(weights: list[float], gap_ns: int) -> None:
    """A target that takes ten times as long gets a tenth at most, and is still asked now and then."""
    bench = Bench(POLICY, [1, 1], weights)
    asked = one_by_one(bench, 4000, gap_ns, lambda index: (1000 if index == 0 else 100) * MS)
    assert 0 < asked[0] < 400


@pytest.mark.parametrize(("gap_ns", "part"), [(10 * MS, 0.4), (S, 0.85)])
@pytest.mark.parametrize("weights", [[3.0, 1.0], [1.0, 1.0], [1.0, 3.0]])
def test_a_target_that_fails_a_third_gets_less_than_its_weight(weights: list[float], gap_ns: int, part: float) -> None:
    """Also where requests never meet and its circuit stays closed; nine in ten seconds say less than ninety."""
    patient = structs.replace(POLICY, consecutive_failures=0, failure_ratio=0.0, slow_ratio=0.0)
    bench = Bench(patient, [1, 1], weights)
    chance = random.Random(5)
    asked = one_by_one(bench, 4000, gap_ns, lambda _: 100 * MS, fails=lambda index: not index and chance.random() < 0.3)
    assert 0 < asked[0] < 4000 * part * weights[0] / sum(weights)


def test_failures_now_and_then_do_not_move_the_weights() -> None:
    """Two targets that both fail one request in twenty keep their shares, within a tenth."""
    patient = structs.replace(POLICY, consecutive_failures=0, failure_ratio=0.0, slow_ratio=0.0)
    bench = Bench(patient, [1, 1], [3.0, 1.0])
    chance = random.Random(5)
    asked = one_by_one(bench, 20_000, 10 * MS, lambda _: 100 * MS, fails=lambda _: chance.random() < 0.05)
    assert asked[0] / 20_000 == pytest.approx(0.75, rel=0.1)


def test_a_slow_target_gets_its_share_back_when_it_is_quick_again() -> None:
    """After a minute of slow answers, half a minute of quick ones is enough."""
    bench = Bench(POLICY, [1, 1], [3.0, 1.0])
    one_by_one(bench, 40, S, lambda _: 300 * MS)
    slow = one_by_one(bench, 40, S, lambda index: (6000 if index == 0 else 300) * MS, START + 60 * S)
    assert slow[0] < 8
    one_by_one(bench, 24, S, lambda _: 300 * MS, START + 160 * S)
    back = one_by_one(bench, 1000, S, lambda _: 300 * MS, START + 192 * S)
    assert all(abs(value) < DEVIATIONS for value in deviations(back, [3.0, 1.0])), back


def test_a_loaded_target_spills() -> None:
    """The heavier target gives way when it has more than its share in flight, and the lighter one likewise."""
    bench = Bench(POLICY, [1, 1], [3.0, 1.0])
    for target in bench.targets:
        target.record(0, START, 100 * MS)
    for _ in range(6):
        bench.targets[0].enter(0)
    assert bench.shares(START, 500)[1] == 1
    for _ in range(4):
        bench.targets[1].enter(0)
    assert bench.shares(START, 500)[0] == 1


def test_slowness_is_forgotten_when_nobody_has_asked_for_a_minute() -> None:
    """What was measured more than a minute ago does not keep a target from its share."""
    bench = Bench(POLICY, [1, 1])
    bench.targets[0].record(0, START, 5000 * MS)
    bench.targets[1].record(0, START, 100 * MS)
    assert bench.shares(START + 55 * S, 500)[0] == 0
    assert bench.shares(START + 61 * S, 5000)[0] == pytest.approx(0.5, abs=0.03)
