"""When does this route's traffic leave a target alone?  From what the operator wrote to what the kernels take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from edge.config.units import NS_PER_S
from edge.terms import snapshot

if TYPE_CHECKING:
    from edge.config.schema import Breaker, Timeouts


def breaker(config: Breaker, timeouts: Timeouts, kind: Literal["model", "service"]) -> snapshot.Breaker:
    """Return the breaker of one route.

    ``slow_after`` left out is half of the deadline for the first token, or of the first byte for services: answers that
    eat half of what callers are ready to wait announce the ones that eat it all, and a call that reaches the deadline
    is a failure anyway, so a threshold near it would never see a brown-out. It is then also adaptive: four times what
    the target usually needs is slow too, where that is over two seconds, so that a black hole behind a deadline of half
    a minute is noticed in seconds. Where the deadline is off, so is it.
    """
    deadline = timeouts.first_token if kind == "model" else timeouts.first_byte
    return snapshot.Breaker(
        consecutive=config.consecutive,
        ratio=config.ratio,
        window_s=config.window // NS_PER_S,
        min_requests=config.min_requests,
        slow=config.slow,
        slow_after_ns=config.slow_after or deadline // 2,
        slow_adaptive=not config.slow_after,
        open_ns=config.open,
        open_max_ns=config.open_max,
        ramp_ns=config.ramp,
    )
