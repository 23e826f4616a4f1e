"""The heartbeat of a node: writes its digest to the store under a lease, and tracks failed writes.

A store may answer reads and reject writes (out of space, read-only permissions). Then this node sees the others while
it looks silent to them; this case has a log line and a field in the status of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.errors import LeaseGoneError, StoreRefusedError, StoreUnavailableError
from edge.regions import digest as digests
from edge.regions.digest import HEARTBEAT_NS, LEASE_S, WRITE_APART_NS
from edge.telemetry import logs
from edge.terms.ports import Write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.clock import Clock
    from edge.regions.digest import Digest
    from edge.terms.ports import Store

_S: Final = 1_000_000_000
# Delay after a failed write: half to two and a half seconds, so that nodes that lost the store return one by one.
AGAIN_NS: Final = 2 * _S
# If the store is down, writes fail before the watch is found dead. The follower reports that; this module waits.
PATIENCE_NS: Final = 5 * _S


class Heartbeat:
    """Writes the digest of one node.

    Args:
        store: the store.
        key: key of the digest.
        clock: source of time and randomness.
        on_write: called with the start time (monotonic ns) of each write that succeeded.
        connected: returns whether the store answers reads.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        clock: Clock,
        *,
        on_write: Callable[[int], None],
        connected: Callable[[], bool],
    ) -> None:
        self._store = store
        self._key = key
        self._clock = clock
        self._on_write = on_write
        self._connected = connected
        self._written: tuple[object, ...] | None = None  # news() of the last digest that was written
        self._started_ns = -HEARTBEAT_NS  # start of the last write
        self._again_ns = 0
        self._failing_ns: int | None = None  # time of the first failure since the last success
        self._lease = 0
        self.writes = 0
        self.failures = 0
        self.first = 0
        """Revision of the first acknowledged write; 0: none was."""
        self.unwritten = ""
        """Why the store rejects writes although it answers reads: one sentence; empty if it accepts them."""

    def due(self, digest: Digest, now_ns: int, *, urgent: bool = False) -> bool:
        """Return whether to write now: the digest has news, the caller has (``urgent``), or the heartbeat is due."""
        due_ns = WRITE_APART_NS if urgent or digests.news(digest) != self._written else HEARTBEAT_NS
        return now_ns >= max(self._started_ns + due_ns, self._again_ns)

    async def write(self, digest: Digest, now_ns: int, more: Sequence[Write] = ()) -> bool:
        """Write the digest, and ``more`` with it atomically; return whether the write is known to have succeeded."""
        self._started_ns = now_ns
        try:
            if self._lease:
                await self._store.keep(self._lease)
            else:
                self._lease = await self._store.grant(LEASE_S)
            value = digests.encode(digest)
            if more:
                revision = await self._store.txn((), (Write(self._key, value, self._lease), *more))
            else:
                revision = await self._store.put(self._key, value, lease=self._lease)
        except LeaseGoneError:
            self._lease, self._again_ns = 0, 0
            self._started_ns = now_ns - HEARTBEAT_NS
        except (StoreUnavailableError, StoreRefusedError) as error:
            self._failed(error, now_ns)
        else:
            self.writes += 1
            self.first = self.first or revision or 0
            self._written = digests.news(digest)
            self._failing_ns = None
            if self.unwritten:
                self.unwritten = ""
                logs.say(logs.INFO, "the shared store accepts writes again")
            self._on_write(now_ns)
            return True
        return False

    async def end(self) -> None:
        """Delete the digest, because this node stops serving."""
        if self._lease:
            await self._store.revoke(self._lease)

    def _failed(self, error: Exception, started_ns: int) -> None:
        now_ns = self._clock.now_ns()
        self.failures += 1
        self._again_ns = now_ns + int(AGAIN_NS * (0.25 + self._clock.random()))
        self._started_ns = started_ns - HEARTBEAT_NS
        if self._failing_ns is None:
            self._failing_ns = now_ns
        elif not self.unwritten and now_ns - self._failing_ns >= PATIENCE_NS and self._connected():
            self.unwritten = str(error)
            sentence = "the shared store answers reads but rejects writes: this node looks silent to the others"
            logs.say(logs.WARNING, sentence, error=self.unwritten)
