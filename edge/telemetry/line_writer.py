"""Writing of lines to standard output by a thread of its own, which may wait for a slow reader.

Control must not: it probes targets and serves the admin address on its loop. So what does not fit is dropped and
counted, and the log says so.
"""

from __future__ import annotations

import queue
import sys
import threading
from typing import TYPE_CHECKING, Final

from edge.telemetry import logs

if TYPE_CHECKING:
    from typing import TextIO

MOST_BATCHES: Final = 256
"""Batches that wait for the reader; each holds at most 512 lines, so that a few megabytes may wait."""


class LineWriter:
    """Writes batches of lines in order; :meth:`write` never waits.

    Args:
        stream: where they go; None: standard output.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        self._waiting: queue.Queue[str | None] = queue.Queue(MOST_BATCHES)
        self._thread: threading.Thread | None = None
        self._dropped = 0
        self._broken = False

    def write(self, lines: str) -> None:
        """Take whole lines. The thread begins with the first."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="access log", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(lines)
        except queue.Full:
            if not self._dropped:
                logs.say(logs.WARNING, "lines of the access log are lost: nobody reads standard output fast enough")
            self._dropped += lines.count("\n")
            return
        if self._dropped:
            logs.say(logs.WARNING, "the access log goes on", lost=self._dropped)
            self._dropped = 0

    def close(self, limit_s: float = 1.0) -> None:
        """Write what waits, for at most so many seconds."""
        if self._thread is None:
            return
        try:
            self._waiting.put(None, timeout=limit_s)
        except queue.Full:
            return
        self._thread.join(limit_s)

    def _run(self) -> None:
        while (lines := self._waiting.get()) is not None:
            if self._broken:
                continue
            try:
                self._stream.write(lines)
                self._stream.flush()
            except (OSError, ValueError) as error:
                self._broken = True
                logs.say(logs.ERROR, "the access log cannot be written, and ends", error=str(error))
