"""Decides whether a canary does worse than the other targets of its tier, by what both did second by second.

A verdict needs evidence that neither a few slow starts nor a few failures give:

- Failures: the share beyond the others' must be larger than chance gives it, by the binomial distribution.
- Slowness: more than half of the canary's first contents are later than ``slower`` times the others' median, or, over
  the whole window, more than a tenth of them are later than ``slower`` times the time that nine tenths of the others'
  keep; again more than chance gives. The seconds with most late ones are left out first, and several others must have
  late ones too: a slow start delays whatever is in flight, but only for moments. The buckets of the histogram are wide,
  so that in the first case the mean of the canary's typical second must be later as well.

Means over all requests do not serve: one slow start of 5 s among 100 first contents of 20 ms makes 70 ms of them.
"""

from __future__ import annotations

from math import ceil, exp, floor, lgamma, log, sqrt
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from edge.native import HIST_BOUNDS_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from edge.config.schema_policy import Canary

WINDOWS: Final = (15, 30)
"""Seconds that are judged, each by itself: the short one tells early of a version that has just become slow."""
NOISE_US: Final = 10_000
"""A first content that is later by less tells of the machine, not of a version: both are quick."""
SLOW_STARTS: Final = 3
"""Seconds that are left out as those of slow starts."""
SLOW_SECONDS: Final = 5
"""Seconds that must be slow besides those: a version that warms up is slow for a short time only.

A second is slow in which at least half as many first contents are late as may be, and at least one."""
CHANCE: Final = 0.001
"""How probable it may be that a version at the very bound of its rule gives the evidence against it."""
_DEVIATIONS: Final = 3.1  # of a normal distribution, beyond which CHANCE is left
_NEGLIGIBLE: Final = 1e-9  # part of a sum
_HIGH: Final = 0.9
_BOUNDS_US: Final = (*(round(bound * 1e6) for bound in HIST_BOUNDS_S), 2 * round(HIST_BOUNDS_S[-1] * 1e6))


class Seen(NamedTuple):
    """What a target has done: since it exists, or in a second."""

    requests: int = 0  # that ended well, or as the target's failure
    failures: int = 0
    first_us: int = 0  # the time to all first contents
    hist: tuple[int, ...] = (0,) * len(_BOUNDS_US)  # of the times to the first content, see HIST_BOUNDS_S

    @property
    def firsts(self) -> int:
        """The number of first contents."""
        return sum(self.hist)

    def since(self, earlier: Seen) -> Seen | None:
        """Return what was done since then; None if the record was cleared in between."""
        hist = tuple(now - then for now, then in zip(self.hist, earlier.hist, strict=True))
        done = Seen(
            self.requests - earlier.requests, self.failures - earlier.failures, self.first_us - earlier.first_us, hist
        )
        return done if min(*done[:3], *hist) >= 0 else None


def total(seconds: Iterable[Seen]) -> Seen:
    """Return what was done in all of them, or by several targets in the same second."""
    requests = failures = first_us = 0
    hist = [0] * len(_BOUNDS_US)
    for each in seconds:
        requests += each.requests
        failures += each.failures
        first_us += each.first_us
        if each.first_us:
            hist = [one + more for one, more in zip(hist, each.hist, strict=True)]
    return Seen(requests, failures, first_us, tuple(hist))


def verdict(canary: Canary, own: Sequence[Seen], others: Sequence[Seen]) -> str | None:
    """Return why a canary is to be taken out, in words; None: it is not, or too little is known.

    Args:
        canary: the rule.
        own: what the canary did in each of the last seconds, the newest last.
        others: what the other targets did, together, in seconds that end at the same time.
    """
    why = None
    for window in WINDOWS:
        mine, theirs = own[-window:], others[-window:]
        done, usual = total(mine), total(theirs)
        if min(done.requests, usual.requests) >= canary.min_requests:
            why = why or _failing(canary, done, usual)
        if min(done.firsts, usual.firsts) >= canary.min_requests:
            why = why or _slow(canary, mine, theirs, usual)
            if window == WINDOWS[-1]:
                why = why or _often_slow(canary, mine, done, usual)
    return why


def _failing(canary: Canary, own: Seen, others: Seen) -> str | None:
    # Laplace's rule of succession: that none of 20 has failed does not say that none ever does.
    usual = (others.failures + 1) / (others.requests + 2)
    if chance_of(own.failures, own.requests, usual + canary.failure_ratio) > CHANCE:
        return None
    of_others = others.failures / others.requests
    return f"{own.failures / own.requests:.0%} of {own.requests} requests failed, of the others' {of_others:.0%}"


def _slow(canary: Canary, own: Sequence[Seen], others: Sequence[Seen], usual: Seen) -> str | None:
    rank = upper_rank(usual.firsts, 0.5)
    slow, quick = _typical_us(own), _typical_us(others)
    if rank is None or slow <= canary.slower * quick or slow - quick < NOISE_US:
        return None
    bound = quantile_us(usual.hist, rank)
    if not _more_are_later(own, 0.5, max(canary.slower * bound, bound + NOISE_US)):
        return None
    return f"its first content takes {slow / 1000:.0f} ms in the median, the others' {quick / 1000:.0f} ms"


def _often_slow(canary: Canary, own: Sequence[Seen], done: Seen, usual: Seen) -> str | None:
    rank = upper_rank(usual.firsts, _HIGH)
    if rank is None:
        return None
    bound = _BOUNDS_US[_bucket_of(usual.hist, rank)]
    late = max(canary.slower * bound, bound + NOISE_US)
    if not _more_are_later(own, 1 - _HIGH, late, whole_buckets=True):
        return None
    share = later(done, late, whole_buckets=True) / done.firsts
    within = f"nine tenths of the others' within {bound / 1000:.0f} ms"
    return f"its first content takes over {late / 1000:.0f} ms for {share:.0%} of its requests, {within}"


def _more_are_later(own: Sequence[Seen], share: float, than_us: float, *, whole_buckets: bool = False) -> bool:
    """Return whether more than a share of first contents are later, even without the seconds with most late ones."""
    found = [(later(each, than_us, whole_buckets=whole_buckets), each.firsts) for each in own]
    kept = sorted(found)[: max(0, len(found) - SLOW_STARTS)]
    if sum(late >= max(1, share * firsts / 2) for late, firsts in kept) < SLOW_SECONDS:
        return False
    late, firsts = sum(late for late, _ in kept), sum(firsts for _, firsts in kept)
    return chance_of(late, firsts, share) <= CHANCE


def _typical_us(seconds: Sequence[Seen]) -> float:
    """Return the median of the means of the seconds, which no few outliers move; in microseconds."""
    return median(each.first_us / each.firsts for each in seconds if each.first_us)


def later(seen: Seen, than_us: float, *, whole_buckets: bool = False) -> float:
    """Return how many first contents took longer.

    Those in the bucket of the bound itself are taken as spread evenly over the logarithm of the time, or for
    ``whole_buckets`` as not longer.
    """
    count = 0.0
    for place, number in enumerate(seen.hist):
        low, high = _edges_us(place)
        if not number or high <= than_us:
            continue
        if low >= than_us:
            count += number
        elif not whole_buckets:
            count += number * log(high / than_us) / log(high / low)
    return count


def upper_rank(number: int, share: float) -> int | None:
    """Return the rank, from 1, of the one of so many samples that a quantile is at most; None: too few samples."""
    rank = ceil(number * share + _DEVIATIONS * sqrt(number * share * (1 - share)))
    return rank if rank <= number else None


def quantile_us(hist: Sequence[int], rank: int) -> float:
    """Return about which time the sample of a rank has, in microseconds."""
    place = _bucket_of(hist, rank)
    low, high = _edges_us(place)
    inside = (rank - sum(hist[:place]) - 0.5) / hist[place]
    return low * exp(log(high / low) * inside)


def chance_of(count: float, number: int, share: float) -> float:
    """Return how probable so many or more of a number are, if each is one with probability ``share``.

    This is the upper tail of the binomial distribution; below its mean, where nothing depends on it, it is given as 1.
    """
    least = floor(count)
    if number == 0 or share <= 0 or least <= number * share:
        return 1.0
    term = exp(
        lgamma(number + 1)
        - lgamma(least + 1)
        - lgamma(number - least + 1)
        + least * log(share)
        + (number - least) * log(1 - share)
    )
    tail = term
    for each in range(least, number):  # the terms fall, so that the rest is soon too small to count
        term *= (number - each) / (each + 1) * share / (1 - share)
        tail += term
        if term < tail * _NEGLIGIBLE:
            break
    return min(tail, 1.0)


def _bucket_of(hist: Sequence[int], rank: int) -> int:
    below = 0
    for place, number in enumerate(hist):
        below += number
        if below >= rank:
            return place
    raise ValueError(f"there are {below} samples, and none has rank {rank}")


def _edges_us(place: int) -> tuple[float, float]:
    high = _BOUNDS_US[place]
    return (_BOUNDS_US[place - 1] if place else high / 10), high
