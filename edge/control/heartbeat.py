"""Does what this node tells reach the store?  Its digest under its lease: when it is due, and what becomes of a write.

A store may answer every question and take no writes (out of space, rights that only read): then the others find this
node silent while it hears them well. That has a line in the log and a place in the status of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.errors import LeaseGoneError, StoreRefusedError, StoreUnavailableError
from edge.regions import digest as told
from edge.regions.digest import HEARTBEAT_NS, LEASE_S, WRITE_APART_NS
from edge.telemetry import logs
from edge.terms.ports import Write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.clock import Clock
    from edge.regions.digest import Digest
    from edge.terms.ports import Store

_S: Final = 1_000_000_000
# After a write that failed: a half to two and a half seconds, so that edges that lost the store return one by one.
AGAIN_NS: Final = 2 * _S
# A store that is away fails writes before its watch is found dead; that is told once, by who follows it.
PATIENCE_NS: Final = 5 * _S


class Heartbeat:
    """Writes one node's digest.

    Args:
        store: where to.
        key: under which.
        clock: time and chance.
        proof: called with the beginning of each write that succeeded (monotonic ns).
        connected: tells whether the store answers questions.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        clock: Clock,
        *,
        proof: Callable[[int], None],
        connected: Callable[[], bool],
    ) -> None:
        self._store = store
        self._key = key
        self._clock = clock
        self._proof = proof
        self._connected = connected
        self._written: tuple[object, ...] | None = None  # the news of the last digest that was written
        self._started_ns = -HEARTBEAT_NS  # when the last write began
        self._again_ns = 0
        self._failing_ns: int | None = None  # since when none succeeded
        self._lease = 0
        self.writes = 0
        self.failures = 0
        self.first = 0
        """The revision of the first write that was acknowledged."""
        self.unwritten = ""
        """Why the store takes no writes though it answers: one sentence, empty while all is well."""

    def due(self, digest: Digest, now_ns: int, *, urgent: bool = False) -> bool:
        """Tell whether this digest should be written now: it has news, or what goes with it, or the last one is old."""
        due_ns = WRITE_APART_NS if urgent or told.news(digest) != self._written else HEARTBEAT_NS
        return now_ns >= max(self._started_ns + due_ns, self._again_ns)

    async def write(self, digest: Digest, now_ns: int, more: Sequence[Write] = ()) -> bool:
        """Write the digest once, and ``more`` with it, all or nothing; tell whether that is known to be done."""
        self._started_ns = now_ns
        try:
            if self._lease:
                await self._store.keep(self._lease)
            else:
                self._lease = await self._store.grant(LEASE_S)
            value = told.encode(digest)
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
            self._written = told.news(digest)
            self._failing_ns = None
            if self.unwritten:
                self.unwritten = ""
                logs.say(logs.INFO, "the shared store takes writes again")
            self._proof(now_ns)
            return True
        return False

    async def end(self) -> None:
        """Take the digest out of the store: this node serves no more."""
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
            sentence = "the shared store answers and takes no writes: the others find this node silent"
            logs.say(logs.WARNING, sentence, error=self.unwritten)
