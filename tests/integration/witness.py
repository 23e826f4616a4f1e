"""A steady load on a data plane that records which target answered each request, and when."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from edge import clock
from edge.native import TargetCounter
from edge.sim import wire
from edge.sim.closed_loop_load import Answered, ClosedLoopLoad

if TYPE_CHECKING:
    from one_data_plane import OneDataPlane

FULL_SHARE = 0.9
FULL_OVER = 40  # answers
_TRIES = re.compile(rb"\r\nx-edge-attempts: (\d+)\r\n")
_TARGET = re.compile(rb"\r\nx-edge-target: ([^\r]+)\r\n")


def asking(model: str = "chat") -> bytes:
    """Return a chat request for any simulated provider."""
    return wire.request(b'{"model":"%s","messages":[{"role":"user","content":"hello"}]}' % model.encode())


class Witness:
    """A load of ``rate`` requests a second on one port; ``answers`` has (monotonic seconds, target) of the successes.

    ``connections`` bounds how many are under way: an application with so many threads that wait for their answers.
    """

    def __init__(
        self, port: int, *, count: int, rate: float, connections: int = 8, request: bytes | None = None
    ) -> None:
        self.answers: list[tuple[float, str]] = []
        self.tries: list[int] = []  # attempts of each
        self.closed_loop = ClosedLoopLoad(
            port, request or asking(), count=count, connections=connections, verify=self._verify, rate=rate
        )

    def _verify(self, _number: int, answer: Answered) -> str | None:
        target = _TARGET.search(answer.head)
        if answer.status != 200 or target is None or b"choices" not in answer.body:
            return f"status {answer.status}: {answer.body[:300]!r}"
        self.answers.append((clock.now_ns() / 1e9, target[1].decode()))
        tries = _TRIES.search(answer.head)
        self.tries.append(int(tries[1]) if tries else 0)
        return None

    async def run(self, limit_s: float = 60.0) -> None:
        """Send all requests; failures are in ``closed_loop.failures``."""
        await self.closed_loop.run(limit_s)

    def share(self, target: str, since_s: float, until_s: float) -> float:
        """Return a target's share of the answers between two moments.

        Raises:
            ZeroDivisionError: there was no answer then.
        """
        within = [name for at_s, name in self.answers if since_s <= at_s < until_s]
        return within.count(target) / len(within)

    def first_s(self, target: str, since_s: float) -> float | None:
        """Return the seconds from a moment to a target's first answer after it, None if there was none."""
        return next((at_s - since_s for at_s, name in self.answers if at_s >= since_s and name == target), None)

    def in_full_s(self, target: str, since_s: float) -> float | None:
        """Return the seconds from a moment until a target began to give 90% of 40 answers in a row, None if never."""
        later = [(at_s, name) for at_s, name in self.answers if at_s >= since_s]
        for start in range(len(later) - FULL_OVER + 1):
            window = later[start : start + FULL_OVER]
            if sum(name == target for _, name in window) >= FULL_SHARE * FULL_OVER:
                return window[0][0] - since_s
        return None

    async def run_until_in_full(self, target: str, since_s: float) -> float | None:
        """Send until a target has its full traffic again, or all is sent; return the result of ``in_full_s``."""
        running = asyncio.create_task(self.run())
        while (back_s := self.in_full_s(target, since_s)) is None and not running.done():
            await asyncio.wait([running], timeout=0.25)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return back_s


def attempts(data_plane: OneDataPlane, target: str) -> int:
    """Return how many attempts a target has had, failed connects included."""
    return int(data_plane.target(target)["counts"][TargetCounter.T_ATTEMPTS])


def set_manual(data_plane: OneDataPlane, target: str, code: int) -> None:
    """Set the manual override of a target: 1 drain, 2 eject, 0 none."""
    slot = next(plan.slot for plan in data_plane.snapshot.targets if plan.id == target)
    data_plane.shared_state.set_manual(slot, code)
