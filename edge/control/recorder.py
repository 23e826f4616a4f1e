"""Writing of the last good configuration to disk, in a thread beside control's event loop.

There is one write at a time, always of the newest configuration. Nothing that serves requests waits for the disk. A
failed write is repeated every minute, since the disk may have room again; until then the count of failures grows, which
an alert can watch.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from edge import clock
from edge.telemetry import logs

if TYPE_CHECKING:
    from edge.config.schema import Config
    from edge.control.state import StateFile
    from edge.terms.snapshot import Snapshot


AGAIN_NS: Final = 60 * 1_000_000_000


class Recorder:
    """Writes to ``file``.

    ``written`` is the Unix time of the last write, 0: none; ``failures`` counts since the start; ``error`` says why the
    newest configuration is not on disk, "" if it is.
    """

    def __init__(self, file: StateFile) -> None:
        self._file = file
        self._next: tuple[Config, Snapshot] | None = None
        self._running: asyncio.Task[None] | None = None
        self._failed: tuple[Config, Snapshot] | None = None  # the newest, if writing it failed
        self._again_ns = 0
        self.written = 0.0
        self.failures = 0
        self.error = ""

    @property
    def path(self) -> str:
        """Path of the file."""
        return str(self._file.path)

    def record(self, config: Config, snapshot: Snapshot) -> None:
        """Schedule a write."""
        self._next = (config, snapshot)
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_task(self._write())

    def poll(self, now_ns: int) -> None:
        """Repeat a failed write after a minute. Called once a second."""
        if self._failed is not None and now_ns >= self._again_ns and self._next is None:
            self.record(*self._failed)

    async def stop(self) -> None:
        """Wait for a write in progress."""
        if self._running is not None:
            await self._running

    async def _write(self) -> None:
        while self._next is not None:
            (config, snapshot), self._next = self._next, None
            now = clock.wall()
            self._failed = None
            try:
                await asyncio.to_thread(self._file.write, config, snapshot, now)
            except OSError as error:
                self.failures += 1
                self.error = error.strerror or str(error)
                self._failed = (config, snapshot)
                self._again_ns = clock.now_ns() + AGAIN_NS
                sentence = "the last good configuration cannot be written to disk"
                logs.say(logs.WARNING, sentence, path=self.path, error=self.error)
            else:
                self.written = now
                self.error = ""
