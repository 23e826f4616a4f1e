"""Ports: the interfaces behind which external systems stand, for adapters to implement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence


class Item(Struct, frozen=True):
    """A key and its value. ``revision`` is that of its last change, never 0; ``lease`` 0 means none."""

    key: str
    value: bytes
    revision: int
    lease: int = 0


class Listing(Struct, frozen=True):
    """All keys under a prefix at one revision of the whole store; a watch continues at ``revision + 1``."""

    items: tuple[Item, ...]
    revision: int


class Change(Struct, frozen=True):
    """A change of one key; ``value`` None means that it was deleted, by a client or because its lease expired."""

    key: str
    value: bytes | None
    revision: int


class Unchanged(Struct, frozen=True):
    """A condition: the key was last changed at ``revision``; 0 means that it does not exist."""

    key: str
    revision: int


class Write(Struct, frozen=True):
    """A write within a transaction; ``value`` None deletes the key."""

    key: str
    value: bytes | None
    lease: int = 0


class Store(Protocol):
    """The key-value store through which the edges of all regions agree.

    Every call is bounded in time. Keys do not begin with a slash. Any call may raise an error of ``edge.errors``:
    StoreUnavailableError (no answer in time, no majority, no space), StoreRefusedError (credentials, permissions),
    CompactedError (from a watch: list again) or LeaseGoneError. A key or value that exceeds ``edge.cluster.bounds``
    raises ValueError.
    """

    async def get(self, key: str) -> Item | None:
        """Return a key, or None if it does not exist."""

    async def list(self, prefix: str) -> Listing:
        """Return all keys under a prefix."""

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        """Write a key, under a lease if one is given, and return the revision."""

    async def delete(self, key: str) -> bool:
        """Delete a key; return False if it did not exist."""

    async def txn(self, conditions: Sequence[Unchanged], writes: Sequence[Write]) -> int | None:
        """Apply all writes atomically if every condition holds and return the revision; otherwise return None."""

    async def grant(self, ttl_s: float) -> int:
        """Return a new lease: its keys are deleted ``ttl_s`` seconds, or slightly more, after its last renewal."""

    async def keep(self, lease: int) -> None:
        """Renew a lease for its full duration from now on; raise LeaseGoneError if it has expired."""

    async def revoke(self, lease: int) -> None:
        """Revoke a lease and delete its keys; a lease that no longer exists is no error."""

    def watch(self, prefix: str, revision: int) -> AsyncGenerator[tuple[Change, ...], None]:
        """Yield the changes under a prefix from ``revision`` on, in order, those of one transaction together.

        About once a second an empty tuple reports that the watch is alive without changes, so that a caller notices a
        silence of some seconds. A caller that stops early closes the generator (``contextlib.aclosing``).

        Raises:
            CompactedError: the store no longer has the history; list again.
            StoreUnavailableError: the watch broke; list again.
        """

    async def close(self) -> None:
        """Close the connections; watches end."""
