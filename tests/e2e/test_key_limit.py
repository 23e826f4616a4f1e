"""Four workers together admit as many requests of a key as its limit allows, as its client counts.

Real HTTP at ten times the limit, over connections that the kernel spreads. ``--seconds 20`` says for how long.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any, Final

import msgspec
import pytest
from processes import port_of
from test_kills import MESSAGES, metric

from edge import clock
from edge.admission.keys import new_key, sha256_of
from edge.sim import wire
from edge.sim.asked import Pace
from edge.sim.closed_loop_load import Answered, ClosedLoopLoad
from edge.sim.node import EdgeProcess
from edge.sim.provider import ProviderSpec
from edge.sim.world import ProviderProcess

pytestmark = pytest.mark.alone

WORKERS: Final = 4
SECONDS: Final = 5.0
RATE: Final = 100  # requests a second that the key is worth
BURST: Final = 200  # a machine that pauses for less than two seconds costs nobody a token
TIMES: Final = 10  # as many as that are asked for


class Counted:
    """The results of a client, and when it saw the first byte."""

    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.first_ns = 0

    def verify(self, _number: int, answer: Answered) -> str | None:
        """Count an answer; only answers and refusals with a retry time are right."""
        self.first_ns = self.first_ns or clock.now_ns()
        self.statuses[answer.status] += 1
        if answer.status == 200:
            return None
        refused = answer.status == 429 and b"\r\nretry-after: 1\r\n" in answer.head
        return None if refused else f"status {answer.status}: {answer.head!r} {answer.body[:200]!r}"


async def test_four_workers_let_through_what_one_key_is_worth(request: pytest.FixtureRequest) -> None:
    """Never more than rate and burst, and at least 99% of it, whichever worker gets the request."""
    seconds = float(request.config.getoption("--seconds") or SECONDS)
    count = int(RATE * TIMES * seconds)
    key, counted = new_key(), Counted()
    asked = wire.request(
        msgspec.json.encode({"model": "chat", "messages": MESSAGES}), ("authorization", f"Bearer {key}")
    )
    async with ProviderProcess(ProviderSpec(name="a", pace=Pace(ttft_s=0.0, tps=0.0, tokens=6))) as world:
        bounds = {"requests_per_minute": RATE * 60, "requests_burst": BURST}
        config: dict[str, Any] = {
            "providers": {"a": {"base_url": world.base_urls["a"]}},
            "models": {"chat": {"targets": ["a/m"]}},
            "keys": [{"name": "only", "sha256": sha256_of(key), **bounds}],
        }
        async with EdgeProcess(config, workers=WORKERS) as edge:
            started_ns = clock.now_ns()
            closed_loop = ClosedLoopLoad(
                port_of(edge.url), asked, count=count, connections=64, verify=counted.verify, rate=RATE * TIMES
            )
            await closed_loop.run(seconds + 100)
            took_s = (clock.now_ns() - started_ns) / 1e9
            shares = [await metric(edge, f'edge_worker_requests_total{{worker="{n}"}}') for n in range(WORKERS)]
    # The last request was not sent before its time, and the bucket began to fill anew before the first answer came.
    lasted_s = (count - 1) / (RATE * TIMES) - (counted.first_ns - started_ns) / 1e9
    accepted = counted.statuses[200]
    sys.stdout.write(f"{accepted} of {count}; allowed were {BURST + RATE * lasted_s:.0f}; by worker: {shares}\n")
    assert closed_loop.failures == []
    assert all(shares), shares
    assert 0.99 * (BURST + RATE * lasted_s) <= accepted <= BURST + RATE * took_s + 1
