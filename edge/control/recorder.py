"""Who writes the last good configuration to disk, and what if the disk is full?  Control, beside its loop; it warns.

One write at a time, of the newest: what comes while one runs replaces what was to come next. Nothing that serves waits
for the disk. What could not be written is tried again every minute: the disk may have room by then, and as long as it
has none the count of failures grows, which an alert can see.
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

    ``written`` is Unix time, 0 before the first; ``failures`` counts since the start; ``error`` says why the newest is
    not on disk, "" when it is.
    """

    def __init__(self, file: StateFile) -> None:
        self._file = file
        self._next: tuple[Config, Snapshot] | None = None
        self._running: asyncio.Task[None] | None = None
        self._failed: tuple[Config, Snapshot] | None = None  # the newest, if it could not be written
        self._again_ns = 0
        self.written = 0.0
        self.failures = 0
        self.error = ""

    @property
    def path(self) -> str:
        """The file."""
        return str(self._file.path)

    def record(self, config: Config, snapshot: Snapshot) -> None:
        """Have it written soon."""
        self._next = (config, snapshot)
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_task(self._write())

    def look(self, now_ns: int) -> None:
        """Try again what could not be written, a minute after. Called once a second."""
        if self._failed is not None and now_ns >= self._again_ns and self._next is None:
            self.record(*self._failed)

    async def stop(self) -> None:
        """Wait for what is being written."""
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
                sentence = "the last good configuration cannot be kept on disk"
                logs.say(logs.WARNING, sentence, path=self.path, error=self.error)
            else:
                self.written = now
                self.error = ""
