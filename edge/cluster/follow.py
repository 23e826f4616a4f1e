"""A local copy of the keys under a prefix of the store, kept by a loop that does not rely on its watch alone.

The loop lists the keys and watches from the next revision on. It lists again and compares when the watch breaks, when
the watch's history is compacted, and every minute in any case. The minute is constant work on purpose: according to
etcd, a watch in an unhealthy cluster may never deliver, and its lists of known defects name watches that lost events or
went back in time (etcd's tests/robustness/README). Whatever a watch did, the copy is correct a minute later.

A key's existence does not show that its writer is alive: etcd extends all leases when its leader changes, so keys of
dead nodes linger. ``Held.seen_ns`` is the local time at which the key's last write was seen.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import aclosing
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge import clock as real
from edge.errors import CompactedError, StoreRefusedError, StoreUnavailableError
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.clock import Clock
    from edge.terms.ports import Change, Listing, Store

RELIST_S: Final = 60.0
RELIST_JITTER: Final = 0.2
FIRST_WAIT_S: Final = 0.1
LONGEST_WAIT_S: Final = 5.0
# A watch that ends sooner than this did not prove that the store works, so the wait keeps growing.
PROVED_S: Final = 5.0
FOREVER_NS: Final = 2**62
_NS: Final = 1_000_000_000


class Held(Struct, frozen=True):
    """A key in the local copy.

    ``seen_ns`` is the monotonic time at which this revision arrived. ``blind_ns`` is how long before that it may have
    been written already: 0 for an event of a watch, FOREVER_NS for a key found by the first list.
    """

    value: bytes
    revision: int
    seen_ns: int
    blind_ns: int = 0


class Follower:
    """Keeps ``held`` equal to the store's keys under ``prefix`` while :meth:`run` runs; names lack the prefix.

    Args:
        store: the store to follow.
        prefix: prefix of the keys.
        on_change: called after each change with the changed keys by name; None: the key was deleted. An exception
            that it raises is logged and otherwise ignored.
        clock: source of time and randomness.
        relist_s: seconds between full comparisons, plus or minus a fifth.
    """

    def __init__(
        self,
        store: Store,
        prefix: str,
        on_change: Callable[[Mapping[str, Held | None]], None] | None = None,
        *,
        clock: Clock = real,
        relist_s: float = RELIST_S,
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._on_change = on_change
        self._clock = clock
        self._relist_s = relist_s
        self._held: dict[str, Held] = {}
        self._alive_ns: int | None = None
        self.revision = 0
        """Revision of the store up to which ``held`` is complete, provided that the watch lost nothing."""
        self.connected = False
        """Whether the store responds at present."""
        self.error = ""
        """Why it does not respond: one sentence; empty while it does."""
        self.relists = 0
        """Number of full lists, the first included."""
        self.errors = 0
        """Number of failed lists and broken watches."""

    @property
    def held(self) -> Mapping[str, Held]:
        """The keys under the prefix, by name without it: a live, read-only view."""
        return MappingProxyType(self._held)

    def age_s(self) -> float:
        """Return the seconds since ``held`` was last known to be current; infinity if it never was."""
        return math.inf if self._alive_ns is None else (self._clock.now_ns() - self._alive_ns) / _NS

    async def run(self) -> None:
        """Follow the store until cancelled."""
        wait = FIRST_WAIT_S
        while True:
            began = self._clock.now_ns()
            try:
                listing = await self._store.list(self._prefix)
                self._compare(listing)
                await self._watch(listing.revision + 1)
                wait = FIRST_WAIT_S
                continue
            except CompactedError:
                self.errors += 1
            except (StoreUnavailableError, StoreRefusedError) as error:
                self._lost(error)
            if self._clock.now_ns() - began > PROVED_S * _NS:
                wait = FIRST_WAIT_S
            # Full jitter: nodes that lost the store together must not all reconnect together.
            await self._clock.sleep(wait * self._clock.random())
            wait = min(2 * wait, LONGEST_WAIT_S)

    async def _watch(self, revision: int) -> None:
        """Apply the events of a watch until the next comparison is due."""
        timer = asyncio.ensure_future(
            self._clock.sleep(self._relist_s * (1 + RELIST_JITTER * (2 * self._clock.random() - 1)))
        )
        step: asyncio.Future[tuple[Change, ...]] | None = None
        stream = self._store.watch(self._prefix, revision)
        try:
            async with aclosing(stream):
                try:
                    while True:
                        step = asyncio.ensure_future(anext(stream))
                        await asyncio.wait((step, timer), return_when=asyncio.FIRST_COMPLETED)
                        if not step.done():
                            return
                        try:
                            changes = step.result()
                        except StopAsyncIteration:
                            raise StoreUnavailableError("the watch ended") from None
                        self._take(changes)
                        if timer.done():
                            return
                finally:
                    if step is not None and not step.done():
                        step.cancel()
                        await asyncio.wait((step,))
        finally:
            timer.cancel()

    def _take(self, changes: tuple[Change, ...]) -> None:
        self._proved()
        fresh = [change for change in changes if change.revision > self.revision]
        if not fresh:
            return
        changed: dict[str, Held | None] = {}
        for change in fresh:
            name = change.key.removeprefix(self._prefix)
            if change.value is None:
                if self._held.pop(name, None) is not None:
                    changed[name] = None
            else:
                held = Held(change.value, change.revision, self._clock.now_ns())
                self._held[name] = changed[name] = held
        self.revision = max(change.revision for change in fresh)
        self._tell(changed)

    def _compare(self, listing: Listing) -> None:
        """Make ``held`` equal to a listing.

        The listing also counts if the store has gone back (restored, wiped), since there is no other source. Then the
        time at which its keys were written is unknown.
        """
        self.relists += 1
        now = self._clock.now_ns()
        known = self._alive_ns is not None and listing.revision >= self.revision
        blind_ns = now - self._alive_ns if known and self._alive_ns is not None else FOREVER_NS
        self._proved()
        listed = {item.key.removeprefix(self._prefix): item for item in listing.items}
        changed: dict[str, Held | None] = {name: None for name in self._held if name not in listed}
        for name, item in listed.items():
            held = self._held.get(name)
            if held is None or held.revision != item.revision or held.value != item.value:
                changed[name] = Held(item.value, item.revision, now, blind_ns)
        for name, now_held in changed.items():
            if now_held is None:
                del self._held[name]
            else:
                self._held[name] = now_held
        self.revision = listing.revision
        self._tell(changed)

    def _proved(self) -> None:
        self._alive_ns = self._clock.now_ns()
        if not self.connected:
            self.connected = True
            if self.error:
                logs.say(logs.INFO, "the shared store responds again", prefix=self._prefix)
            self.error = ""

    def _lost(self, error: Exception) -> None:
        self.errors += 1
        if self.connected or not self.error:
            logs.say(logs.WARNING, "the shared store does not respond; using the last known state", error=str(error))
        self.connected = False
        self.error = str(error)

    def _tell(self, changed: Mapping[str, Held | None]) -> None:
        if not changed or self._on_change is None:
            return
        try:
            self._on_change(changed)
        except Exception as error:  # noqa: BLE001  # a defect in the callback must not end the copy, which others use
            logs.say_failure("handling a change of the shared store failed", error, prefix=self._prefix)
