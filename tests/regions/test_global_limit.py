"""A limit of 600 a minute over three nodes is kept, and used completely, while demand moves between them."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from edge.regions.demand import Demand
from native.state.allowance import Allowance, Bound
from native.state.shared_state import SharedState
from tests.regions.shared_world import S, SharingNode, World
from tests.snapshots import allowance

LIMIT = 600  # per minute
BURST = LIMIT // 10
MINUTES = 3


class Bucket:
    """A node's part of the bucket: the workers' own kernel on a separate shared state."""

    def __init__(self) -> None:
        self._shared_state = SharedState.create(0, 0, 1, allowance_capacity=1)
        self._kernel = Allowance(
            self._shared_state, allowance(0, requests_per_minute=LIMIT, requests_burst=BURST, shared=True)
        )

    def set_share(self, share: int, now_ns: int) -> None:
        """Use another share."""
        windows = (BURST * 60 * S // LIMIT, 0)
        self._shared_state.set_shares(0, share, 0, until_ns=now_ns + S, nodes=3, now_ns=now_ns, windows_ns=windows)

    def take(self, now_ns: int) -> bool:
        """Take a request."""
        return self._kernel.take(now_ns)[0] == Bound.UNBOUND


@dataclass
class Caller:
    """Callers of one node that send this many requests a minute at random times."""

    node: SharingNode
    rates: tuple[int, ...]  # by minute
    chance: random.Random
    next_ns: float = 0.0
    offered: int = 0
    accepted: int = 0

    def __post_init__(self) -> None:
        self.bucket = Bucket()
        self.demand = Demand()

    def until(self, now_ns: int, started_ns: int) -> None:
        """Send the requests of the time until now."""
        while self.next_ns < now_ns:
            minute = min(max(int((self.next_ns - started_ns) // (60 * S)), 0), MINUTES - 1)
            turn_ns = started_ns + (minute + 1) * 60 * S
            gap_ns = self.chance.expovariate(max(self.rates[minute], 1) / (60 * S))
            if self.next_ns + gap_ns > turn_ns > self.next_ns and minute < MINUTES - 1:
                self.next_ns = turn_ns  # of the next minute another rate holds, from its first moment
                continue
            self.next_ns += gap_ns
            self.offered += 1
            self.bucket.set_share(self.node.share, int(self.next_ns))
            self.accepted += self.bucket.take(int(self.next_ns))
        self.node.want = self.node_want(now_ns)

    def node_want(self, now_ns: int) -> tuple[int, int]:
        """Return the demand that the node would report."""
        return self.demand.want((float(self.offered), 0.0), now_ns)


@pytest.mark.parametrize(
    "rates",
    [((540, 270, 90), (90, 540, 270), (270, 90, 540)), ((900, 900, 900), (40, 900, 40), (40, 40, 900))],
    ids=["turning", "leaping"],
)
@pytest.mark.parametrize("seed", range(3))
async def test_shifting_demand_gets_the_limit_and_no_more(rates: tuple[tuple[int, ...], ...], seed: int) -> None:
    """Within three minutes 98% of the limit is used, and never more than the limit and one burst."""
    world = World(3)
    await world.run(6)
    chance = random.Random(seed)
    started_ns = world.time.true_ns
    by_node = list(zip(*rates, strict=True))
    callers = [Caller(node, by_node[place], chance, float(started_ns)) for place, node in enumerate(world.nodes)]
    while world.time.true_ns < started_ns + MINUTES * 60 * S:
        for caller in callers:
            caller.until(world.time.true_ns, started_ns)
        await world.run(1)
    accepted = sum(caller.accepted for caller in callers)
    moves = sum(node.keeper.moves for node in world.nodes)
    print(f"{accepted} accepted of {sum(caller.offered for caller in callers)} offered, {moves} moves")  # noqa: T201
    assert accepted == pytest.approx(MINUTES * LIMIT, rel=0.02)
    assert accepted <= MINUTES * LIMIT + BURST + 3
