"""What may an edge.yaml say about too many requests at once?  Limits that are learned, waiting, and who goes first."""

from typing import Annotated

from msgspec import Struct

from edge.config.fields import Duration, Share, about
from edge.config.units import NS_PER_MS, NS_PER_S

LONGEST_WAIT = 600 * NS_PER_S


class Concurrency(Struct, frozen=True, forbid_unknown_fields=True):
    """How many requests a target is sent at once, all workers together: learned by trying."""

    adaptive: Annotated[
        bool | None,
        about(
            "Learn the limit: it grows while answers come as usual, and falls on 429, 503, 529, missed first-byte and "
            "first-token deadlines, and when first tokens take half as long again. Left out: yes for providers, no for "
            "services. max_inflight stays a hard bound either way."
        ),
    ] = None
    initial: Annotated[int, about("The limit before anything is known of a target.", low=1, high=100_000)] = 64
    min: Annotated[int, about("The limit never falls under this.", low=1, high=100_000)] = 4
    max: Annotated[int, about("The limit never grows over this.", low=1, high=100_000)] = 5000


class Queue(Struct, frozen=True, forbid_unknown_fields=True):
    """Where requests wait when every target is full. Those of a key with priority: low never wait, they get 503."""

    limit: Annotated[
        int, about("Most requests that wait, per model or service and worker; over it 503. 0: nobody waits.", low=0)
    ] = 1024
    wait: Annotated[
        Duration, about("Longest wait for a place; then 503 with Retry-After.", low=NS_PER_MS, high=LONGEST_WAIT)
    ] = 5 * NS_PER_S


class Shares(Struct, frozen=True, forbid_unknown_fields=True):
    """What each priority may count on of a full target; together at most 100%. Below four fifths they cost nothing."""

    high: Annotated[Share, about("For keys with priority: high, who may also take all that is left.")] = 0.5
    normal: Annotated[Share, about("For keys with priority: normal, and for callers without a key.")] = 0.3
    low: Annotated[Share, about("For keys with priority: low.")] = 0.2
