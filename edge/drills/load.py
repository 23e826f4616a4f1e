"""Requests of many clients, drawn from what was measured in production.

Sources: the traces Azure LLM 2023 (conversation, code; Azure/AzurePublicDataset, CC BY 4.0) and Mooncake FAST'25
(conversation). Token counts are drawn between their published quantiles, log-linearly. Gaps between requests have the
coefficient of variation of the trace, and the rate drifts from minute to minute within the range that was seen.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

NS: Final = 1_000_000_000
Kind = Literal["chat", "code", "long"]

_SHARES: Final = (0.0, 0.05, 0.25, 0.50, 0.75, 0.90, 0.99, 1.0)


class Mix(Struct, frozen=True):
    """One kind of traffic: requests a second, variation of the gaps, and tokens at the quantiles of ``_SHARES``."""

    rate: float
    gap_cv: float
    lowest: float  # the rate of a quiet minute, as a part of the mean
    highest: float
    prompt: tuple[float, ...]
    answer: tuple[float, ...]


MIXES: Final[dict[Kind, Mix]] = {
    "chat": Mix(
        5.5, 1.1, 0.11, 1.53, (20, 181, 396, 1020, 1189, 2735, 4142, 14050), (1, 41, 85, 129, 395, 424, 601, 1000)
    ),
    "code": Mix(2.6, 13.0, 0.1, 4.0, (10, 75, 578, 1469, 2745, 5194, 7436, 7437), (1, 6, 9, 13, 24, 55, 252, 1899)),
    "long": Mix(
        3.4, 1.1, 0.3, 1.5, (100, 901, 2306, 6909, 15368, 27367, 85401, 120000), (1, 10, 156, 350, 472, 597, 1120, 2000)
    ),
}
"""Azure conversation, Azure code, Mooncake conversation. The ranges of the rate are those of the Azure traces."""


class Request(Struct, frozen=True):
    """One request of a client; ``at_ns`` counts from the begin of the drill."""

    number: int
    at_ns: int
    prompt: int  # tokens
    answer: int
    stream: bool
    image: bool
    caller: int  # which of the callers sends it


def draw(quantiles: tuple[float, ...], chance: float) -> float:
    """Return the value at a quantile: linear between the known ones, in the logarithm of the value."""
    place = bisect_right(_SHARES, chance, 1, len(_SHARES) - 1)
    low, high = _SHARES[place - 1], _SHARES[place]
    part = (chance - low) / (high - low)
    return math.exp(math.log(quantiles[place - 1]) * (1 - part) + math.log(quantiles[place]) * part)


def mean(quantiles: tuple[float, ...]) -> float:
    """Return the mean of what ``draw`` draws."""
    steps = 1000
    return sum(draw(quantiles, (step + 0.5) / steps) for step in range(steps)) / steps


def requests(
    mix: Mix, seconds: float, random: Random, *, images: float, streams: float = 0.85, callers: int = 1
) -> Iterator[Request]:
    """Yield the requests of a drill, in order.

    Args:
        mix: what is drawn from.
        seconds: until when requests come.
        random: the chance of this load.
        images: the part of requests with a picture.
        streams: the part of requests whose answer is streamed.
        callers: how many callers there are; each request is of one of them.
    """
    shape = 1 / mix.gap_cv**2
    at, minute, rate, number = 0.0, -1, mix.rate, 0
    while True:
        if int(at // 60) != minute:
            minute = int(at // 60)
            wave = 1 + 0.3 * math.sin(2 * math.pi * at / 7200) + random.gauss(0, 0.12)
            rate = mix.rate * min(max(wave, mix.lowest), mix.highest)
        at += random.gammavariate(shape, 1 / (shape * rate))
        if at >= seconds:
            return
        number += 1
        yield Request(
            number,
            int(at * NS),
            max(int(draw(mix.prompt, random.random())), 1),
            max(int(draw(mix.answer, random.random())), 1),
            random.random() < streams,
            random.random() < images,
            random.randrange(callers),
        )
