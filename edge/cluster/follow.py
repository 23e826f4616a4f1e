"""What stands under a prefix of the store, as far as we know?  A copy, kept by a loop that does not trust its watch.

List; watch from the next revision on; and when the watch breaks, when its history is gone, and every minute in any
case, list again and compare. The minute is constant work on purpose: etcd says that a watch in an unhealthy cluster may
never deliver, and lists of known defects name watches that lost events or went back in time (etcd's
tests/robustness/README). Whatever a watch did, the copy is right a minute later.

A key says nothing about being fresh: when etcd changes its leader it extends all leases, so keys of the dead linger.
``Held.seen_ns`` tells by our own clock when a key was last written, as far as we saw.
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
# A watch that ends sooner than this has proved nothing: the wait before the next one goes on growing.
PROVED_S: Final = 5.0
FOREVER_NS: Final = 2**62
_NS: Final = 1_000_000_000


class Held(Struct, frozen=True):
    """A key as we hold it.

    ``seen_ns`` is when this revision of it reached us, by our own monotonic clock; ``blind_ns`` for how long before it
    may have stood there already: 0 for what a watch told, FOREVER_NS for what was found when nothing was known.
    """

    value: bytes
    revision: int
    seen_ns: int
    blind_ns: int = 0


class Follower:
    """Keeps ``held`` like the store's keys under ``prefix``, by name without the prefix, while :meth:`run` runs.

    Args:
        store: where to look.
        prefix: of the keys to hold.
        on_change: told after each change what changed, by name; None: the key is gone. It must not raise; what it
            raises is logged, and the copy goes on.
        clock: time and chance.
        relist_s: seconds between full comparisons, give or take a fifth.
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
        """That of the store up to which ``held`` is complete, as far as its watch was honest."""
        self.connected = False
        """Whether the store answers now."""
        self.error = ""
        """Why it does not: one sentence, empty while it does."""
        self.relists = 0
        """How often everything was listed and compared, the first time included."""
        self.errors = 0
        """How often a list failed or a watch broke."""

    @property
    def held(self) -> Mapping[str, Held]:
        """What stands under the prefix, by name without it: a live view that is not to be written."""
        return MappingProxyType(self._held)

    def age_s(self) -> float:
        """Return the seconds since the store last proved that ``held`` is what it has; infinity before it ever did."""
        return math.inf if self._alive_ns is None else (self._clock.now_ns() - self._alive_ns) / _NS

    async def run(self) -> None:
        """Follow until cancelled."""
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
            # Full jitter: the edges of a region that lost the store together do not come back together.
            await self._clock.sleep(wait * self._clock.random())
            wait = min(2 * wait, LONGEST_WAIT_S)

    async def _watch(self, revision: int) -> None:
        """Take what the watch gives until it is time to compare."""
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
        """Make ``held`` what was listed.

        A store that has gone back (restored, wiped) is believed too: there is no other truth to wait for. But when its
        keys were written, nobody knows.
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
                logs.say(logs.INFO, "the shared store answers again", prefix=self._prefix)
            self.error = ""

    def _lost(self, error: Exception) -> None:
        self.errors += 1
        if self.connected or not self.error:
            logs.say(logs.WARNING, "the shared store does not answer; going by what is known", error=str(error))
        self.connected = False
        self.error = str(error)

    def _tell(self, changed: Mapping[str, Held | None]) -> None:
        if not changed or self._on_change is None:
            return
        try:
            self._on_change(changed)
        except Exception as error:  # noqa: BLE001  # a listener's defect must not end the copy that others read
            logs.say_failure("a change of the shared store was not understood", error, prefix=self._prefix)
