"""Conversion of a route's configured circuit breaker into the parameters that the native breaker takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from edge.config.compiled import compiled
from edge.config.schema_policy import FIRST_BYTE
from edge.terms import snapshot

if TYPE_CHECKING:
    from edge.config.schema_policy import Breaker, Timeouts


def breaker(config: Breaker, timeouts: Timeouts, kind: Literal["model", "service"]) -> snapshot.Breaker:
    """Return the breaker of one route.

    An omitted ``slow_threshold`` becomes half of the deadline for the first token, or for the first byte of a service.
    Responses that use half of the time that callers will wait announce the ones that use all of it, and a call that
    reaches the deadline counts as a failure anyway, so a threshold near the deadline would never see a brown-out. The
    threshold is then also adaptive: once a target is known, a response that is late (four times its 99th percentile,
    at least two seconds) is slow too, so that a black hole shows within seconds. Without a deadline there is no
    threshold.
    """
    first_byte = FIRST_BYTE if timeouts.first_byte is None else timeouts.first_byte
    deadline = timeouts.first_token if kind == "model" else first_byte
    return compiled(
        config,
        snapshot.Breaker,
        slow_threshold_ns=config.slow_threshold or deadline // 2,
        slow_adaptive=not config.slow_threshold,
    )
