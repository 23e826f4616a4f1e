"""The sections of edge.yaml about overload: learned concurrency limits, the queue, and the shares of priorities."""

from typing import Annotated

from msgspec import Struct

from edge.config.fields import Duration, Share, about
from edge.config.units import NS_PER_MS, NS_PER_S

LONGEST_WAIT = 600 * NS_PER_S


class Concurrency(Struct, frozen=True, forbid_unknown_fields=True):
    """How many concurrent requests a target gets from all workers together: no limit until it shows that it is full."""

    adaptive: Annotated[
        bool | None,
        about(
            "Learn the limit from signs of saturation: 429, 503, 529, missed first_byte and first_token deadlines, "
            "first tokens that take half as long again, falling throughput. Slow first tokens alone only move requests "
            "to other targets. There is no limit before such signs, and none once they are over. Default: yes for "
            "providers, no for services. max_inflight is a hard limit in either case."
        ),
    ] = None
    min: Annotated[int, about("The learned limit never falls below this.", low=1, high=100_000)] = 4


class Queue(Struct, frozen=True, forbid_unknown_fields=True):
    """Where requests wait when every target is full. Requests of keys with priority: low do not wait; they get 503."""

    limit: Annotated[
        int,
        about("Most requests that wait, per model or service and worker. Above it: 503. 0: no request waits.", low=0),
    ] = 1024
    wait: Annotated[
        Duration, about("Longest wait for a place. Then: 503 with Retry-After.", low=NS_PER_MS, high=LONGEST_WAIT)
    ] = 5 * NS_PER_S


class Shares(Struct, frozen=True, forbid_unknown_fields=True):
    """Share of a full target for each priority; together at most 100%. No effect below four fifths of the limit."""

    high: Annotated[Share, about("For keys with priority: high, which may also use everything that is left.")] = 0.5
    normal: Annotated[Share, about("For keys with priority: normal, and for callers without a key.")] = 0.3
    low: Annotated[Share, about("For keys with priority: low.")] = 0.2
