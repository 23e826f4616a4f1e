"""Child processes of a node, and the back-off between their restarts.

A dead child is restarted at once, later and later while it keeps dying young, and at once again after it has lived long
enough. ``Child`` holds the state of one process; ``Backoff`` computes the waits, with time as an argument.

Edge's own processes are forked when the node starts: what they import alike is then imported once, and in memory once.
Their successors are executed. A process that crashed may have been attacked; its successor has other addresses, which
the attacker cannot have learned from the one before.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edge.app import command_line
from edge.app.forked import Forked, fork

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_S: Final = 1_000_000_000
FIRST_WAIT_NS: Final = _S // 10
LONGEST_WAIT_NS: Final = 5 * _S
# A child that lived this long does not crash because of how it starts, so its next death counts as the first.
LIVED_NS: Final = 10 * _S


class Backoff:
    """Waits between restarts: 0, 0.1, 0.2, 0.4 ... 5 s; back to 0 after a life of at least 10 s."""

    def __init__(self) -> None:
        self._deaths = 0

    def died(self, lived_ns: int) -> int:
        """Count a death; return nanoseconds to wait before the next start."""
        self._deaths = 1 if lived_ns >= LIVED_NS else self._deaths + 1
        if self._deaths == 1:
            return 0
        return int(min(FIRST_WAIT_NS << min(self._deaths - 2, 16), LONGEST_WAIT_NS))


@dataclass
class Child:
    """One child process. ``due_ns`` is the time of the next start, None while the process runs.

    ``arguments`` are those of the interpreter. With ``main`` they begin with ``-m MODULE``, and the first process is a
    copy of this one that calls ``main`` with the others.
    """

    name: str
    arguments: Callable[[Child], Sequence[str]]
    fds: tuple[int, ...] = ()
    index: int = -1
    main: Callable[[Sequence[str]], None] | None = None
    ready_on_stdout: bool = False  # its first output means that it serves; else it writes a byte to its own pipe
    backoff: Backoff = field(default_factory=Backoff)
    process: subprocess.Popen[bytes] | Forked | None = None
    started_ns: int = 0
    due_ns: int | None = 0
    restarts: int = 0
    serves: bool = False
    ready_read: int = -1
    ready_write: int = -1

    def start(self, now_ns: int) -> None:
        """Start the process as leader of a session of its own, so that Ctrl-C reaches the supervisor alone.

        Raises:
            OSError: the process cannot be started.
        """
        self.ready_read, self.ready_write = os.pipe()
        try:
            forks = self.main is not None and self.started_ns == 0
            self.process = self._forked() if forks else self._executed()
        except OSError:
            self.close_pipe()
            raise
        finally:
            os.close(self.ready_write)
            self.ready_write = -1
        self.started_ns, self.due_ns, self.serves = now_ns, None, False

    def _forked(self) -> Forked:
        words = self.arguments(self)

        def live() -> None:
            command_line.show([sys.executable, *words])
            if self.main is not None:
                self.main(words[2:])

        return fork(live, (*self.fds, self.ready_write))

    def _executed(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  # our own interpreter, our own modules
            [sys.executable, *self.arguments(self)],
            stdin=subprocess.DEVNULL,
            stdout=self.ready_write if self.ready_on_stdout else None,
            pass_fds=self.fds if self.ready_on_stdout else (*self.fds, self.ready_write),
            start_new_session=True,
        )

    def poll(self) -> int | None:
        """Return the exit status if the process has ended, else None."""
        return self.process.poll() if self.process is not None else None

    def reap(self, now_ns: int) -> int:
        """Forget the dead process; return nanoseconds until it may be restarted (also kept in ``due_ns``)."""
        self.process = None
        self.close_pipe()
        self.serves = False
        wait_ns = self.backoff.died(now_ns - self.started_ns)
        self.due_ns = now_ns + wait_ns
        return wait_ns

    def send(self, signal_number: int) -> None:
        """Send a signal, if the process runs."""
        if self.process is not None:
            self.process.send_signal(signal_number)

    def kill(self) -> None:
        """Kill the process and wait until it is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=5)
            self.process = None
        self.close_pipe()

    def close_pipe(self) -> None:
        """Close the pipe on which the child reports that it serves."""
        if self.ready_read >= 0:
            os.close(self.ready_read)
            self.ready_read = -1


def program(name: str, words: Sequence[str]) -> Child:
    """Return a child that runs the interpreter with these arguments, and serves once it writes to stdout."""
    return Child(name, lambda _: words, ready_on_stdout=True)


def how_it_ended(status: int) -> str:
    """Return an exit status of ``subprocess`` in words."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        import signal  # noqa: PLC0415  # needed only after a death

        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
