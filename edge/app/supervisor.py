"""The supervisor process: starts the other processes of a node, restarts them, and ends them.

It serves no connection and runs no event loop; it waits for signals, deaths and deadlines, so that a failure in another
process cannot reach it. It clears the in-flight columns of a dead worker in the shared state before the worker's
successor starts.

    running   --SIGTERM, SIGUSR1-->  leaving  --drain grace over-->  draining  --workers gone, or grace over-->  ending
    running   --SIGINT------------>  draining                       ending  --all gone-->  exit
    (any)     --second SIGTERM or SIGINT-->  all processes are killed at once

While the node is leaving, /ready fails and requests are served as before. Control sends SIGUSR1 for ``edge drain``; a
later SIGTERM from an orchestrator then still counts as the first one and changes nothing. SIGHUP is passed to control
and reloads; but if the node was started on a terminal that is now gone, SIGHUP drains the node.
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
# A worker writes a heartbeat every second. After half a minute without one its event loop hangs, with all connections
# that it has accepted or is assigned.
HUNG_NS: Final = 30 * _S
# Control writes a heartbeat every second too. No client waits for control, and a reload may keep it busy for long. A
# worker gets the same time until it serves.
SLOW_NS: Final = 60 * _S
# If the supervisor itself has not run for so long, the machine or container was paused, and heartbeats say nothing.
PAUSED_NS: Final = 5 * _S
# Extra time for workers to close their connections after the grace period.
MARGIN_NS: Final = 1 * _S
# Control waits up to two seconds for a collector that does not respond, twice that if telemetry was just redirected.
# Simulated providers end at once.
END_NS: Final = 6 * _S
# If workers die this often before any of them has served, further restarts will not help.
HOPELESS: Final = 5
POLL_S: Final = 1.0
CONTROL: Final = "control"


class Stage(enum.Enum):
    """The stages from running to ended."""

    RUNNING = "running"
    LEAVING = "leaving"
    DRAINING = "draining"
    ENDING = "ending"


class Supervisor:
    """Keeps ``workers`` and ``others`` running until a signal ends the node.

    Args:
        shared_state: source of heartbeats; the columns of dead workers are cleared in it.
        workers: one Child per column, with ``index`` set.
        others: control and further processes of the node; they end after the workers.
        supervisor_state: cell in which control finds the number of restarts.
        pulse: cell with the last heartbeat of control, in nanoseconds of ``edge.clock``.
        grace_s: seconds that workers get to drain.
        notice_s: seconds for which the node reports not ready before its workers drain.
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
        self._children = (*workers, *others)  # in the order of their starts: requests wait for workers alone
        self._supervisor_state = supervisor_state
        self._pulse = pulse
        self._checked_ns = 0
        self._resumed_ns = 0
        self._grace_ns = int(grace_s * _S)
        self._notice_ns = int(notice_s * _S)
        self._stop_requested = False
        self._on_terminal = os.isatty(0)
        self._up = up
        self._announced = False
        self._ever_served = False
        self._stage = Stage.RUNNING
        self._deadline_ns = 0
        self._signals: list[int] = []
        self._failed = False
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> int:
        """Run until everything has ended; return 0, 1 if the node could not start, or 128 + signal number."""
        previous = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)
        }
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, previous)  # those that came before they could be handled
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._write_state()
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
            status = self._handle_signals(now_ns)
            if status is not None:
                return status
            self._reap(now_ns)
            if self._stage is Stage.LEAVING and now_ns >= self._deadline_ns:
                self._drain(now_ns)
            if self._restarts_children:
                self._start_due(now_ns)
                self._kill_hung(now_ns)
            elif self._end(now_ns):
                logs.say(logs.INFO, "everything has ended")
                return int(self._failed)
            for key, _ in self._selector.select(self._wait_s(now_ns)):
                if isinstance(key.data, Child):
                    self._read_ready(key.data)
                else:
                    os.read(self._wake_read, 4096)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:  # SIGCHLD only has to wake the loop
            self._signals.append(number)

    def _handle_signals(self, now_ns: int) -> int | None:
        """Act on received signals; return an exit status if the node must end at once."""
        while self._signals:
            number = self._signals.pop(0)
            name = signal.Signals(number).name
            if number == signal.SIGHUP and not (self._on_terminal and not os.isatty(0)):
                for other in self._others:
                    if other.name == CONTROL and other.serves:
                        other.send(signal.SIGHUP)
                continue
            repeated, self._stop_requested = self._stop_requested, self._stop_requested or number != signal.SIGUSR1
            if repeated and number != signal.SIGUSR1:
                logs.say(logs.WARNING, f"{name} again: ending at once")
                return 128 + number
            if self._stage is Stage.RUNNING:
                notice_ns = self._notice_ns if number in (signal.SIGTERM, signal.SIGUSR1) and self._announced else 0
                logs.say(logs.INFO, f"{name}: draining", notice_s=notice_ns / _S, grace_s=self._grace_ns / _S)
                self._leave(now_ns + notice_ns)
            else:
                logs.say(logs.INFO, f"{name}: the node is already draining")
        return None

    @property
    def _restarts_children(self) -> bool:
        """Whether dead children are still restarted."""
        return self._stage in (Stage.RUNNING, Stage.LEAVING)

    def _leave(self, until_ns: int) -> None:
        """Report not ready from now on, and drain at ``until_ns``."""
        self._stage = Stage.LEAVING
        self._deadline_ns = until_ns
        self._write_state()

    def _drain(self, now_ns: int) -> None:
        self._stage = Stage.DRAINING
        self._deadline_ns = now_ns + self._grace_ns + MARGIN_NS
        for worker in self._workers:
            worker.send(signal.SIGTERM)

    def _end(self, now_ns: int) -> bool:
        """Continue ending; return whether no child runs any more."""
        if self._stage is Stage.DRAINING:
            left = [worker for worker in self._workers if worker.process is not None]
            if left and now_ns < self._deadline_ns:
                return False
            for worker in left:
                logs.say(logs.WARNING, "did not end within the grace period: killed", child=worker.name)
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
                wait_ns = child.reap(now_ns)
                logs.say(logs.ERROR, "cannot start a process", child=child.name, error=str(error), wait_s=wait_ns / _S)
                continue
            self._selector.register(child.ready_read, selectors.EVENT_READ, child)
            if again:
                child.restarts += 1
                self._write_state()
            pid = child.process.pid if child.process is not None else 0
            logs.say(logs.INFO, "restarted" if again else "started", child=child.name, pid=pid)

    def _reap(self, now_ns: int) -> None:
        for child in self._children:
            status = child.poll()
            if status is None:
                continue
            if child.ready_read >= 0:
                self._selector.unregister(child.ready_read)
            pid = child.process.pid if child.process is not None else 0
            wait_ns = child.reap(now_ns)
            if child.index >= 0:
                self._shared_state.clear_worker(child.index)
            if not self._restarts_children:
                logs.say(logs.INFO, how_it_ended(status), child=child.name, pid=pid)
                continue
            logs.say(logs.ERROR, how_it_ended(status), child=child.name, pid=pid, again_in_s=wait_ns / _S)
            if child.index >= 0 and not self._ever_served and child.restarts + 1 >= HOPELESS:
                logs.say(logs.ERROR, "no worker could start; giving up. The log above has the cause.")
                self._failed = True
                self._drain(now_ns)

    def _kill_hung(self, now_ns: int) -> None:
        if now_ns - self._checked_ns > PAUSED_NS:
            self._resumed_ns = now_ns
        self._checked_ns = now_ns
        for child in self._children:
            if child.process is None or not (child.index >= 0 or child.name == CONTROL):
                continue
            heartbeat_ns = max(self._heartbeat_ns(child), child.started_ns, self._resumed_ns)
            if now_ns - heartbeat_ns > (HUNG_NS if child.index >= 0 and child.serves else SLOW_NS):
                logs.say(logs.ERROR, "no heartbeat: killed", child=child.name, for_s=(now_ns - heartbeat_ns) // _S)
                child.send(signal.SIGKILL)

    def _heartbeat_ns(self, child: Child) -> int:
        if child.index >= 0:
            return self._shared_state.read_worker(child.index)["heartbeat_ns"]
        return self._pulse.recall() or 0

    def _read_ready(self, child: Child) -> None:
        """Read a child's report that it serves; :meth:`_reap` notices a child that died before."""
        data = os.read(child.ready_read, 4096)
        if not (data and child.ready_on_stdout):  # a child may write more to its stdout, which must stay open
            self._selector.unregister(child.ready_read)
            child.close_pipe()
        if not data or child.serves:
            return
        child.serves = True
        self._ever_served = self._ever_served or child.index >= 0
        took_ms = (clock.now_ns() - child.started_ns) // 1_000_000
        logs.say(logs.INFO, "serves", child=child.name, after_ms=took_ms)
        if not self._announced and all(sibling.serves for sibling in self._children):
            self._announced = True
            self._up()

    def _write_state(self) -> None:
        restarts = {child.name: child.restarts for child in self._children}
        self._supervisor_state.keep(SupervisorState(restarts, leaving=self._stage is not Stage.RUNNING))

    def _wait_s(self, now_ns: int) -> float:
        """Return seconds until the next deadline, at most ``POLL_S``."""
        due = [child.due_ns for child in self._children if child.process is None and child.due_ns is not None]
        if self._stage is Stage.LEAVING:
            due.append(self._deadline_ns)
        elif self._stage is not Stage.RUNNING:
            due = [self._deadline_ns]
        wait_s = min(((due_ns - now_ns) / _S for due_ns in due), default=POLL_S)
        return min(max(wait_s, 0.0), POLL_S)
