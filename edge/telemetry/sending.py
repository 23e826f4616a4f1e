"""The thread that sends telemetry to a collector, with low priority, and the report when sending fails.

Workers take precedence when CPU time is short. A failing collector causes one log line per minute with the reason,
where the SDK's exporters would log every failure.
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
# Interval of the log lines about a failing collector.
QUIET_S: Final = 60.0

Work = TypeVar("Work")


class Closing(Protocol):
    """The common part of the SDK's exporters."""

    def shutdown(self) -> None:
        """Abort what is being sent, and close."""


class Sending(ABC, Generic[Work]):
    """Sends items of work one after the other. ``_change`` guards what the thread shares with others.

    Args:
        what: name of what is sent; it names the thread and appears in the log.
        exporter: the SDK's exporter; only the thread uses it.
    """

    def __init__(self, what: str, exporter: Closing) -> None:
        self._what = what
        self._closing = exporter
        self._change = threading.Condition()
        self._leaving = False
        self._say_ns = 0
        self._thread = threading.Thread(target=self._run, name=what, daemon=True)

    def stop(self, limit_s: float = 2.0) -> None:
        """Send what is queued for at most ``limit_s``, then end. This call blocks for that time."""
        with self._change:
            self._leaving = True
            self._change.notify()
        self._thread.join(limit_s)
        # This aborts an export that hangs. The thread is a daemon, so it cannot keep the process alive.
        self._closing.shutdown()

    @abstractmethod
    def _next(self) -> Work | None:
        """Return the next item; if there is none, wait briefly, unless ``_leaving``. ``_change`` is held."""

    @abstractmethod
    def _export(self, work: Work) -> bool:
        """Send an item; return whether the collector accepted it. May raise."""

    @abstractmethod
    def _count(self, work: Work, *, taken: bool) -> None:
        """Count an item. ``_change`` is held."""

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
        except Exception as error:  # noqa: BLE001  # after any error, the next item must be tried
            logs.say_failure(f"cannot export {self._what}", error)
            taken = False
        with self._change:
            self._count(work, taken=taken)
        now_ns = clock.now_ns()
        if not taken and now_ns >= self._say_ns:
            self._say_ns = now_ns + int(QUIET_S * 1e9)
            logs.say(logs.WARNING, f"the collector does not accept {self._what}", why=_OVERHEARD.last)


def _step_back() -> None:
    """Lower the priority of the calling thread if the system permits it; a sandbox's system call filter may not."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
    except PermissionError as error:
        logs.say(logs.WARNING, "cannot lower the priority of the telemetry thread", error=str(error))


class _Overheard(logging.Handler):
    """Keeps the last message of the SDK's exporters, which says why they failed, instead of logging it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.last = record.getMessage()


_OVERHEARD: Final = _Overheard()


def overhear() -> None:
    """Capture what the SDK's exporters would log on every failure; a second call has no effect."""
    logger = logging.getLogger("opentelemetry.exporter")
    logger.addHandler(_OVERHEARD)
    logger.propagate = False
