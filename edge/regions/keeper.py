"""Keeper of this node's shares of global allowances: it moves grants through transactions on the store.

``step`` is called twice a second. For each allowance there is at most one transaction at a time, at least APART_NS
after the previous one, so that a node writes little whatever its callers do. Nothing here waits while the store is
silent: the share then follows from the time of the last heartbeat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.errors import StoreRefusedError, StoreUnavailableError
from edge.regions import shares
from edge.regions.digest import NODES, SHARES, name_of
from edge.regions.shares import BOTH, HELD_NS, Pair, Shares
from edge.terms.ports import Unchanged, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.clock import Clock
    from edge.terms.ports import Store

_S: Final = 1_000_000_000
APART_NS: Final = _S // 4
# Until the store is heard for the first time, a node uses the fraction EARLY of what others may be granting. After this
# long there seems to be no store, and it uses the share of one of ASSUMED nodes.
PATIENCE_NS: Final = 3 * _S
EARLY: Final = 0.01
ASSUMED: Final = 3
TRIES: Final = 3


class Shared(Struct, frozen=True):
    """An allowance of ``scope: global``: a name such as "key/team-a", and limits in thousandths per minute (0: none).

    With ``places``, the limit counts concurrent requests, and a node's grant may be 0.
    """

    name: str
    limit: Pair
    places: bool = False


class Silence(Struct, frozen=True):
    """How long a node has been silent, and the revision of its digest that we hold (0: there is none).

    ``doubt_ns`` is how long it may have been silent if its digest existed before we could see it.
    """

    silent_ns: int
    revision: int
    doubt_ns: int = 0


class ShareKeeper:
    """Keeps this node's shares.

    Args:
        store: the store that holds the ledgers.
        region: the region of this node.
        node: the name of this node.
        clock: time and randomness.
    """

    def __init__(self, store: Store, region: str, node: str, clock: Clock) -> None:
        self._store = store
        self._me = name_of(region, node)
        self._clock = clock
        self._started_ns = clock.now_ns()
        self._proof_ns: int | None = None  # start of the last heartbeat that succeeded
        self._sight_ns = clock.now_ns()  # when the other nodes were last seen
        self._granted: dict[str, Pair] = {}  # by allowance: the grant in the ledger, less what is being given up
        self._safe: dict[str, Pair] = {}
        self._next_ns: dict[str, int] = {}
        self._revision: dict[str, int] = {}  # of the ledger that this node last wrote or read
        self._doubted: set[str] = set()  # allowances whose ledger must be read before it is relied on
        self.name_conflict = False
        """Whether another node uses our name: the two must share one grant, and neither moves it."""
        self.moves = 0
        """Number of transactions that succeeded."""
        self.conflicts = 0
        """Number of transactions that failed because another node's came first."""

    def beat(self, started_ns: int) -> None:
        """Record a successful heartbeat that began at ``started_ns``.

        A node that was silent for too long must read the ledger before it uses more than the smaller of its grant and
        its safe share: others may have taken the grant.
        """
        now_ns = self._clock.now_ns()
        if not self._holds(now_ns):
            for name, grant in self._granted.items():
                safe = self._safe.get(name, grant)
                self._granted[name] = (min(grant[0], safe[0]), min(grant[1], safe[1]))
                self._doubted.add(name)
                self._next_ns[name] = now_ns
        self._proof_ns = started_ns

    def saw(self) -> None:
        """Record that the local copy of the store is up to date, so that a node that falls silent now is noticed."""
        self._sight_ns = self._clock.now_ns()

    def share(self, allowance: Shared) -> Pair:
        """Return what this node may grant now.

        A rate that has a limit is never 0, because the shared state reads 0 as no limit. A share of concurrent requests
        may be 0 if this node hears the others; a node on its own admits one, even if that is one too many.
        """
        now_ns = self._clock.now_ns()
        grant, least = self._granted.get(allowance.name), 1
        if grant is None:
            grant = self._unheard(allowance, now_ns)
        elif self.name_conflict:
            safe = self._safe.get(allowance.name, grant)
            grant = (min(grant[0], safe[0]) // 2, min(grant[1], safe[1]) // 2)
        elif not self._holds(now_ns):
            grant = self._safe.get(allowance.name, grant)
        elif now_ns - self._sight_ns > shares.SILENT_NS:  # others may use their safe shares
            safe = self._safe.get(allowance.name, grant)
            grant = (min(grant[0], safe[0]), min(grant[1], safe[1]))
        elif allowance.places:
            least = 0
        pair = [max(min(grant[kind], allowance.limit[kind]), least) if allowance.limit[kind] else 0 for kind in BOTH]
        return pair[0], pair[1]

    def until_ns(self) -> int:
        """Return until when the current shares are valid (monotonic ns).

        A grant expires with the heartbeats. A safe share, and the share before anything was heard, last longer only
        because control renews them; what follows them is not larger.
        """
        now_ns = self._clock.now_ns()
        if self._proof_ns is None or not self._holds(now_ns):
            return now_ns + HELD_NS
        return self._proof_ns + HELD_NS

    def nodes(self, allowance: Shared) -> int:
        """Return how many nodes share the allowance, as far as is known; the safe share is one part in so many."""
        safe = self._safe.get(allowance.name)
        for kind in BOTH:
            if safe is not None and safe[kind]:
                return max(allowance.limit[kind] // safe[kind], 1) * (2 if self.name_conflict else 1)
        return ASSUMED

    def joined(self, name: str) -> bool:
        """Return whether this node has an entry in the ledger of an allowance."""
        return name in self._granted

    def holds(self) -> bool:
        """Return whether grants are valid; otherwise this node uses its safe shares."""
        return self._holds(self._clock.now_ns())

    async def step(
        self,
        allowance: Shared,
        want: Pair,
        held: tuple[Shares, int],
        silences: Mapping[str, Silence],
        now_used: Callable[[Pair], None],
        *,
        used: Pair = (0, 0),
    ) -> None:
        """Move this node's grant if that is worth a write.

        Args:
            allowance: the allowance.
            want: the demand at this node, in thousandths per minute (or concurrent requests).
            held: the ledger as last seen and its revision (0: it does not exist).
            silences: the silence of every other node that is known or has an entry in the ledger.
            now_used: called with the share whenever it changes; a part that is given up is out of use before the ledger
                says so.
            used: concurrent requests that run now and so cannot be given away.
        """
        name, now_ns = allowance.name, self._clock.now_ns()
        if not self._holds(now_ns) or self.name_conflict or self._next_ns.get(name, 0) > now_ns:
            return
        try:
            if name in self._doubted or held[1] < self._revision.get(name, 0):  # the copy may be stale
                self._next_ns[name] = now_ns + APART_NS
                held = await self._read(name)
            for tried in range(TRIES):
                ledger, revision = held
                self._revision[name] = revision
                self._doubted.discard(name)
                quiet = {node: silences[node].silent_ns for node in ledger.nodes if node in silences}
                doubts = [node for node in quiet if silences[node].doubt_ns >= shares.SILENT_NS]
                known = 1 + sum(silence.silent_ns < shares.SILENT_NS for silence in silences.values())
                most = self._granted.get(name, shares.safe_share(allowance.limit, known))
                move = shares.moved(ledger, self._me, allowance.limit, want, quiet, most=most, used=used, doubts=doubts)
                if name in self._granted and not shares.worth_it(ledger, move, self._me, allowance.limit):
                    self._learn(allowance, ledger, move, now_used)
                    return
                self._next_ns[name] = now_ns + int(APART_NS * (1 + self._clock.random()))
                if await self._write(allowance, move, revision, silences, now_used):
                    return
                self.conflicts += 1
                if tried + 1 < TRIES:
                    await self._clock.sleep(0.02 * (1 + 4 * self._clock.random()))
                    held = await self._read(name)
        except (StoreUnavailableError, StoreRefusedError):
            return  # retried later, with what is held then

    async def leave(self, allowance: Shared) -> None:
        """Remove this node's entry, because it stops serving. If that fails, the others take the grant later."""
        key = SHARES + allowance.name
        try:
            item = await self._store.get(key)
            if item is None:
                return
            nodes = {name: entry for name, entry in shares.decode(item.value).nodes.items() if name != self._me}
            value = shares.encode(Shares(nodes)) if nodes else None
            await self._store.txn([Unchanged(key, item.revision)], [Write(key, value)])
        except (StoreUnavailableError, StoreRefusedError):
            return

    async def _write(
        self,
        allowance: Shared,
        move: shares.Move,
        revision: int,
        silences: Mapping[str, Silence],
        now_used: Callable[[Pair], None],
    ) -> bool:
        """Make one transaction; return False if another node's came first."""
        name, entry = allowance.name, move.shares.nodes[self._me]
        if name in self._granted:  # reduced before the ledger says so, so that no part is granted twice
            before = self._granted[name]
            self._granted[name] = (min(before[0], move.part[0]), min(before[1], move.part[1]))
            now_used(self.share(allowance))
        conditions = [Unchanged(SHARES + name, revision)]
        conditions += [Unchanged(NODES + node, silences[node].revision) for node in move.silent]
        self._doubted.add(name)  # until the answer arrives: a store that stays silent may have applied it
        done = await self._store.txn(conditions, [Write(SHARES + name, shares.encode(move.shares))])
        if done is None:
            return False
        self._doubted.discard(name)
        self.moves += 1
        self._revision[name] = done
        self._granted[name], self._safe[name] = move.part, entry.safe
        now_used(self.share(allowance))
        return True

    async def _read(self, name: str) -> tuple[Shares, int]:
        item = await self._store.get(SHARES + name)
        return (shares.decode(item.value), item.revision) if item is not None else (Shares(), 0)

    def _learn(self, allowance: Shared, ledger: Shares, move: shares.Move, now_used: Callable[[Pair], None]) -> None:
        """Adopt this node's own entry in the ledger; no other node increases it."""
        entry = ledger.nodes.get(self._me)
        if entry is not None and not entry.taken:
            use = entry.grant
            if allowance.places and shares.waiting(ledger, self._me, 0, allowance.limit):
                use = (min(use[0], move.part[0]), 0)  # places that become free go to the nodes that wait
            self._granted[allowance.name], self._safe[allowance.name] = use, entry.safe
            now_used(self.share(allowance))

    def _holds(self, now_ns: int) -> bool:
        return self._proof_ns is not None and now_ns - self._proof_ns <= HELD_NS

    def _unheard(self, allowance: Shared, now_ns: int) -> Pair:
        """Return what to grant before the ledger was ever read."""
        if now_ns - self._started_ns < PATIENCE_NS:
            return int(allowance.limit[0] * EARLY), int(allowance.limit[1] * EARLY)
        return shares.safe_share(allowance.limit, ASSUMED)
