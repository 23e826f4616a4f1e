"""Exchange of who issued which id, and for which key, between the nodes of a cluster.

An id that was issued through one node is the same key's on every other: it answers with 404 to somebody else's key
there, too. A node writes what is new every two seconds at most, all nodes together some four times a second, many ids
in one document. What was heard stays in the node's own table. A node without the store knows what it knew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.errors import LeaseGoneError, StoreRefusedError, StoreUnavailableError
from edge.regions import id_ring
from edge.regions.digest import name_of
from edge.regions.id_ring import ISSUED, Ring
from edge.terms.ports import Write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.clock import Clock
    from edge.cluster.follow import Held
    from edge.native import IssuedIds
    from edge.terms.ports import Store

LEASE_S: Final = 86_400.0
RENEW_NS: Final = 3_600_000_000_000
APART_NS: Final = 2_000_000_000
EACH_NODE_NS: Final = 250_000_000
"""A node waits for so long per node of the cluster, if that is longer."""
MOST_WRITTEN: Final = 8
"""Documents in one transaction: 2,048 ids."""


class IssuedSharing:
    """The ids of this node for the others, and theirs for this one.

    Args:
        table: the node's ids.
        store: the shared store.
        region: of this node.
        node: its name.
        clock: source of time.
    """

    def __init__(self, table: IssuedIds, store: Store, region: str, node: str, clock: Clock) -> None:
        self._table = table
        self._store = store
        self._me = name_of(region, node)
        self._clock = clock
        self._ring = Ring()
        self._mark = 0
        self._looked_ns = 0
        self._kept_ns = 0
        self._lease = 0
        self._stuck = -1  # the mark at which a record was not finished at the last look
        self._ours: dict[int, int] = {}  # this node's documents in the store: number, by place
        self._writing = False
        self.unread = 0

    def due(self, now_ns: int, nodes: int) -> bool:
        """Return whether to write now; looks for new ids if it is time to."""
        if self._writing or now_ns - self._looked_ns < max(APART_NS, nodes * EACH_NODE_NS):
            return False
        self._looked_ns = now_ns
        records, mark = self._table.made(self._mark)
        if mark == self._mark:
            records, mark = self._unstuck()
        self._ring.add(records)
        self._mark = mark
        return self._ring.due or (bool(self._ours) and now_ns - self._kept_ns >= RENEW_NS)

    def _unstuck(self) -> tuple[bytes, int]:
        """Return what follows a record that was not finished at the last look either: its writer has died."""
        records, mark = self._table.made(self._mark, patient=False)
        if self._mark in (mark, self._stuck):
            return records, mark
        self._stuck = self._mark
        return b"", self._mark

    async def write(self, nodes: int) -> None:
        """Write what is new, once; a failure is tried again later."""
        documents = self._ring.take(nodes, MOST_WRITTEN)
        kept = self._ours.keys() | documents.keys()
        gone = sorted(self._ours.keys() - documents.keys(), key=self._ours.__getitem__)
        gone = gone[: max(len(kept) - id_ring.places_of(nodes), 0)]
        self._writing = True
        try:
            if self._lease:
                await self._store.keep(self._lease)
            else:
                self._lease = await self._store.grant(LEASE_S)
            self._kept_ns = self._clock.now_ns()
            writes = [Write(id_ring.key_of(self._me, place), value, self._lease) for place, value in documents.items()]
            writes += [Write(id_ring.key_of(self._me, place), None) for place in gone]
            if writes:
                await self._store.txn((), writes)
        except LeaseGoneError:
            self._lease = 0
            self._ring.again()
        except (StoreUnavailableError, StoreRefusedError):
            return  # the heartbeat says that the store is gone or refuses
        else:
            self._ring.written(documents)
        finally:
            self._writing = False

    async def leave(self) -> None:
        """Write what is new before the node ends."""
        self._looked_ns = 0
        if self.due(self._clock.now_ns(), 1):
            await self.write(1)

    def take(self, changed: Mapping[str, Held | None]) -> None:
        """Learn what other nodes have told, and what this node itself did before it was started again."""
        now_s = int(self._clock.wall())
        for key, held in changed.items():
            if not key.startswith(ISSUED):
                continue
            found = id_ring.read_key(key)
            document = None if held is None else id_ring.decode(held.value)
            if found is None or (held is not None and document is None):
                self.unread += held is not None
                continue
            name, place = found
            if name == self._me:
                self._own(place, None if document is None else document[0])
            if document is not None:
                self._table.merge(document[1], now_s)

    def _own(self, place: int, number: int | None) -> None:
        """Note what of this node is in the store; what is gone and still wanted is written again."""
        if number is not None:
            self._ours[place] = number
            self._ring.begin_at(number + 1)
        elif self._ours.pop(place, None) is not None:
            self._ring.again()
