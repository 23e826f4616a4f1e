"""The worker's connection to control: receives Snapshots, reports and records, and reconnects for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from edge import clock
from edge.control import frames
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.terms.snapshot import Snapshot
    from edge.terms.trace import ExchangeRecord

# Control is restarted within a second and its socket queues connections meanwhile, so these waits matter only if
# control stays down. Jitter keeps many workers from reconnecting at once.
FIRST_WAIT_S: Final = 0.05
LONGEST_WAIT_S: Final = 2.0
# With this many unread bytes control hangs or is overloaded, and further records are dropped.
MOST_UNREAD: Final = 1024 * 1024


class Follower:
    """Follows control at ``path``: calls ``learn(snapshot)`` for each Snapshot, then reports the version in use.

    ``learn`` must not raise for a valid Snapshot; an exception is logged, and the worker continues with the previous
    Snapshot.
    """

    def __init__(
        self, path: str, learn: Callable[[Snapshot], None], status: Callable[[], frames.Serving | None]
    ) -> None:
        self.keys_changed: Callable[[], None] = lambda: None
        """Called when the cluster's keys may have changed; an exception is logged, and those before stay in use."""
        self._path = path
        self._learn = learn
        self._status = status
        self._writer: asyncio.StreamWriter | None = None

    async def run(self) -> None:
        """Follow control until cancelled."""
        wait = FIRST_WAIT_S
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._path)
            except OSError as error:
                logs.say(logs.DEBUG, "control does not respond; serving with the last snapshot", error=str(error))
            else:
                wait = FIRST_WAIT_S
                await self._listen(reader, writer)
            await clock.sleep(wait * (0.5 + clock.random()))
            wait = min(wait * 2, LONGEST_WAIT_S)

    def report(self) -> None:
        """Report the version in use to control; while control is down, the report follows at the next connection."""
        status = self._status()
        if self._writer is not None and status is not None:
            self._writer.write(frames.encode(status))

    def send(self, worker: int, records: Sequence[ExchangeRecord]) -> bool:
        """Send records to control without waiting.

        Args:
            worker: index of this worker.
            records: the records, oldest first.

        Returns:
            False if the records are lost because control is down or behind.
        """
        if self._writer is None or self._writer.transport.get_write_buffer_size() > MOST_UNREAD:
            return False
        self._writer.write(frames.encode(frames.Recorded(worker, tuple(records))))
        return True

    def want(self, source: str) -> None:
        """Ask control for the signing keys of a source; if control is down, its successor fetches them anyway."""
        if self._writer is not None:
            self._writer.write(frames.encode(frames.Wanted(source)))

    def want_member(self, group: str, name: str) -> None:
        """Ask control for a record of an identity; if control is down, the next request asks again."""
        if self._writer is not None and self._writer.transport.get_write_buffer_size() <= MOST_UNREAD:
            self._writer.write(frames.encode(frames.WantedMember(group, name)))

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        try:
            self.report()
            heard = False
            while True:
                message = await frames.read(reader)
                if isinstance(message, frames.Publish):
                    if not heard:  # what changed while this worker was not connected
                        heard = True
                        self._take_keys()
                    self._take(message.snapshot)
                elif isinstance(message, frames.KeysChanged):
                    self._take_keys()
        except (asyncio.IncompleteReadError, ConnectionError):
            logs.say(logs.INFO, "control is down; serving with the last snapshot")
        except frames.FrameError as error:
            logs.say(logs.ERROR, "control sent an invalid message; reconnecting", error=str(error))
        finally:
            self._writer = None
            writer.close()

    def _take_keys(self) -> None:
        try:
            self.keys_changed()
        except Exception as error:  # noqa: BLE001  # as for a Snapshot
            logs.say_failure("changed keys of the cluster cannot be read; those before stay in use", error)

    def _take(self, snapshot: Snapshot) -> None:
        try:
            self._learn(snapshot)
        except Exception as error:  # noqa: BLE001  # the previous Snapshot still serves, whatever the new one breaks
            logs.say_failure("the new snapshot cannot be applied; serving with the previous one", error)
        self.report()
