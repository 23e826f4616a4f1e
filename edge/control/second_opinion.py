"""Asks targets that have declined a request whether they decline edge itself.

A 402 or 403 may be about one request, or about edge's account. A free probe that is refused with the same status, or
with 401, shows that it is the account, without waiting for another caller's request to fail. A probe that is answered
proves nothing: a provider may list its models and still refuse to be asked.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp

from edge import clock
from edge.control.rounds import Rounds
from edge.native import Declined, Outcome
from edge.telemetry import logs
from edge.upstream.tls import TlsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from edge.native import SharedState
    from edge.terms.snapshot import Target

_S: Final = 1_000_000_000
PERIOD_NS: Final = 10 * _S
FIRST_NS: Final = _S
HOLDS_NS: Final = 60 * _S
LIMIT_S: Final = 3.0
AT_ONCE: Final = 4
ABOUT_THE_ACCOUNT: Final = (402, 403)


class SecondOpinion:
    """Probes targets that may have declined edge's account, and quarantines those that decline the probe alike.

    Args:
        shared_state: where refusals are noted and quarantines are set.
        ask: performs one probe; returns its status, or None if the target has no free probe.
    """

    def __init__(self, shared_state: SharedState, ask: Callable[[Target], Awaitable[int | None]]) -> None:
        self._shared_state = shared_state
        self._ask = ask
        self._rounds = Rounds("probe", self._probe, period_ns=PERIOD_NS, first_ns=FIRST_NS, at_once=AT_ONCE)

    def tend(self, targets: Iterable[Target], now_ns: int, chance: Callable[[], float]) -> None:
        """Start the probes that are due; arguments as for :meth:`edge.control.rounds.Rounds.tend`."""
        self._rounds.tend([target for target in targets if self._declined(target, now_ns)], now_ns, chance)

    async def stop(self) -> None:
        """Cancel running probes."""
        await self._rounds.stop()

    def _declined(self, target: Target, now_ns: int) -> int:
        """Return the status with which a target has declined a request lately, if it may be about the account; or 0."""
        if target.kind != "model" or target.probe_path is None:
            return 0
        status = Declined(self._shared_state, target.slot).status(now_ns)
        return status if status in ABOUT_THE_ACCOUNT else 0

    async def _probe(self, target: Target) -> None:
        try:
            async with asyncio.timeout(LIMIT_S):
                status = await self._ask(target)
        except (OSError, TimeoutError, TlsError, aiohttp.ClientError) as error:
            logs.say(logs.DEBUG, "probe failed", target=target.id, error=f"{type(error).__name__}: {error}")
            return
        now_ns = clock.now_ns()
        if status is not None and status in (401, self._declined(target, now_ns)):
            self._shared_state.set_quarantine(target.slot, Outcome.REFUSED_CREDENTIAL, now_ns + HOLDS_NS)
        logs.say(logs.DEBUG, "probe answered", target=target.id, status=status)
