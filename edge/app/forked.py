"""Processes that begin as a copy of their parent, by fork(2), instead of a new interpreter.

What the parent has imported costs them neither time nor, until they write to it, memory. The parent must have one
thread. A forked process gets what an executed one would: a session of its own, no input, the default signal handlers,
and no descriptor but those it is meant to have.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from edge import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_POLL_S: Final = 0.005


class Forked:
    """A forked process, with those methods of ``subprocess.Popen`` that a supervisor needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def poll(self) -> int | None:
        """Return the exit status if the process has ended, minus the signal's number if one ended it, else None."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def wait(self, timeout: float) -> int:
        """Return the exit status once the process has ended.

        Raises:
            subprocess.TimeoutExpired: it still runs after ``timeout`` seconds.
        """
        until_ns = clock.now_ns() + int(timeout * 1e9)
        while (status := self.poll()) is None:
            if clock.now_ns() >= until_ns:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(_POLL_S)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL, unless the process has ended."""
        self.send_signal(signal.SIGKILL)


def fork(run: Callable[[], None], fds: Iterable[int]) -> Forked:
    """Start a process that calls ``run`` and ends, with the status of its SystemExit if it raises one.

    Args:
        run: what the process does.
        fds: descriptors that it has, besides the standard streams, under the same numbers.

    Raises:
        OSError: the process cannot be started.
    """
    for stream in (sys.stdout, sys.stderr):  # the copy must not write again what is buffered
        stream.flush()
    # A signal that came before the copy has its own handlers would be handled as the parent does.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _live(run, {0, 1, 2, *fds}, mask)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    return Forked(pid)


def _live(run: Callable[[], None], fds: set[int], mask: Iterable[int]) -> NoReturn:
    """Run, and end the process without unwinding the parent's frames, whose clean-up is the parent's."""
    status = 1
    try:
        _leave_parent(fds)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        run()
        status = 0
    except SystemExit as end:
        status = _status(end)
    except BaseException:  # noqa: BLE001  # what the interpreter does at the top of a program
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # the reader is gone, and nobody else can be told
                stream.flush()
        os._exit(status)


def _leave_parent(fds: set[int]) -> None:
    """Give up what the parent has and an executed process would not."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, default)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(null, 0)
    for place in list(Path("/proc/self/fd").iterdir()):
        if int(place.name) not in fds:
            with contextlib.suppress(OSError):  # the one that read the folder is closed already
                os.close(int(place.name))


def _status(end: SystemExit) -> int:
    """Return the exit status of a SystemExit; a sentence in it is printed, as by the interpreter."""
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code
    print(end.code, file=sys.stderr)  # noqa: T201
    return 1
