"""When a dead child is started again."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from edge.app.children import FIRST_WAIT_NS, LIVED_NS, LONGEST_WAIT_NS, Backoff, Child, how_it_ended


def test_first_death_costs_nothing_and_later_ones_more_and_more() -> None:
    """Delays are 0, 0.1, 0.2, 0.4 ... and at most five seconds, however often the child dies."""
    backoff = Backoff()
    waits = [backoff.died(0) for _ in range(100)]
    assert waits[:5] == [0, FIRST_WAIT_NS, 2 * FIRST_WAIT_NS, 4 * FIRST_WAIT_NS, 8 * FIRST_WAIT_NS]
    assert waits[-1] == max(waits) == LONGEST_WAIT_NS
    assert waits == sorted(waits)


def test_a_life_forgives() -> None:
    """After a child has lived for ten seconds, the delays start again."""
    backoff = Backoff()
    for _ in range(7):
        backoff.died(LIVED_NS - 1)
    assert backoff.died(LIVED_NS) == 0
    assert backoff.died(0) == FIRST_WAIT_NS


@pytest.mark.parametrize("speaks", [False, True])
def test_it_says_that_it_serves(speaks: bool) -> None:
    """A child reports on its pipe by a byte, or by its first output on stdout; its death closes the pipe."""
    code = "print('up', flush=True)" if speaks else "import os, sys; os.write(int(sys.argv[1]), b'1')"
    child = Child("test", lambda it: ["-c", code, str(it.ready_write)], ready_on_stdout=speaks)
    child.start(5)
    assert child.process is not None
    try:
        assert select.select([child.ready_read], [], [], 10)[0]
        assert os.read(child.ready_read, 16)[:2] in (b"up", b"1")
        assert child.process.wait(10) == 0
        assert os.read(child.ready_read, 16).strip() == b""
    finally:
        child.kill()
    assert child.reap(5 + LIVED_NS) == 0
    assert child.due_ns == 5 + LIVED_NS


FORKS = """
import sys
from pathlib import Path
from edge.app.children import Child

def main(words):
    assert list(words) == ["-n1", "-r1", "pass"]
    print(copied, *Path("/proc/self/cmdline").read_text().rstrip(chr(0)).split(chr(0)))

copied = "copy"
child = Child("test", lambda _: ["-m", "timeit", "-n1", "-r1", "pass"], main=main)
for now in (1, 2):
    child.start(now)
    assert child.process.wait(20) == 0
    child.reap(now)
"""


def test_the_first_process_is_forked_and_its_successors_are_executed() -> None:
    """A child with a main begins as a copy of this process, under its own command line; the next one is a program."""
    ended = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=True, timeout=60)
    forked, executed = ended.stdout.splitlines()
    assert forked == f"copy {sys.executable} -m timeit -n1 -r1 pass"
    assert executed.startswith("1 loop, best of 1")


def open_files() -> set[str]:
    """Return the descriptors of this process, except the one that reads the folder."""
    return {each.name for each in Path("/proc/self/fd").iterdir()}


def test_no_descriptor_leaks() -> None:
    """A child that cannot be started leaves no descriptor behind."""
    child = Child("test", lambda _: ["-c", "pass"])
    before = open_files()
    executable, sys.executable = sys.executable, "/nowhere/python"
    try:
        with pytest.raises(FileNotFoundError):
            child.start(0)
    finally:
        sys.executable = executable
    assert open_files() == before


def test_ends_are_said_in_words() -> None:
    """An exit status is shown in words."""
    assert how_it_ended(3) == "exited with status 3"
    assert how_it_ended(-9) == "was killed by SIGKILL"
    assert how_it_ended(-63) == "was killed by signal 63"
