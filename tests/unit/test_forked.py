"""Forked processes: what they keep of their parent, and how they end."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Each case runs in a process of its own: pytest's may have threads, and a fork copies only one.
RUN = """
import os, signal, sys, time
from pathlib import Path
from edge.app.forked import fork
"""


def said(code: str, *, stdin: str = "") -> tuple[str, str]:
    """Run code in a new interpreter; return what it and what it forked wrote to stdout and stderr."""
    ended = subprocess.run(
        [sys.executable, "-c", RUN + code], capture_output=True, text=True, check=True, timeout=60, input=stdin
    )
    return ended.stdout, ended.stderr


def test_a_fork_has_no_descriptors_but_its_own() -> None:
    """Only the standard streams and the descriptors that it is given are open, under the same numbers."""
    code = (
        "first, second = os.open('/dev/zero', os.O_RDONLY), os.open('/dev/zero', os.O_RDONLY)\n"
        "def run():\n"
        "    names = sorted(int(place.name) for place in Path('/proc/self/fd').iterdir())\n"
        "    print([name for name in names if name < 3 or os.path.exists(f'/proc/self/fd/{name}')])\n"
        "assert fork(run, [second]).wait(20) == 0\n"
        "print([0, 1, 2, second])\n"
    )
    found, expected = said(code)[0].splitlines()
    assert found == expected


def test_a_fork_reads_no_input_and_leads_its_session() -> None:
    """What is typed for the parent is not read by a fork, and Ctrl-C does not reach it."""
    code = (
        "def run():\n"
        "    print(repr(sys.stdin.read()), os.getsid(0) == os.getpid())\n"
        "assert fork(run, []).wait(20) == 0\n"
        "print(repr(sys.stdin.read()))\n"
    )
    assert said(code, stdin="typed")[0].splitlines() == ["'' True", "'typed'"]


def test_a_fork_handles_signals_as_a_new_program() -> None:
    """Handlers and the mask of the parent's start are not those of a fork; ignored signals stay ignored."""
    code = (
        "signal.signal(signal.SIGTERM, lambda *_: print('parent'))\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "read, write = os.pipe2(os.O_NONBLOCK)\n"
        "signal.set_wakeup_fd(write)\n"
        "def run():\n"
        "    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN\n"
        "    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()\n"
        "    assert signal.set_wakeup_fd(-1) == -1\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "print(fork(run, []).wait(20), signal.pthread_sigmask(signal.SIG_BLOCK, []))\n"
    )
    assert said(code)[0] == "-15 set()\n"


@pytest.mark.parametrize(
    ("body", "status", "errors"),
    [
        ("pass", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('a sentence')", 1, "a sentence\n"),
        ("1 / 0", 1, "ZeroDivisionError"),
    ],
)
def test_a_fork_ends_as_a_program_does(body: str, status: int, errors: str) -> None:
    """The status is that of its SystemExit, an exception is shown; nothing of the parent's clean-up runs in it."""
    code = (
        f"def run():\n    {body}\n"
        "try:\n"
        "    child = fork(run, [])\n"
        "    print(child.wait(20), child.poll())\n"
        "finally:\n"
        "    print('cleaned up')\n"
    )
    out, err = said(code)
    assert out == f"{status} {status}\ncleaned up\n"
    assert errors in err
    assert bool(err) == bool(errors)


def test_buffered_output_is_written_once() -> None:
    """What the parent has printed and not yet written does not come again from the fork."""
    code = "print('once')\nfork(lambda: print('fork'), []).wait(20)\n"
    assert said(code)[0] == "once\nfork\n"


def test_a_wait_is_bounded_and_a_kill_ends_it() -> None:
    """Waiting for a fork that runs on ends with TimeoutExpired; SIGKILL ends the fork; more signals change nothing."""
    code = (
        "import subprocess\n"
        "child = fork(lambda: time.sleep(60), [])\n"
        "assert child.poll() is None\n"
        "try:\n"
        "    child.wait(0.05)\n"
        "except subprocess.TimeoutExpired:\n"
        "    print('runs on')\n"
        "child.kill()\n"
        "print(child.wait(20))\n"
        "child.send_signal(signal.SIGTERM)\n"
        "child.kill()\n"
    )
    assert said(code)[0] == "runs on\n-9\n"
