"""This node's shares of allowances with ``scope: global``: connects counters, share keeper and shared state.

A share in the shared state has an expiry time. So control that died or was stopped leaves no grant behind that other
nodes have long taken; workers then use the safe share.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge import clock
from edge.native import AllowanceCounter, TargetCounter
from edge.regions.demand import Demand, Places, offered
from edge.regions.keeper import Shared

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from edge.cluster.follow import Held
    from edge.control.membership import Membership
    from edge.native import SharedState
    from edge.regions.keeper import ShareKeeper
    from edge.regions.shares import Pair
    from edge.terms.snapshot import Allowance, Snapshot


_MINUTE_NS: Final = 60_000_000_000


class Common(Struct, frozen=True):
    """The shared limits of one key or credential, each with a ledger of its own; None: it has no such limit."""

    name: str  # "key/NAME" or "credential/NAME"
    allowance: Allowance
    rates: Shared | None
    places: Shared | None  # concurrent requests


class Grants:
    """The shared allowances of one node, with the demand for each."""

    def __init__(self, shared_state: SharedState, keeper: ShareKeeper) -> None:
        self._shared_state = shared_state
        self._keeper = keeper
        self._demands: dict[str, Demand] = {}
        self._crowds: dict[str, Places] = {}
        self._owned: set[str] = set()  # allowances whose share this process has written
        self.wants: dict[str, Pair] = {}  # demand by ledger

    def update(self, snapshot: Snapshot, now_ns: int) -> None:
        """Update the demand and write the shares to the shared state."""
        found = {common.name: common for common in _shared(snapshot)}
        ledgers = {shared.name for common in found.values() for shared in _ledgers(common)}
        for seen in (self._demands, self._crowds, self.wants):
            for name in seen.keys() - ledgers:
                del seen[name]
        for name, common in found.items():
            view = self._shared_state.read_allowance(common.allowance.slot)
            if common.rates is not None:
                total = offered(view, self._skipped(snapshot, name, now_ns))
                self.wants[name] = self._demands.setdefault(name, Demand()).want(total, now_ns)
            if common.places is not None:
                refused = view["counts"][AllowanceCounter.A_REFUSED_CONCURRENT]
                crowd = self._crowds.setdefault(common.places.name, Places())
                self.wants[common.places.name] = (crowd.want(view["inflight"], refused, now_ns), 0)
            self._write(common)

    async def move(self, snapshot: Snapshot, held: Mapping[str, Held], known: Membership, now_ns: int) -> None:
        """Move grants to where they are in demand, one allowance after the other."""
        for common in _shared(snapshot):
            for shared in _ledgers(common):
                if shared.name not in self.wants:
                    continue
                ledger = known.ledger(held, shared.name)
                running = self._shared_state.read_allowance(common.allowance.slot)["inflight"] if shared.places else 0
                await self._keeper.step(
                    shared,
                    self.wants[shared.name],
                    ledger,
                    known.silences(ledger[0], now_ns),
                    partial(self._on_share, common),
                    used=(running, 0),
                )

    async def leave(self, snapshot: Snapshot) -> None:
        """Give up every grant, because the node stops."""
        for common in _shared(snapshot):
            for shared in _ledgers(common):
                await self._keeper.leave(shared)

    def shares(self, snapshot: Snapshot) -> dict[str, dict[str, float]]:
        """Return this node's shares and the full limits, by allowance."""
        found = {}
        for common in _shared(snapshot):
            share = (0, 0) if common.rates is None else self._keeper.share(common.rates)
            found[common.name] = {
                "requests_per_minute": share[0] / 1000,
                "of_requests_per_minute": common.allowance.requests_per_minute,
                "tokens_per_minute": share[1] / 1000,
                "of_tokens_per_minute": common.allowance.tokens_per_minute,
                "concurrent": 0 if common.places is None else self._keeper.share(common.places)[0],
                "of_concurrent": 0 if common.places is None else common.places.limit[0],
            }
        return found

    def _on_share(self, common: Common, _: Pair) -> None:
        self._write(common)

    def _write(self, common: Common) -> None:
        allowance, ledgers = common.allowance, _ledgers(common)
        if common.name not in self._owned and not any(self._keeper.joined(shared.name) for shared in ledgers):
            view = self._shared_state.read_allowance(allowance.slot)
            if view["share_nodes"] and view["share_until_ns"] > clock.now_ns():
                return  # the share of the previous control process is valid until it expires
        self._owned.add(common.name)
        share = (0, 0) if common.rates is None else self._keeper.share(common.rates)
        self._shared_state.set_shares(
            allowance.slot,
            share[0],
            share[1],
            until_ns=self._keeper.until_ns(),
            nodes=max(self._keeper.nodes(shared) for shared in ledgers),
            now_ns=clock.now_ns(),
            concurrent=None if common.places is None else self._keeper.share(common.places)[0],
            windows_ns=(
                _window_ns(allowance.requests_per_minute, allowance.requests_burst),
                _window_ns(allowance.tokens_per_minute, allowance.tokens_burst),
            ),
        )

    def _skipped(self, snapshot: Snapshot, name: str, now_ns: int) -> int:
        """Return how often targets were skipped because their credential was used up."""
        kind, _, credential = name.partition("/")
        if kind != "credential":
            return 0
        places = {place for place, limited in enumerate(snapshot.credentials) if limited.name == credential}
        slots = [target.slot for target in snapshot.targets if target.credential in places]
        counts = (self._shared_state.read_target(slot, now_ns)["counts"] for slot in slots)
        return sum(count[TargetCounter.T_EXHAUSTED] for count in counts)


def _shared(snapshot: Snapshot) -> Iterator[Common]:
    """Yield the shared limits of every key and credential."""
    for key in snapshot.keys:
        if key.allowance is not None and key.allowance.shared:
            places = Shared(f"places/{key.name}", (key.concurrent, 0), places=True) if key.concurrent else None
            common = Common(f"key/{key.name}", key.allowance, _rates(f"key/{key.name}", key.allowance), places)
            if _ledgers(common):
                yield common
    for credential in snapshot.credentials:
        if credential.allowance.shared:
            name = f"credential/{credential.name}"
            yield Common(name, credential.allowance, _rates(name, credential.allowance), None)


def _ledgers(common: Common) -> list[Shared]:
    return [shared for shared in (common.rates, common.places) if shared is not None]


def _window_ns(per_minute: int, burst: int) -> int:
    """Return the time span that a bucket holds when full; a burst of 0 means a minute's worth."""
    return _MINUTE_NS * (burst or per_minute) // per_minute if per_minute else 0


def _rates(name: str, allowance: Allowance) -> Shared | None:
    limit = (allowance.requests_per_minute * 1000, allowance.tokens_per_minute * 1000)
    return Shared(name, limit) if any(limit) else None
