"""The supervisor's reaction to misbehaving children: real processes, of one line each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from edge.app import supervisor
from edge.app.children import Child
from edge.app.supervisor import HOPELESS, Supervisor
from edge.app.supervisor_state import SupervisorState
from edge.control.memfd_cell import MemfdCell
from edge.native import SharedState

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(60)

S = 1_000_000_000
STAYS = "import os, sys, time; os.write(int(sys.argv[1]), b'1'); time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + STAYS
DIES = "raise SystemExit(3)"
STANDS = "import time; time.sleep(60)"


def child(name: str, code: str, index: int = -1) -> Child:
    """Make a child that runs one line of Python."""
    return Child(name, lambda it: ["-S", "-c", code, str(it.ready_write)], index=index)


class Fixture:
    """A supervisor with one worker, and a record of its results."""

    def __init__(self, code: str, *, grace_s: float = 5.0) -> None:
        self.shared_state = SharedState.create(1, 1, 1)
        self.supervisor_state = MemfdCell.create("supervisor_state", SupervisorState)
        self.worker = child("worker 0", code, 0)
        self.other = child("control", STAYS)
        self.pulse = MemfdCell.create("pulse", int)
        self.ups = 0
        self.supervisor = Supervisor(
            self.shared_state,
            [self.worker],
            [self.other],
            self.supervisor_state,
            self.pulse,
            grace_s=grace_s,
            up=self.count,
        )

    def count(self) -> None:
        """Record that the node is complete."""
        self.ups += 1

    def run(self, *then: Callable[[], None]) -> int:
        """Run until the end; call each of ``then`` once the step before has had its effect."""

        def act() -> None:
            for step in then:
                for _ in range(3000):
                    if self.ups and self.worker.serves:
                        break
                    time.sleep(0.01)
                step()

        actor = threading.Thread(target=act)
        actor.start()
        try:
            return self.supervisor.run()
        finally:
            actor.join(60)

    def pids(self) -> list[int]:
        """Return the running processes."""
        return [each.process.pid for each in (self.worker, self.other) if each.process is not None]


def ask_to_stop() -> None:
    """Send this process the signal of an operator."""
    os.kill(os.getpid(), signal.SIGTERM)


class Clock:
    """A clock that advances by a second at each read while ``fast`` is set, else by a millisecond."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fast: Callable[[], bool]) -> None:
        self.now = 1_000 * S
        self.fast = fast
        monkeypatch.setattr(supervisor.clock, "now_ns", self.look)
        monkeypatch.setattr(supervisor, "POLL_S", 0.001)

    def look(self) -> int:
        """Return the time."""
        self.now += S if self.fast() else S // 1000
        return self.now


def test_a_worker_that_never_serves_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that hangs before it serves is killed after a minute; its successor completes the node."""
    fixture = Fixture(STANDS)
    Clock(monkeypatch, lambda: fixture.worker.process is not None and fixture.worker.restarts == 0)
    fixture.pulse.keep(1_000_000 * S)
    first, later = fixture.worker.arguments, child("worker 0", STAYS, 0).arguments
    fixture.worker.arguments = lambda it: later(it) if it.started_ns else first(it)
    assert fixture.run(ask_to_stop) == 0
    assert (fixture.worker.restarts, fixture.other.restarts, fixture.ups) == (1, 0, 1)
    assert fixture.worker.started_ns > 1_060 * S


@pytest.mark.parametrize("lives", [True, False])
def test_a_control_that_stands_still_is_replaced(lives: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control without heartbeats is killed after a minute; control with heartbeats stays."""
    fixture, over = Fixture(STAYS), threading.Event()

    def fast() -> bool:
        fixture.shared_state.beat(0, 4711, now.now)
        if lives:
            fixture.pulse.keep(now.now)
        if now.now > 1_100 * S if lives else fixture.other.restarts:
            over.set()
        return fixture.ups > 0 and fixture.other.process is not None and not over.is_set()

    now = Clock(monkeypatch, fast)
    assert fixture.run(lambda: over.wait(30) and None, ask_to_stop) == 0
    assert over.is_set()
    assert (fixture.worker.restarts, fixture.other.restarts) == (0, int(not lives))


def test_a_pause_of_all_kills_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the supervisor itself was paused, as on a suspended machine, the others get their full time again."""
    fixture, over, looks = Fixture(STAYS), threading.Event(), 0

    def fast() -> bool:
        nonlocal looks
        looks += fixture.ups
        if looks == 1:
            now.now += 1_000 * S
        elif looks > 10:
            over.set()
        return False

    now = Clock(monkeypatch, fast)
    assert fixture.run(lambda: over.wait(30) and None, ask_to_stop) == 0
    assert looks > 10
    assert (fixture.worker.restarts, fixture.other.restarts) == (0, 0)


def test_gives_up_when_no_worker_ever_serves() -> None:
    """If workers die before they ever serve, the node ends with status 1 after a few tries."""
    fixture = Fixture(DIES)
    assert fixture.supervisor.run() == 1
    assert fixture.ups == 0
    assert fixture.worker.restarts == HOPELESS - 1
    supervisor_state = fixture.supervisor_state.recall()
    assert supervisor_state is not None
    assert supervisor_state.restarts == {"control": 0, "worker 0": HOPELESS - 1}
    assert fixture.pids() == []


def test_stops_when_told() -> None:
    """SIGTERM ends everything with status 0, and the node was reported complete once."""
    fixture = Fixture(STAYS)
    assert fixture.run(ask_to_stop) == 0
    assert fixture.ups == 1
    assert fixture.pids() == []


def test_restarts_and_clears_the_columns() -> None:
    """A killed worker is restarted, its record in the shared state is cleared, and the restart is counted."""
    fixture = Fixture(STAYS)
    first: list[int] = []

    def kill() -> None:
        fixture.shared_state.beat(0, 4711, 1)
        first.extend(fixture.pids())
        fixture.worker.serves = False
        os.kill(first[0], signal.SIGKILL)

    assert fixture.run(kill, ask_to_stop) == 0
    assert fixture.shared_state.read_worker(0)["pid"] == 0
    supervisor_state = fixture.supervisor_state.recall()
    assert supervisor_state is not None
    assert supervisor_state.restarts == {"control": 0, "worker 0": 1}
    assert fixture.ups == 1


def test_the_grace_is_bounded() -> None:
    """A worker that does not end is killed after the grace period, and the status is still 0."""
    fixture = Fixture(DEAF, grace_s=0.3)
    began = time.monotonic()
    assert fixture.run(ask_to_stop) == 0
    assert time.monotonic() - began < 60
    assert fixture.pids() == []


def test_a_second_signal_ends_at_once() -> None:
    """A second signal ends the node at once; the status tells which signal it was."""
    fixture = Fixture(DEAF, grace_s=60.0)

    def twice() -> None:
        ask_to_stop()
        time.sleep(0.3)
        ask_to_stop()

    assert fixture.run(twice) == 128 + signal.SIGTERM
    assert fixture.pids() == []


def test_reading_the_configuration_imports_no_event_loop() -> None:
    """What `edge run` imports before it executes the supervisor's program takes no time for asyncio and ssl."""
    asked = "import sys; from edge.cli.main import parser; parser(); import edge.app.start; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True, timeout=50)
    assert {"asyncio", "ssl", "uvloop", "aiohttp"} & set(found.stdout.split()) == set()
