"""What may this node grant of a shared allowance now?  Keeps one node's part of each, through the store.

Driven twice a second. At most one transaction at a time for each allowance, at least APART_NS from the last, so that a
node writes little whatever its callers do. While the store is silent nothing here waits: the share is reckoned from
the time of the last heartbeat.
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
# Until the store has been heard for the first time a node takes little of what others may be granting, and after this
# long, when it seems that there is no store, what one of ASSUMED nodes would get.
PATIENCE_NS: Final = 3 * _S
EARLY: Final = 0.01
ASSUMED: Final = 3
TRIES: Final = 3


class Shared(Struct, frozen=True):
    """One allowance of ``scope: global``: ``name`` such as "key/team-a"; ``limit`` thousandths per minute, 0 = none.

    ``places``: the limit is of requests at once, and a node's grant may be none of them.
    """

    name: str
    limit: Pair
    places: bool = False


class Silence(Struct, frozen=True):
    """Since when nothing was heard of a node, and the revision of its digest that we hold (0: it has none).

    ``doubt_ns``: since when it may have been silent, where what we hold of it stood there before we could see it.
    """

    silent_ns: int
    revision: int
    doubt_ns: int = 0


class ShareKeeper:
    """Keeps this node's shares.

    Args:
        store: where the ledgers are.
        region: ours.
        node: this one.
        clock: time and chance.
    """

    def __init__(self, store: Store, region: str, node: str, clock: Clock) -> None:
        self._store = store
        self._me = name_of(region, node)
        self._clock = clock
        self._started_ns = clock.now_ns()
        self._proof_ns: int | None = None  # when the last heartbeat that succeeded was begun
        self._sight_ns = clock.now_ns()  # when the others were last seen
        self._granted: dict[str, Pair] = {}  # by allowance; what the ledger says, less what is being given up
        self._safe: dict[str, Pair] = {}
        self._next_ns: dict[str, int] = {}
        self._revision: dict[str, int] = {}  # of the ledger that was last written or read here
        self._doubted: set[str] = set()  # allowances whose ledger must be read before it is believed
        self.name_conflict = False
        """Whether another node goes by our name: what one may use, two must share, and neither moves it."""
        self.moves = 0
        """Transactions that were made."""
        self.conflicts = 0
        """Transactions that another node's came before."""

    def beat(self, started_ns: int) -> None:
        """Take note of a heartbeat that was begun then and succeeded.

        Whoever was silent for too long has to read the ledger before it uses more than the least of what it was
        granted and what is its safe share: others may have taken the grant.
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
        """Take note that the copy of the store is alive: whoever falls silent now is noticed."""
        self._sight_ns = self._clock.now_ns()

    def share(self, allowance: Shared) -> Pair:
        """Return what this node may grant now.

        Of a rate never 0 where there is a bound: 0 means all of it on the shared state. Of requests at once a node
        that hears the others may have none; one that is by itself lets in one, though that may be one too many.
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
        elif now_ns - self._sight_ns > shares.SILENT_NS:  # others count the grant, and may use their safe shares
            safe = self._safe.get(allowance.name, grant)
            grant = (min(grant[0], safe[0]), min(grant[1], safe[1]))
        elif allowance.places:
            least = 0
        pair = [max(min(grant[kind], allowance.limit[kind]), least) if allowance.limit[kind] else 0 for kind in BOTH]
        return pair[0], pair[1]

    def until_ns(self) -> int:
        """Return until when shares that are told now hold (monotonic ns).

        A grant ends with the heartbeats. A safe share, and what is granted before anything was heard, end later only
        because control says so again meanwhile; what follows them is no more.
        """
        now_ns = self._clock.now_ns()
        if self._proof_ns is None or not self._holds(now_ns):
            return now_ns + HELD_NS
        return self._proof_ns + HELD_NS

    def nodes(self, allowance: Shared) -> int:
        """Return how many nodes share it as far as is known: one part in so many is the safe share."""
        safe = self._safe.get(allowance.name)
        for kind in BOTH:
            if safe is not None and safe[kind]:
                return max(allowance.limit[kind] // safe[kind], 1) * (2 if self.name_conflict else 1)
        return ASSUMED

    def joined(self, name: str) -> bool:
        """Tell whether this node stands in the ledger of an allowance."""
        return name in self._granted

    def holds(self) -> bool:
        """Tell whether grants hold; else shares are the safe ones."""
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
        """Move this node's grant if that is worth it.

        Args:
            allowance: which.
            want: what is asked of this node, thousandths per minute.
            held: its ledger as it was last seen, and that revision (0: there is none).
            silences: of every other node that is known or stands in the ledger.
            now_used: called with the share whenever it changes; what is given up is not used before it is told.
            used: requests at once that run now: they cannot be given away.
        """
        name, now_ns = allowance.name, self._clock.now_ns()
        if not self._holds(now_ns) or self.name_conflict or self._next_ns.get(name, 0) > now_ns:
            return
        try:
            if name in self._doubted or held[1] < self._revision.get(name, 0):  # the copy may be older than we are
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
            return  # later, by what is held then

    async def leave(self, allowance: Shared) -> None:
        """Give this node's entry up: it serves no more. What fails is left to the others to take."""
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
        """Make one transaction; False when another came before."""
        name, entry = allowance.name, move.shares.nodes[self._me]
        if name in self._granted:  # given up before it is told, so that nobody grants the same twice
            before = self._granted[name]
            self._granted[name] = (min(before[0], move.part[0]), min(before[1], move.part[1]))
            now_used(self.share(allowance))
        conditions = [Unchanged(SHARES + name, revision)]
        conditions += [Unchanged(NODES + node, silences[node].revision) for node in move.silent]
        self._doubted.add(name)  # until the answer is here: a store that does not answer may have done it
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
        """Believe the ledger about this node's own entry, which nobody else raises."""
        entry = ledger.nodes.get(self._me)
        if entry is not None and not entry.taken:
            use = entry.grant
            if allowance.places and shares.waiting(ledger, self._me, 0, allowance.limit):
                use = (min(use[0], move.part[0]), 0)  # what ends is for those who wait
            self._granted[allowance.name], self._safe[allowance.name] = use, entry.safe
            now_used(self.share(allowance))

    def _holds(self, now_ns: int) -> bool:
        return self._proof_ns is not None and now_ns - self._proof_ns <= HELD_NS

    def _unheard(self, allowance: Shared, now_ns: int) -> Pair:
        """Return what to grant while nothing was ever heard of the ledger."""
        if now_ns - self._started_ns < PATIENCE_NS:
            return int(allowance.limit[0] * EARLY), int(allowance.limit[1] * EARLY)
        return shares.safe_share(allowance.limit, ASSUMED)
