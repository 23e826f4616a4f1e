"""A store in memory with the behaviour of etcd: revisions, leases, transactions, watches, compacted history.

One :class:`MemoryCluster` stands for all members of etcd, and each node has its own :class:`MemoryStore` as a client. A
node without etcd has a cluster of its own. The contract tests hold etcd to the behaviour specified here.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from edge import clock as real
from edge.cluster import bounds
from edge.errors import CompactedError, LeaseGoneError, StoreUnavailableError
from edge.terms.ports import Change, Item, Listing, Write

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from edge.clock import Clock
    from edge.terms.ports import Unchanged

HEARTBEAT_S: Final = 1.0
"""Seconds between the empty tuples of a watch without changes."""
LEAST_TTL_S: Final = 2.0
"""The shortest lease that etcd grants: one and a half of its election timeout."""
KEPT_REVISIONS: Final = 10_000
_NS: Final = 1_000_000_000


class _Lease:
    def __init__(self, ttl_s: float, ends_ns: int) -> None:
        self.ttl_s = ttl_s
        self.ends_ns = ends_ns
        self.keys: set[str] = set()


class MemoryCluster:
    """The stored keys and their history. Revisions begin at 1, that of the empty store, as in etcd."""

    def __init__(self, clock: Clock = real) -> None:
        self.clock = clock
        self.revision = 1
        self._items: dict[str, Item] = {}
        self._history: list[tuple[int, tuple[Change, ...]]] = []
        self._compacted = 0
        self._leases: dict[int, _Lease] = {}
        self._next_lease = 1
        self._waiting: dict[asyncio.Future[None], None] = {}  # in order: a set would wake them by their addresses

    def client(self) -> MemoryStore:
        """Return a client of this cluster."""
        return MemoryStore(self)

    def compact(self, revision: int) -> None:
        """Forget the history before ``revision``; a watch from there raises CompactedError."""
        self._compacted = max(self._compacted, min(revision, self.revision))
        self._history = [entry for entry in self._history if entry[0] >= self._compacted]

    def get(self, key: str) -> Item | None:
        """Return a key, or None if it does not exist."""
        self._expire()
        return self._items.get(key)

    def list(self, prefix: str) -> Listing:
        """Return all keys under a prefix, sorted."""
        self._expire()
        return Listing(tuple(self._items[key] for key in sorted(self._items) if key.startswith(prefix)), self.revision)

    def write(self, conditions: Sequence[Unchanged], writes: Sequence[Write]) -> int | None:
        """Apply all writes under one revision and return it, or None and no write if a condition fails."""
        bounds.check_txn(conditions, writes)
        self._expire()
        for condition in conditions:
            held = self._items.get(condition.key)
            if (held.revision if held is not None else 0) != condition.revision:
                return None
        for write in writes:
            if write.value is not None and write.lease:
                self._lease(write.lease)
        self._apply([write for write in writes if write.value is not None or write.key in self._items])
        return self.revision

    def since(self, prefix: str, revision: int) -> tuple[Sequence[tuple[Change, ...]], int]:
        """Return the changes under a prefix from a revision on, grouped by revision, and the revision to continue at.

        Raises:
            CompactedError: the history no longer reaches back to the revision.
        """
        self._expire()
        if revision < self._compacted:
            raise CompactedError(f"revision {revision} was compacted; the history begins at {self._compacted}")
        first = len(self._history)
        while first and self._history[first - 1][0] >= revision:
            first -= 1
        found = [tuple(change for change in made if change.key.startswith(prefix)) for _, made in self._history[first:]]
        return [changes for changes in found if changes], max(revision, self.revision + 1)

    async def wait(self, revision: int) -> None:
        """Wait until this revision exists, a lease expires, or the heartbeat is due."""
        if self.revision >= revision:
            return
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[change] = None
        now = self.clock.now_ns()
        ends = min((lease.ends_ns for lease in self._leases.values()), default=now + int(HEARTBEAT_S * _NS))
        timer = asyncio.ensure_future(self.clock.sleep(min(HEARTBEAT_S, max(0.0, (ends - now) / _NS))))
        try:
            await asyncio.wait((change, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.pop(change, None)
            timer.cancel()

    def wake(self) -> None:
        """Wake every watch."""
        for change in self._waiting:
            if not change.done():
                change.set_result(None)

    def grant(self, ttl_s: float) -> int:
        """Return a new lease."""
        bounds.check_ttl(ttl_s)
        ttl_s = max(ttl_s, LEAST_TTL_S)
        number, self._next_lease = self._next_lease, self._next_lease + 1
        self._leases[number] = _Lease(ttl_s, self.clock.now_ns() + int(ttl_s * _NS))
        return number

    def keep(self, lease: int) -> None:
        """Renew a lease for its full time."""
        self._expire()
        held = self._lease(lease)
        held.ends_ns = self.clock.now_ns() + int(held.ttl_s * _NS)

    def revoke(self, lease: int) -> None:
        """End a lease."""
        self._expire()
        self._end(lease)

    def _lease(self, number: int) -> _Lease:
        lease = self._leases.get(number)
        if lease is None:
            raise LeaseGoneError(f"lease {number:x} has expired")
        return lease

    def _expire(self) -> None:
        now = self.clock.now_ns()
        for number in [number for number, lease in self._leases.items() if lease.ends_ns <= now]:
            self._end(number)

    def _end(self, number: int) -> None:
        lease = self._leases.pop(number, None)
        if lease is not None:
            self._apply([Write(key, None) for key in sorted(lease.keys)])

    def _apply(self, writes: Sequence[Write]) -> None:
        if not writes:
            return
        self.revision += 1
        for write in writes:
            held = self._items.pop(write.key, None)
            if held is not None and held.lease in self._leases:
                self._leases[held.lease].keys.discard(write.key)
            if write.value is not None:
                self._items[write.key] = Item(write.key, write.value, self.revision, write.lease)
                if write.lease:
                    self._leases[write.lease].keys.add(write.key)
        self._history.append((self.revision, tuple(Change(write.key, write.value, self.revision) for write in writes)))
        if len(self._history) > 2 * KEPT_REVISIONS:
            self.compact(self._history[-KEPT_REVISIONS][0])
        self.wake()


class MemoryStore:
    """A client of a :class:`MemoryCluster`; implements ``edge.terms.ports.Store``."""

    def __init__(self, cluster: MemoryCluster | None = None) -> None:
        self.cluster = cluster if cluster is not None else MemoryCluster()
        self._closed = False

    async def get(self, key: str) -> Item | None:
        """Return a key, or None if it does not exist."""
        bounds.check_key(key)
        return self._open().get(key)

    async def list(self, prefix: str) -> Listing:
        """Return all keys under a prefix."""
        return self._open().list(prefix)

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        """Write a key, optionally under a lease; return the revision."""
        revision = self._open().write((), (Write(key, value, lease),))
        assert revision is not None  # noqa: S101  # there is no condition that could fail
        return revision

    async def delete(self, key: str) -> bool:
        """Delete a key; return False if it did not exist."""
        cluster = self._open()
        existed = cluster.get(key) is not None
        cluster.write((), (Write(key, None),))
        return existed

    async def txn(self, conditions: Sequence[Unchanged], writes: Sequence[Write]) -> int | None:
        """Apply all writes atomically if every condition holds and return the revision; else write nothing: None."""
        return self._open().write(conditions, writes)

    async def grant(self, ttl_s: float) -> int:
        """Return a new lease of at least :data:`LEAST_TTL_S` seconds."""
        return self._open().grant(ttl_s)

    async def keep(self, lease: int) -> None:
        """Renew a lease for its full time; raises LeaseGoneError if it has expired."""
        self._open().keep(lease)

    async def revoke(self, lease: int) -> None:
        """End a lease and delete its keys; a lease that does not exist is no error."""
        self._open().revoke(lease)

    async def watch(self, prefix: str, revision: int) -> AsyncGenerator[tuple[Change, ...], None]:
        """Yield the changes under a prefix from ``revision`` on, and an empty tuple every :data:`HEARTBEAT_S`."""
        while True:
            found, revision = self._open().since(prefix, revision)
            for changes in found or [()]:
                yield changes
            await self.cluster.wait(revision)

    async def close(self) -> None:
        """End the watches of this client."""
        self._closed = True
        self.cluster.wake()

    def _open(self) -> MemoryCluster:
        if self._closed:
            raise StoreUnavailableError("the store is closed")
        return self.cluster
