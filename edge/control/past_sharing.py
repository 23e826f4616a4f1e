"""Exchange of history between nodes: each publishes its last minutes in the store, and takes those of the others.

A node writes once a minute in which something happened, under a lease of an hour of its own, so that what a node has
told outlives it for those who were away. Whatever fails here is tried again with the next minute, and touches neither
the heartbeat nor the data path. What was taken is noted in the history together with its rows: a control process that
is started again takes nothing twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.errors import LeaseGoneError, StoreRefusedError, StoreUnavailableError
from edge.incidents.minutes import MINUTE_S
from edge.incidents.told_minutes import (
    AGAIN_MINUTES,
    HISTORY,
    OLDEST_MINUTES,
    TellRow,
    decode,
    encode,
    fresh,
    row_of,
    told,
)
from edge.regions.digest import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge.clock import Clock
    from edge.cluster.follow import Held
    from edge.incidents.database import Action
    from edge.incidents.incident import Incident
    from edge.incidents.minutes import Row, Series
    from edge.incidents.told_minutes import ToldMinutes
    from edge.terms.ports import Store

LEASE_S: Final = 3600.0
AGAIN_NS: Final = 10_000_000_000
"""Pause after a write that failed."""
MOST_SERIES: Final = 5_000
"""Series of other nodes that one control process takes; with further ones the file would grow without an end."""


class Mark(Struct, frozen=True):
    """Up to which minute the rows of a node's control process were taken."""

    node: str  # REGION/NODE
    instance: str
    at: int


class PastSharing:
    """The history of this node for the others, and theirs for this one. It does nothing before :meth:`begin`.

    Args:
        store: the shared store.
        region: of this node.
        node: its name.
        instance: of this control process.
        clock: source of time.
    """

    def __init__(self, store: Store, region: str, node: str, instance: str, clock: Clock) -> None:
        self._store = store
        self._me = name_of(region, node)
        self._instance = instance
        self._clock = clock
        self._rows: list[TellRow] = []
        self._acknowledged = 0  # the last minute that the store has taken
        self._written_ns = 0  # when the last write began
        self._lease = 0
        self._marks: dict[str, Mark] = {}
        self._series: set[Series] = set()
        self._take: Callable[[Sequence[Row], Mark], None] | None = None
        self._hear: Callable[[str, ToldMinutes], None] | None = None
        self._incidents: tuple[Incident, ...] = ()
        self._actions: tuple[Action, ...] = ()
        self._news = False  # incidents or actions that the store has not taken
        self.unread = 0

    def begin(
        self,
        marks: Mapping[str, Mark],
        take: Callable[[Sequence[Row], Mark], None],
        hear: Callable[[str, ToldMinutes], None] | None = None,
    ) -> None:
        """Exchange from now on.

        Args:
            marks: what was taken before, by node.
            take: called with rows of another node, and the mark to note with them.
            hear: called with another node's name and document, for the incidents and actions in it.
        """
        self._hear = hear
        self._marks = dict(marks)
        self._take = take

    def offer(self, rows: Sequence[Row]) -> None:
        """Tell the others these rows of a minute that is over."""
        if self._take is not None and rows:
            oldest = max(minute.at for _, minute in rows) - OLDEST_MINUTES // 2
            self._rows = [row for row in (*self._rows, *told(rows)) if row.at > oldest]

    def tell(self, incidents: Sequence[Incident], actions: Sequence[Action]) -> None:
        """Tell the others these incidents and actions of this node from now on, in place of those before."""
        if self._take is not None and (tuple(incidents), tuple(actions)) != (self._incidents, self._actions):
            self._incidents, self._actions = tuple(incidents), tuple(actions)
            self._news = True

    def due(self, now_ns: int) -> bool:
        """Return whether to write now."""
        pending = self._news or (bool(self._rows) and self._rows[-1].at > self._acknowledged)
        return pending and now_ns - self._written_ns >= AGAIN_NS

    async def write(self, now_ns: int) -> None:
        """Write the document once; a failure is tried again later."""
        self._written_ns = now_ns
        last = self._rows[-1].at if self._rows else self._acknowledged
        self._news = False
        known = min(self._acknowledged, last) - AGAIN_MINUTES
        body = encode(self._instance, [row for row in self._rows if row.at > known], self._incidents, self._actions)
        try:
            if self._lease:
                await self._store.keep(self._lease)
            else:
                self._lease = await self._store.grant(LEASE_S)
            await self._store.put(HISTORY + self._me, body, lease=self._lease)
        except LeaseGoneError:
            self._lease = 0
            self._news = True
        except (StoreUnavailableError, StoreRefusedError):
            self._news = True
            return  # the heartbeat says that the store is gone or refuses
        else:
            self._acknowledged = max(self._acknowledged, last)

    def take(self, changed: Mapping[str, Held | None]) -> None:
        """Take what other nodes have told; None: the document is gone."""
        for key, held in changed.items():
            if key.startswith(HISTORY) and held is not None and key != HISTORY + self._me:
                self._take_one(key.removeprefix(HISTORY), held.value)

    def _take_one(self, name: str, body: bytes) -> None:
        document = decode(body)
        region, slash, node = name.partition("/")
        if document is None or not (slash and region and node and name.isprintable()) or self._take is None:
            self.unread += document is None
            return
        known = self._marks.get(name)
        after = known.at if known is not None and known.instance == document.instance else 0
        found = fresh(document, after, int(self._clock.wall() // MINUTE_S))
        rows = [row for row in (row_of(each, region) for each in found) if self._has_room(row[0])]
        if rows:
            mark = Mark(name, document.instance, max(row.at for row in found))
            self._marks[name] = mark
            self._take(rows, mark)
        if self._hear is not None and (document.incidents or document.actions):
            self._hear(name, document)

    def _has_room(self, series: Series) -> bool:
        if series not in self._series:
            if len(self._series) >= MOST_SERIES:
                self.unread += 1
                return False
            self._series.add(series)
        return True
