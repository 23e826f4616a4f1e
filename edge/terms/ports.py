"""What may rooms ask of what lies outside this process?  Ports: the shapes that adapters fill in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence


class Item(Struct, frozen=True):
    """A key as it stands. ``revision`` is that of its last change; 0 never occurs. ``lease`` 0: none."""

    key: str
    value: bytes
    revision: int
    lease: int = 0


class Listing(Struct, frozen=True):
    """Every key under a prefix at one revision of the whole store; a watch goes on at ``revision + 1``."""

    items: tuple[Item, ...]
    revision: int


class Change(Struct, frozen=True):
    """One change of a key; ``value`` None: it was deleted (by hand, or its lease ran out)."""

    key: str
    value: bytes | None
    revision: int


class Unchanged(Struct, frozen=True):
    """A condition: the key's last change is ``revision``; 0: it does not exist."""

    key: str
    revision: int


class Write(Struct, frozen=True):
    """One write of a transaction; ``value`` None deletes."""

    key: str
    value: bytes | None
    lease: int = 0


class Store(Protocol):
    """What edges of all regions agree through. Every call is bounded in time, and keys begin without a slash.

    ``edge.errors`` has the errors that every call may raise: StoreUnavailableError (nobody answered in time, no
    majority, no room), StoreRefusedError (credentials, rights), CompactedError (of a watch: list again) and
    LeaseGoneError. What no store can hold (``edge.cluster.bounds``) is a ValueError.
    """

    async def get(self, key: str) -> Item | None:
        """Return a key as it stands."""

    async def list(self, prefix: str) -> Listing:
        """Return every key under a prefix."""

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        """Write a key, under a lease if one is given; return the revision."""

    async def delete(self, key: str) -> bool:
        """Delete a key; False if it did not exist."""

    async def txn(self, conditions: Sequence[Unchanged], writes: Sequence[Write]) -> int | None:
        """Make all writes at once if every condition holds; return the revision. None, and no write, if one fails."""

    async def grant(self, ttl_s: float) -> int:
        """Return a new lease: its keys are deleted ``ttl_s`` seconds after it was last kept, or somewhat later."""

    async def keep(self, lease: int) -> None:
        """Keep a lease for its whole time from now on. LeaseGoneError when it has run out."""

    async def revoke(self, lease: int) -> None:
        """End a lease and delete its keys; one that is gone is no error."""

    def watch(self, prefix: str, revision: int) -> AsyncGenerator[tuple[Change, ...], None]:
        """Yield the changes under a prefix from ``revision`` on, in order, those of one transaction together.

        An empty tuple says that the watch is alive and has nothing: it comes about once a second, so that silence of
        some seconds never goes unnoticed. Raises CompactedError where history is gone and StoreUnavailableError where
        the watch broke; the caller lists again. Who stops early closes it (``contextlib.aclosing``).
        """

    async def close(self) -> None:
        """Let go of connections; watches end."""
