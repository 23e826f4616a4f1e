"""Who writes the last good configuration to disk, and what if the disk is full?  Control, beside its loop; it warns.

One write at a time, of the newest: what comes while one runs replaces what was to come next. Nothing that serves waits
for the disk.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from edge import clock
from edge.telemetry import logs

if TYPE_CHECKING:
    from edge.config.schema import Config
    from edge.control.state import StateFile
    from edge.terms.snapshot import Snapshot


class Recorder:
    """Writes to ``file``. ``written`` is Unix time, 0 before the first; ``failures`` counts since then."""

    def __init__(self, file: StateFile) -> None:
        self._file = file
        self._next: tuple[Config, Snapshot] | None = None
        self._running: asyncio.Task[None] | None = None
        self.written = 0.0
        self.failures = 0

    @property
    def path(self) -> str:
        """The file."""
        return str(self._file.path)

    def record(self, config: Config, snapshot: Snapshot) -> None:
        """Have it written soon."""
        self._next = (config, snapshot)
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_task(self._write())

    async def stop(self) -> None:
        """Wait for what is being written."""
        if self._running is not None:
            await self._running

    async def _write(self) -> None:
        while self._next is not None:
            (config, snapshot), self._next = self._next, None
            now = clock.wall()
            try:
                await asyncio.to_thread(self._file.write, config, snapshot, now)
            except OSError as error:
                self.failures += 1
                said = error.strerror or str(error)
                logs.say(logs.WARNING, "the last good configuration cannot be kept on disk", path=self.path, error=said)
            else:
                self.written = now
