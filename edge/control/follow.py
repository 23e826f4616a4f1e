"""How does a worker keep up with control, and live without it?  It connects, listens, and connects again for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from edge import clock
from edge.control import frames
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.terms.snapshot import Snapshot
    from edge.terms.trace import ExchangeRecord

# Control is restarted within a second; the socket queues connects meanwhile, so these waits matter only when it stays
# away, and jitter keeps many workers from arriving at once.
FIRST_WAIT_S: Final = 0.05
LONGEST_WAIT_S: Final = 2.0
# Records that control has not read by then are dropped: it stands still, or has too much to do.
MOST_UNREAD: Final = 1024 * 1024


class Follower:
    """Follows control at ``path``: calls ``learn(snapshot)`` for each Snapshot, then reports what is served.

    ``learn`` returns nothing and must not raise for a valid Snapshot; what it raises is logged, and the worker keeps
    serving by what it had.
    """

    def __init__(
        self, path: str, learn: Callable[[Snapshot], None], status: Callable[[], frames.Serving | None]
    ) -> None:
        self._path = path
        self._learn = learn
        self._status = status
        self._writer: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        """Follow until cancelled."""
        wait = FIRST_WAIT_S
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._path)
            except OSError as error:
                logs.say(logs.DEBUG, "control does not answer; serving by what is known", error=str(error))
            else:
                wait = FIRST_WAIT_S
                await self._listen(reader, writer)
            await clock.sleep(wait * (0.5 + clock.random()))
            wait = min(wait * 2, LONGEST_WAIT_S)

    def report(self) -> None:
        """Tell control what is served now; a no-op while it is away, because it is told on the next connect."""
        status = self._status()
        if self._writer is not None and status is not None:
            self._writer.write(frames.encode(status))

    def send(self, worker: int, records: Sequence[tuple[object, ...]]) -> bool:
        """Hand records to control, tuples in the order of :class:`edge.terms.trace.ExchangeRecord`; never waits.

        Returns:
            False when control is away or behind: they are lost.
        """
        if self._writer is None or self._writer.transport.get_write_buffer_size() > MOST_UNREAD:
            return False
        # on the wire a tuple and a record are the same array: nothing is built only to be taken apart
        self._writer.write(frames.encode(frames.Recorded(worker, cast("tuple[ExchangeRecord, ...]", records))))
        return True

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        try:
            self.report()
            while True:
                message = await frames.read(reader)
                if isinstance(message, frames.Publish):
                    self._take(message.snapshot)
        except (asyncio.IncompleteReadError, ConnectionError):
            logs.say(logs.INFO, "control is gone; serving goes on by the last snapshot")
        except frames.FrameError as error:
            logs.say(logs.ERROR, "control sent a bad message; connecting again", error=str(error))
        finally:
            self._writer = None
            writer.close()

    def _take(self, snapshot: Snapshot) -> None:
        try:
            self._learn(snapshot)
        except Exception as error:  # noqa: BLE001  # whatever a new Snapshot breaks, the old one still serves
            logs.say_failure("the new snapshot could not be taken; serving by the old one", error)
        self.report()
