"""A store with faults: it wraps another one, and can be silent, unavailable, or deliver wrong watch events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge import clock as real
from edge.errors import CompactedError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from edge.clock import Clock
    from edge.terms.ports import Change, Item, Listing, Store, Unchanged, Write

CALL_S = 2.0


class FaultyStore:
    """Wraps the store of one edge with faults that can be set at any time; other edges keep their own stores.

    ``cut``: calls fail after their deadline and watches break, as behind a black hole.
    ``refusing``: calls fail at once, as on a host without etcd.
    ``bend``: a function that changes each batch of a watch before it is yielded: lose, repeat, reorder.
    """

    def __init__(self, store: Store, clock: Clock = real) -> None:
        self._store = store
        self._clock = clock
        self._break: Exception | None = None
        self.cut = False
        self.refusing = False
        self.bend: Callable[[tuple[Change, ...]], Sequence[tuple[Change, ...]]] | None = None
        self.calls = 0

    def break_watches(self, *, compacted: bool = False) -> None:
        """End the open watch at its next batch."""
        self._break = (
            CompactedError("the history is gone") if compacted else StoreUnavailableError("the watch was broken")
        )

    async def get(self, key: str) -> Item | None:
        """Return a key, or None if it does not exist."""
        await self._pass()
        return await self._store.get(key)

    async def list(self, prefix: str) -> Listing:
        """Return all keys under a prefix."""
        await self._pass()
        return await self._store.list(prefix)

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        """Write a key."""
        await self._pass()
        return await self._store.put(key, value, lease=lease)

    async def delete(self, key: str) -> bool:
        """Delete a key."""
        await self._pass()
        return await self._store.delete(key)

    async def txn(self, conditions: Sequence[Unchanged], writes: Sequence[Write]) -> int | None:
        """Apply all writes atomically if every condition holds."""
        await self._pass()
        return await self._store.txn(conditions, writes)

    async def grant(self, ttl_s: float) -> int:
        """Return a new lease."""
        await self._pass()
        return await self._store.grant(ttl_s)

    async def keep(self, lease: int) -> None:
        """Renew a lease."""
        await self._pass()
        await self._store.keep(lease)

    async def revoke(self, lease: int) -> None:
        """Revoke a lease."""
        await self._pass()
        await self._store.revoke(lease)

    async def watch(self, prefix: str, revision: int) -> AsyncGenerator[tuple[Change, ...], None]:
        """Yield the changes under a prefix, as ``bend`` changes them."""
        await self._pass()
        self._break = None
        async for batch in self._store.watch(prefix, revision):
            await self._pass()
            self._end()
            for bent in self.bend(batch) if self.bend is not None else (batch,):
                yield bent

    async def close(self) -> None:
        """Close the wrapped store."""
        await self._store.close()

    def _end(self) -> None:
        if self._break is not None:
            raise self._break

    async def _pass(self) -> None:
        self.calls += 1
        if self.cut:
            await self._clock.sleep(CALL_S)
        if self.cut or self.refusing:
            raise StoreUnavailableError("no answer in time" if self.cut else "connection refused")
