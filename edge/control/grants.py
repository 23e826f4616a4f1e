"""What may this node grant of each allowance of ``scope: global``?  Joins counters, keeper and Board.

A share that is written to the Board holds until a time that stands beside it: a control that died or was stopped leaves
no grant behind that the others have long taken. Workers then go by the safe share.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from edge import clock
from edge.native import TargetCounter
from edge.regions.demand import Demand, offered
from edge.regions.keeper import Shared

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge.cluster.follow import Held
    from edge.control.neighbours import Neighbours
    from edge.native import Board
    from edge.regions.keeper import ShareKeeper
    from edge.regions.shares import Pair
    from edge.terms.snapshot import Allowance, Snapshot


_MINUTE_NS: Final = 60_000_000_000


class Grants:
    """The shared allowances of one node."""

    def __init__(self, board: Board, keeper: ShareKeeper) -> None:
        self._board = board
        self._keeper = keeper
        self._demands: dict[str, Demand] = {}
        self._said: set[str] = set()  # allowances whose share is ours to write
        self.wants: dict[str, Pair] = {}

    def look(self, snapshot: Snapshot, now_ns: int) -> None:
        """Reckon what is asked for, and write down what may be granted."""
        found = dict(_shared(snapshot))
        for name in self._demands.keys() - found.keys():
            del self._demands[name]
            self.wants.pop(name, None)
        for name, allowance in found.items():
            total = offered(self._board.read_allowance(allowance.slot), self._passed_over(snapshot, name, now_ns))
            self.wants[name] = self._demands.setdefault(name, Demand()).want(total, now_ns)
            self._write(name, allowance)

    async def move(self, snapshot: Snapshot, held: Mapping[str, Held], known: Neighbours, now_ns: int) -> None:
        """Move grants to where they are wanted, one after the other."""
        for name, allowance in _shared(snapshot):
            if name in self.wants:
                ledger = known.ledger(held, name)
                silences = known.silences(ledger[0], now_ns)
                await self._keeper.step(
                    _bounds(name, allowance),
                    self.wants[name],
                    ledger,
                    silences,
                    partial(self._tell, name, allowance),
                )

    async def leave(self, snapshot: Snapshot) -> None:
        """Give every grant up: the node ends."""
        for name, allowance in _shared(snapshot):
            await self._keeper.leave(_bounds(name, allowance))

    def shares(self, snapshot: Snapshot) -> dict[str, dict[str, float]]:
        """Return what this node may grant a minute, of how much, by allowance and bound."""
        found = {}
        for name, allowance in _shared(snapshot):
            share = self._keeper.share(_bounds(name, allowance))
            found[name] = {
                "requests_per_minute": share[0] / 1000,
                "of_requests_per_minute": allowance.requests_per_minute,
                "tokens_per_minute": share[1] / 1000,
                "of_tokens_per_minute": allowance.tokens_per_minute,
            }
        return found

    def _tell(self, name: str, allowance: Allowance, _: Pair) -> None:
        self._write(name, allowance)

    def _write(self, name: str, allowance: Allowance) -> None:
        bounds = _bounds(name, allowance)
        if name not in self._said and not self._keeper.joined(name):
            view = self._board.read_allowance(allowance.slot)
            if view["share_nodes"] and view["share_until_ns"] > clock.now_ns():
                return  # what the control before this one was granted holds until its time is over
        self._said.add(name)
        share = self._keeper.share(bounds)
        self._board.set_shares(
            allowance.slot,
            share[0],
            share[1],
            until_ns=self._keeper.until_ns(),
            nodes=self._keeper.nodes(bounds),
            now_ns=clock.now_ns(),
            windows_ns=(
                _window_ns(allowance.requests_per_minute, allowance.requests_burst),
                _window_ns(allowance.tokens_per_minute, allowance.tokens_burst),
            ),
        )

    def _passed_over(self, snapshot: Snapshot, name: str, now_ns: int) -> int:
        """Return how often targets were not asked because their credential was used up."""
        kind, _, credential = name.partition("/")
        if kind != "credential":
            return 0
        places = {place for place, each in enumerate(snapshot.credentials) if each.name == credential}
        slots = [target.slot for target in snapshot.targets if target.credential in places]
        counts = (self._board.read_target(slot, now_ns)["counts"] for slot in slots)
        return sum(count[TargetCounter.T_EXHAUSTED] for count in counts)


def _shared(snapshot: Snapshot) -> Iterator[tuple[str, Allowance]]:
    """Yield the allowances that are divided, by the name of their ledger."""
    for key in snapshot.keys:
        if key.allowance is not None and key.allowance.shared:
            yield f"key/{key.name}", key.allowance
    for credential in snapshot.credentials:
        if credential.allowance.shared:
            yield f"credential/{credential.name}", credential.allowance


def _window_ns(per_minute: int, burst: int) -> int:
    """Return how far an empty bucket is ahead of its time; a burst of 0 is a minute's worth."""
    return _MINUTE_NS * (burst or per_minute) // per_minute if per_minute else 0


def _bounds(name: str, allowance: Allowance) -> Shared:
    return Shared(name, (allowance.requests_per_minute * 1000, allowance.tokens_per_minute * 1000))
