"""Which thread speaks to a collector, and what is said when it is not heard?  One of low priority; nobody waits for it.

Workers come first where the CPU is short. A collector that fails is one line in the log a minute, with its reason,
where the SDK's exporters would log each failure.
"""

from __future__ import annotations

import logging
import os
import threading
from abc import ABC, abstractmethod
from typing import Final, Generic, Protocol, TypeVar

from edge import clock
from edge.telemetry import logs

NICENESS: Final = 15
# One line about a collector that fails in so many seconds.
QUIET_S: Final = 60.0

Work = TypeVar("Work")


class Closing(Protocol):
    """An exporter of the SDK, as far as all are alike."""

    def shutdown(self) -> None:
        """Give up what is being sent, and end."""


class Sending(ABC, Generic[Work]):
    """Sends one piece of work after another. ``_change`` guards what the thread shares with others.

    Args:
        what: is sent, in a word; names the thread and stands in the log.
        exporter: speaks to the collector; used by the thread alone.
    """

    def __init__(self, what: str, exporter: Closing) -> None:
        self._what = what
        self._closing = exporter
        self._change = threading.Condition()
        self._leaving = False
        self._say_ns = 0
        self._thread = threading.Thread(target=self._run, name=what, daemon=True)

    def stop(self, limit_s: float = 2.0) -> None:
        """Send what waits, for so long at most, then end. Waits: call it where waiting is allowed."""
        with self._change:
            self._leaving = True
            self._change.notify()
        self._thread.join(limit_s)
        # an export that hangs is cut short; the thread is a daemon and cannot hold the process up
        self._closing.shutdown()

    @abstractmethod
    def _next(self) -> Work | None:
        """Return what is to be sent; where there is nothing wait a moment, unless ``_leaving``. ``_change`` is held."""

    @abstractmethod
    def _export(self, work: Work) -> bool:
        """Send it; return whether it was taken. May raise."""

    @abstractmethod
    def _count(self, work: Work, *, taken: bool) -> None:
        """Count it. ``_change`` is held."""

    def _run(self) -> None:
        _step_back()
        while True:
            with self._change:
                work = self._next()
                if work is None and self._leaving:
                    return
            if work is not None:
                self._send(work)

    def _send(self, work: Work) -> None:
        try:
            taken = self._export(work)
        except Exception as error:  # noqa: BLE001  # whatever breaks here, the next piece must be tried
            logs.say_failure(f"{self._what} could not be exported", error)
            taken = False
        with self._change:
            self._count(work, taken=taken)
        now_ns = clock.now_ns()
        if not taken and now_ns >= self._say_ns:
            self._say_ns = now_ns + int(QUIET_S * 1e9)
            logs.say(logs.WARNING, f"the collector does not take {self._what}", why=_OVERHEARD.last)


def _step_back() -> None:
    """Let others come before the calling thread, where the system allows that: a sandbox's filter of calls may not."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    except PermissionError as error:
        logs.say(logs.WARNING, "telemetry is sent with the priority of everything else", error=str(error))


class _Overheard(logging.Handler):
    """Keeps the last thing the SDK's exporters said, which is why they failed, out of the log and at hand."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


_OVERHEARD: Final = _Overheard()


def overhear() -> None:
    """Take over what the SDK's exporters would log with every failure; a second call changes nothing."""
    logger = logging.getLogger("opentelemetry.exporter")
    logger.addHandler(_OVERHEARD)
    logger.propagate = False
