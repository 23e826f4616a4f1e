"""A canary that is slow or fails is found by what it does for half a minute; a healthy one stays, whatever chance does.

Traffic is simulated: Poisson arrivals, times with the long tails that providers have, starts that delay everything then
in flight. The seeds are fixed, and so are the counts of wrong verdicts; `make prove` takes 200 seeds instead of ten.
"""

from __future__ import annotations

from bisect import bisect_left
from random import Random

import pytest

from edge.config.schema_policy import Canary
from edge.control.canary_rule import WINDOWS, Seen, chance_of, quantile_us, total, upper_rank, verdict
from edge.native import HIST_BOUNDS_S

RULE = Canary()
LONGEST = max(WINDOWS)
LONG = pytest.mark.timeout(900)
SEEDS = pytest.mark.parametrize(
    "seeds",
    [pytest.param(range(10), id="ten"), pytest.param(range(10, 210), id="many", marks=[pytest.mark.prove, LONG])],
)
_BUCKETS = len(HIST_BOUNDS_S) + 1


def seen(times_s: list[float], failures: int = 0) -> Seen:
    """Return what a target has done in a second: first contents after these times, and failures."""
    hist = [0] * _BUCKETS
    for each in times_s:
        hist[bisect_left(HIST_BOUNDS_S, each)] += 1
    return Seen(len(times_s) + failures, failures, sum(round(each * 1e6) for each in times_s), tuple(hist))


def arrivals(rng: Random, rate: float) -> int:
    """Return how many requests come within a second, of so many on average."""
    number, left = 0, rng.expovariate(rate)
    while left < 1:
        number += 1
        left += rng.expovariate(rate)
    return number


class Version:
    """A version of a target: requests a second, the median time to the first content, and how the times spread."""

    def __init__(self, rng: Random, rate: float, median_s: float, spread: float, failing: float = 0.0) -> None:
        self.rng, self.rate, self.median_s, self.spread, self.failing = rng, rate, median_s, spread, failing

    def second(self, start_s: float = 0.0) -> Seen:
        """Return what it does in a second; everything in it waits for a slow start as well."""
        number = arrivals(self.rng, self.rate)
        failures = sum(self.rng.random() < self.failing for _ in range(number))
        times = [self.rng.lognormvariate(0, self.spread) * self.median_s for _ in range(number - failures)]
        return seen([start_s + each for each in times], failures)


def taken_out_after(own: list[Seen], others: list[Seen], rule: Canary = RULE) -> int | None:
    """Return after how many seconds a canary is taken out, judged every second as control does; None: it stays."""
    for now in range(1, len(own) + 1):
        first = max(0, now - LONGEST)
        if verdict(rule, own[first:now], others[first:now]) is not None:
            return now
    return None


PACES = pytest.mark.parametrize(
    ("rate", "median_s", "spread"),
    [
        pytest.param(2, 0.4, 0.3, id="few"),
        pytest.param(6, 0.02, 0.6, id="quick"),
        pytest.param(8, 3.1, 0.0, id="exact"),
        pytest.param(20, 0.25, 0.6, id="long-tail"),
        pytest.param(20, 5.0, 0.4, id="wide-buckets"),
        pytest.param(60, 0.6, 1.0, id="many"),
    ],
)


@PACES
@SEEDS
def test_a_healthy_canary_stays(seeds: range, rate: float, median_s: float, spread: float) -> None:
    """It is like the others: no run of a minute ends with an abort."""
    aborts = 0
    for seed in seeds:
        rng = Random(seed)
        own, others = (Version(rng, rate * times, median_s, spread, 0.01) for times in (1, 4))
        aborts += taken_out_after(*zip(*[(own.second(), others.second()) for _ in range(60)], strict=True)) is not None
    assert aborts == 0


@PACES
@pytest.mark.parametrize("starts", [1, 3, 5])
@SEEDS
def test_slow_starts_are_no_reason(seeds: range, rate: float, median_s: float, spread: float, starts: int) -> None:
    """One takes 20 times as long as usual and delays all that is in flight; so do several within half a minute."""
    aborts = 0
    for seed in seeds:
        rng = Random(seed)
        own, others = (Version(rng, rate * times, median_s, spread) for times in (1, 4))
        slow = {0, *rng.sample(range(25), starts - 1)} if starts < 5 else {0, 7, 14, 21, 28}
        seconds = [(own.second(20 * median_s if now in slow else 0.0), others.second()) for now in range(60)]
        aborts += taken_out_after(*zip(*seconds, strict=True)) is not None
    assert aborts == 0


@pytest.mark.parametrize("rate", [6, 60])
@SEEDS
def test_a_version_may_take_five_seconds_to_warm_up(seeds: range, rate: float) -> None:
    """All its first contents take ten times as long for five seconds, and then as long as those of the others."""
    aborts = 0
    for seed in seeds:
        rng = Random(seed)
        cold, warm = (Version(rng, rate, median_s, 0.4) for median_s in (2.0, 0.2))
        others = Version(rng, 4 * rate, 0.2, 0.4)
        own = [*(cold.second() for _ in range(5)), *(warm.second() for _ in range(40))]
        aborts += taken_out_after(own, [others.second() for _ in own]) is not None
    assert aborts == 0


@PACES
@pytest.mark.parametrize("warm_s", [0, 60])
@SEEDS
def test_a_slow_canary_goes_within_half_a_minute(
    seeds: range, rate: float, median_s: float, spread: float, warm_s: int
) -> None:
    """It takes twice what ``slower`` allows; that it was quick before does not help it."""
    late = 0
    times = max(2 * RULE.slower, 1 + 0.03 / median_s)
    for seed in seeds:
        rng = Random(seed)
        well, slow = (Version(rng, rate, median_s * each, spread) for each in (1, times))
        others = Version(rng, 4 * rate, median_s, spread)
        own = [well.second() for _ in range(warm_s)] + [slow.second() for _ in range(LONGEST)]
        after = taken_out_after(own, [others.second() for _ in own])
        assert after is None or after > warm_s
        late += after is None
    assert late == 0


@pytest.mark.parametrize("rate", [6, 20])
@SEEDS
def test_a_canary_that_often_stalls_goes(seeds: range, rate: float) -> None:
    """A third of its requests take ten times as long, which its median does not show."""
    for seed in seeds:
        rng = Random(seed)
        others = Version(rng, 8 * rate, 0.2, 0.3)
        own = [seen([0.2 if rng.random() < 0.65 else 2.0 for _ in range(arrivals(rng, rate))]) for _ in range(LONGEST)]
        assert taken_out_after(own, [others.second() for _ in own]) is not None


@pytest.mark.parametrize("rate", [2, 20])
@SEEDS
def test_a_failing_canary_goes(seeds: range, rate: float) -> None:
    """A third of its requests fail, of the others' one in a hundred: it goes within half a minute, but for bad luck.

    Of 60 requests only 11 may have failed (once in 200 runs), which is not beyond chance yet; soon after it is.
    """
    late = 0
    for seed in seeds:
        rng = Random(seed)
        own, others = Version(rng, rate, 0.2, 0.3, 0.34), Version(rng, 4 * rate, 0.2, 0.3, 0.01)
        after = taken_out_after(*zip(*[(own.second(), others.second()) for _ in range(LONGEST + 5)], strict=True))
        assert after is not None
        late += after > LONGEST
    assert late <= len(seeds) // 100


def test_single_late_ones_do_not_prolong_a_warm_up() -> None:
    """Five cold seconds are no reason, also if one of the 60 requests of some later seconds is late by chance."""
    others = [seen([0.2] * 240)] * LONGEST
    own = [seen([2.0] * 60)] * 5 + [seen([0.2] * 59 + [2.0] * (second % 3 == 0)) for second in range(11)]
    assert verdict(RULE, own, others) is None
    assert verdict(RULE, [seen([2.0] * 60)] * 8 + own[5:], others) is not None


@pytest.mark.parametrize(
    ("own", "others", "why"),
    [
        ((100, 6), (100, 1), None),
        ((10, 1), (100, 0), None),  # one of ten is chance
        ((10, 4), (10, 0), None),
        ((10, 9), (10, 0), "90% of 10 requests failed, of the others' 0%"),
        ((9, 9), (100, 0), None),  # fewer than min_requests
        ((20, 20), (9, 0), None),
        ((100, 90), (100, 90), None),  # all fail alike
        ((100, 22), (100, 1), "22% of 100 requests failed, of the others' 1%"),
    ],
)
def test_failures(own: tuple[int, int], others: tuple[int, int], why: str | None) -> None:
    """They count beyond those of the others, when there are more than chance gives."""
    found = [[seen([0.02] * (requests - failures), failures)] for requests, failures in (own, others)]
    assert verdict(Canary(min_requests=10), *found) == why


def test_the_words() -> None:
    """They name what is compared: the median, or how often it is late."""
    others = [seen([0.2] * 10)] * LONGEST
    assert verdict(RULE, [seen([0.9] * 2)] * LONGEST, others) == (
        "its first content takes 900 ms in the median, the others' 200 ms"
    )
    assert verdict(RULE, [seen([0.2, 0.2, 2.0])] * LONGEST, others) == (
        "its first content takes over 300 ms for 33% of its requests, nine tenths of the others' within 200 ms"
    )


def test_a_few_milliseconds_are_no_reason() -> None:
    """Beside targets that answer at once, noise is a multiple."""
    assert verdict(RULE, [seen([0.009] * 5)] * LONGEST, [seen([0.0015] * 5)] * LONGEST) is None


def test_a_bound_of_the_histogram_is_no_reason() -> None:
    """Two versions of nearly the same pace may fall into different buckets, even into wide ones."""
    assert verdict(RULE, [seen([5.1] * 5)] * LONGEST, [seen([4.9] * 20)] * LONGEST) is None


def test_binomial_tail() -> None:
    """The figures are those of tables; below the mean nothing is known."""
    assert chance_of(10, 10, 0.5) == pytest.approx(2**-10)
    assert chance_of(15.9, 20, 0.5) == pytest.approx(0.020695, rel=1e-4)
    assert chance_of(5, 20, 0.1) == pytest.approx(0.043174, rel=1e-4)
    assert chance_of(60_000, 100_000, 0.5) == 0.0
    assert [chance_of(1, 10, 0.5), chance_of(0, 0, 0.5), chance_of(5, 5, 1.2)] == [1.0] * 3


def test_quantiles() -> None:
    """A rank needs enough samples; its time is found inside its bucket."""
    assert [upper_rank(9, 0.5), upper_rank(10, 0.5), upper_rank(1000, 0.5)] == [None, 10, 550]
    assert upper_rank(50, 0.9) is None
    hist = total([seen([0.15] * 50), seen([0.16] * 10), seen([0.25] * 40)]).hist
    assert 150_000 < quantile_us(hist, 55) < 200_000 < quantile_us(hist, 61) < 300_000
