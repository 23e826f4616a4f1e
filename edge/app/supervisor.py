"""Who starts the processes of a node, starts them again, and ends them?  This one, and it does nothing else.

It answers no connection and runs no event loop: it waits for signals, deaths and deadlines, so that nothing that
breaks the others can break it. A dead worker's in-flight columns on the shared state are cleared before its successor
starts.

    running   --SIGTERM, SIGUSR1-->  leaving  --drain grace over-->  draining  --workers gone, or grace over-->  ending
    running   --SIGINT------------>  draining                       ending  --all gone-->  exit
    (any)     --second SIGTERM or SIGINT-->  everything is killed at once

Leaving means: /ready fails, and everything is answered as before. SIGUSR1 is how control passes on ``edge drain``; the
SIGTERM of an orchestrator that follows is the first one, and changes nothing. SIGHUP is passed to control: a reload.
Only where the node was started on a terminal that is gone now does it say so, and the node drains.
"""

from __future__ import annotations

import enum
import os
import selectors
import signal
from typing import TYPE_CHECKING, Final

from edge import clock
from edge.app.children import Child, how_it_ended
from edge.app.supervisor_state import SupervisorState
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from edge.control.memfd_cell import MemfdCell
    from edge.native import SharedState

_S: Final = 1_000_000_000
# A worker writes its heartbeat every second. Half a minute without one means a loop that stands still: nothing that
# belongs to it will be answered any more, and its share of new connections hangs with it.
HUNG_NS: Final = 30 * _S
# Control says every second that its loop turns. Nobody who is served waits for it, and a reload may keep it busy. A
# worker may take as long until it serves.
SLOW_NS: Final = 60 * _S
# If the supervisor has not looked for so long, all stood still: a machine or container that was paused.
PAUSED_NS: Final = 5 * _S
# Beyond the grace: a worker that keeps to it has yet to tell its clients so.
MARGIN_NS: Final = 1 * _S
# Simulated providers have nothing to finish; control gives a collector that does not answer two seconds, or twice two
# when telemetry has just been sent elsewhere.
END_NS: Final = 6 * _S
# A node whose workers die this often before any of them ever served will not come up by trying.
HOPELESS: Final = 5
LOOK_S: Final = 1.0
CONTROL: Final = "control"


class Stage(enum.Enum):
    """How far the end is."""

    RUNNING = "running"
    LEAVING = "leaving"
    DRAINING = "draining"
    ENDING = "ending"


class Supervisor:
    """Keeps ``workers`` and ``others`` running until told to stop.

    Args:
        shared_state: for heartbeats, and to clear the columns of the dead.
        workers: one Child per column, ``index`` set.
        others: control, and what else belongs to the node; ended after the workers.
        supervisor_state: where restarts are counted for control.
        pulse: when control last said that it lives, in nanoseconds of ``edge.clock``.
        grace_s: how long workers may drain.
        notice_s: how long the node says that it is not ready, before they do.
        up: called once, when every child serves.
    """

    def __init__(
        self,
        shared_state: SharedState,
        workers: Sequence[Child],
        others: Sequence[Child],
        supervisor_state: MemfdCell[SupervisorState],
        pulse: MemfdCell[int],
        *,
        grace_s: float,
        notice_s: float = 0.0,
        up: Callable[[], None],
    ) -> None:
        self._shared_state = shared_state
        self._workers = tuple(workers)
        self._others = tuple(others)
        self._children = (*others, *workers)
        self._supervisor_state = supervisor_state
        self._pulse = pulse
        self._looked_ns = 0
        self._awake_ns = 0
        self._grace_ns = int(grace_s * _S)
        self._notice_ns = int(notice_s * _S)
        self._told = False
        self._on_terminal = os.isatty(0)
        self._up = up
        self._announced = False
        self._ever_served = False
        self._stage = Stage.RUNNING
        self._deadline_ns = 0
        self._asked: list[int] = []
        self._failed = False
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> int:
        """Run until everything has ended; return the exit status: 0, 1 when it could not come up, or 128 + signal."""
        previous = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)
        }
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._write_tally()
        try:
            return self._loop()
        finally:
            for child in self._children:
                child.kill()
            signal.set_wakeup_fd(-1)
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._selector.close()
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _loop(self) -> int:
        while True:
            now_ns = clock.now_ns()
            status = self._obey(now_ns)
            if status is not None:
                return status
            self._bury(now_ns)
            if self._stage is Stage.LEAVING and now_ns >= self._deadline_ns:
                self._drain(now_ns)
            if self._keeps:
                self._start_due(now_ns)
                self._kill_hung(now_ns)
            elif self._end(now_ns):
                logs.say(logs.INFO, "everything has ended")
                return int(self._failed)
            for key, _ in self._selector.select(self._wait_s(now_ns)):
                if isinstance(key.data, Child):
                    self._hear(key.data)
                else:
                    os.read(self._wake_read, 4096)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:  # that one only has to wake the loop
            self._asked.append(number)

    def _obey(self, now_ns: int) -> int | None:
        """Act on signals that came; return an exit status if everything ends here and now."""
        while self._asked:
            number = self._asked.pop(0)
            name = signal.Signals(number).name
            if number == signal.SIGHUP and not (self._on_terminal and not os.isatty(0)):
                for other in self._others:
                    if other.name == CONTROL and other.serves:
                        other.send(signal.SIGHUP)
                continue
            again, self._told = self._told, self._told or number != signal.SIGUSR1
            if again and number != signal.SIGUSR1:
                logs.say(logs.WARNING, f"{name} again: ending at once")
                return 128 + number
            if self._stage is Stage.RUNNING:
                notice_ns = self._notice_ns if number in (signal.SIGTERM, signal.SIGUSR1) and self._announced else 0
                logs.say(logs.INFO, f"{name}: draining", notice_s=notice_ns / _S, grace_s=self._grace_ns / _S)
                self._leave(now_ns + notice_ns)
            else:
                logs.say(logs.INFO, f"{name}: the node drains already")
        return None

    @property
    def _keeps(self) -> bool:
        """Whether the dead are still started again."""
        return self._stage in (Stage.RUNNING, Stage.LEAVING)

    def _leave(self, until_ns: int) -> None:
        """Be not ready from now on, and drain at ``until_ns``."""
        self._stage = Stage.LEAVING
        self._deadline_ns = until_ns
        self._write_tally()

    def _drain(self, now_ns: int) -> None:
        self._stage = Stage.DRAINING
        self._deadline_ns = now_ns + self._grace_ns + MARGIN_NS
        for worker in self._workers:
            worker.send(signal.SIGTERM)

    def _end(self, now_ns: int) -> bool:
        """Go on ending; return whether nothing runs any more."""
        if self._stage is Stage.DRAINING:
            left = [worker for worker in self._workers if worker.process is not None]
            if left and now_ns < self._deadline_ns:
                return False
            for worker in left:
                logs.say(logs.WARNING, "the grace is long over: killed", child=worker.name)
                worker.send(signal.SIGKILL)
            self._stage = Stage.ENDING
            self._deadline_ns = now_ns + END_NS
            for other in self._others:
                other.send(signal.SIGTERM)
        running = [child for child in self._children if child.process is not None]
        if running and now_ns >= self._deadline_ns:
            for child in running:
                child.send(signal.SIGKILL)
            self._deadline_ns = now_ns + END_NS
        return not running

    def _start_due(self, now_ns: int) -> None:
        for child in self._children:
            if child.process is not None or child.due_ns is None or child.due_ns > now_ns:
                continue
            again = child.started_ns > 0
            try:
                child.start(now_ns)
            except OSError as error:
                child.started_ns = now_ns
                wait_ns = child.buried(now_ns)
                logs.say(logs.ERROR, "cannot start a process", child=child.name, error=str(error), wait_s=wait_ns / _S)
                continue
            self._selector.register(child.ready_read, selectors.EVENT_READ, child)
            if again:
                child.restarts += 1
                self._write_tally()
            pid = child.process.pid if child.process is not None else 0
            logs.say(logs.INFO, "started again" if again else "started", child=child.name, pid=pid)

    def _bury(self, now_ns: int) -> None:
        for child in self._children:
            status = child.poll()
            if status is None:
                continue
            if child.ready_read >= 0:
                self._selector.unregister(child.ready_read)
            pid = child.process.pid if child.process is not None else 0
            wait_ns = child.buried(now_ns)
            if child.index >= 0:
                self._shared_state.clear_worker(child.index)
            if not self._keeps:
                logs.say(logs.INFO, how_it_ended(status), child=child.name, pid=pid)
                continue
            logs.say(logs.ERROR, how_it_ended(status), child=child.name, pid=pid, again_in_s=wait_ns / _S)
            if child.index >= 0 and not self._ever_served and child.restarts + 1 >= HOPELESS:
                logs.say(logs.ERROR, "no worker could start; giving up. The reason stands above.")
                self._failed = True
                self._drain(now_ns)

    def _kill_hung(self, now_ns: int) -> None:
        if now_ns - self._looked_ns > PAUSED_NS:
            self._awake_ns = now_ns
        self._looked_ns = now_ns
        for child in self._children:
            if child.process is None or not (child.index >= 0 or child.name == CONTROL):
                continue
            heartbeat_ns = max(self._heartbeat_ns(child), child.started_ns, self._awake_ns)
            if now_ns - heartbeat_ns > (HUNG_NS if child.index >= 0 and child.serves else SLOW_NS):
                logs.say(logs.ERROR, "no heartbeat: killed", child=child.name, for_s=(now_ns - heartbeat_ns) // _S)
                child.send(signal.SIGKILL)

    def _heartbeat_ns(self, child: Child) -> int:
        if child.index >= 0:
            return self._shared_state.read_worker(child.index)["heartbeat_ns"]
        return self._pulse.recall() or 0

    def _hear(self, child: Child) -> None:
        """Take a child's word that it serves; its end, if that came first, is seen by :meth:`_bury`."""
        said = os.read(child.ready_read, 4096)
        if not (said and child.speaks):  # who speaks may say more, and must not find its stdout closed
            self._selector.unregister(child.ready_read)
            child.close_pipe()
        if not said or child.serves:
            return
        child.serves = True
        self._ever_served = self._ever_served or child.index >= 0
        took_ms = (clock.now_ns() - child.started_ns) // 1_000_000
        logs.say(logs.INFO, "serves", child=child.name, after_ms=took_ms)
        if not self._announced and all(each.serves for each in self._children):
            self._announced = True
            self._up()

    def _write_tally(self) -> None:
        restarts = {child.name: child.restarts for child in self._children}
        self._supervisor_state.keep(SupervisorState(restarts, leaving=self._stage is not Stage.RUNNING))

    def _wait_s(self, now_ns: int) -> float:
        """Return seconds until something is due by itself."""
        due = [child.due_ns for child in self._children if child.process is None and child.due_ns is not None]
        if self._stage is Stage.LEAVING:
            due.append(self._deadline_ns)
        elif self._stage is not Stage.RUNNING:
            due = [self._deadline_ns]
        wait_s = min(((due_ns - now_ns) / _S for due_ns in due), default=LOOK_S)
        return min(max(wait_s, 0.0), LOOK_S)
