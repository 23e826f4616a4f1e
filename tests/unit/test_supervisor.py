"""What does the supervisor do with children that misbehave?  Real processes, of one line each."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING

from edge.app.children import Child
from edge.app.supervisor import HOPELESS, Supervisor
from edge.app.tally import Tally
from edge.control.keepsake import Keepsake
from edge.native import Board

if TYPE_CHECKING:
    from collections.abc import Callable

STAYS = "import os, sys, time; os.write(int(sys.argv[1]), b'1'); time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + STAYS
DIES = "raise SystemExit(3)"


def child(name: str, code: str, index: int = -1) -> Child:
    """Make a child that runs one line of Python."""
    return Child(name, lambda it: ["-S", "-c", code, str(it.ready_write)], index=index)


class Fixture:
    """A supervisor with one worker, and what became of it."""

    def __init__(self, code: str, *, grace_s: float = 5.0) -> None:
        self.board = Board.create(1, 1, 1)
        self.tally = Keepsake.create("tally", Tally)
        self.worker = child("worker 0", code, 0)
        self.other = child("control", STAYS)
        self.ups = 0
        self.supervisor = Supervisor(
            self.board, [self.worker], [self.other], self.tally, grace_s=grace_s, up=self.count
        )

    def count(self) -> None:
        """Take note that all is up."""
        self.ups += 1

    def run(self, *then: Callable[[], None]) -> int:
        """Run until it ends; each of ``then`` is called in turn once the step before has had its effect."""

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
        """Return who runs."""
        return [each.process.pid for each in (self.worker, self.other) if each.process is not None]


def ask_to_stop() -> None:
    """Send this process what an operator would."""
    os.kill(os.getpid(), signal.SIGTERM)


def test_gives_up_when_no_worker_ever_serves() -> None:
    """A worker that dies before it ever served ends the node with status 1 after a few tries, not never."""
    fixture = Fixture(DIES)
    assert fixture.supervisor.run() == 1
    assert fixture.ups == 0
    assert fixture.worker.restarts == HOPELESS - 1
    tally = fixture.tally.recall()
    assert tally is not None
    assert tally.restarts == {"control": 0, "worker 0": HOPELESS - 1}
    assert fixture.pids() == []


def test_stops_when_told() -> None:
    """SIGTERM ends everything with status 0, and all-up was said once."""
    fixture = Fixture(STAYS)
    assert fixture.run(ask_to_stop) == 0
    assert fixture.ups == 1
    assert fixture.pids() == []


def test_restarts_and_clears_the_columns() -> None:
    """A killed worker is started again, its record on the Board cleared, and the restart counted."""
    fixture = Fixture(STAYS)
    first: list[int] = []

    def kill() -> None:
        fixture.board.beat(0, 4711, 1)
        first.extend(fixture.pids())
        fixture.worker.serves = False
        os.kill(first[0], signal.SIGKILL)

    assert fixture.run(kill, ask_to_stop) == 0
    assert fixture.board.read_worker(0)["pid"] == 0
    tally = fixture.tally.recall()
    assert tally is not None
    assert tally.restarts == {"control": 0, "worker 0": 1}
    assert fixture.ups == 1


def test_the_grace_is_bounded() -> None:
    """A worker that does not end is killed when the grace is over, and the status is still 0."""
    fixture = Fixture(DEAF, grace_s=0.3)
    began = time.monotonic()
    assert fixture.run(ask_to_stop) == 0
    assert time.monotonic() - began < 60
    assert fixture.pids() == []


def test_a_second_signal_ends_at_once() -> None:
    """A second signal does not wait for the grace; the status says which signal it was."""
    fixture = Fixture(DEAF, grace_s=60.0)

    def twice() -> None:
        ask_to_stop()
        time.sleep(0.3)
        ask_to_stop()

    assert fixture.run(twice) == 128 + signal.SIGTERM
    assert fixture.pids() == []
