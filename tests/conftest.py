"""Settings of all tests. A busy machine is not a defect: hypothesis does not judge examples by their time.

pytest-timeout bounds every test, and hypothesis shrinks within that. Where several processes share the suite
(``pytest -n 4 --dist loadfile``, as ``make test`` does), a test with the mark ``alone`` waits until the others pause.
Such a test measures time, memory or processor, or needs addresses that only one program can have.
"""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

settings.register_profile("edge", deadline=None)
settings.load_profile("edge")

TESTS = Path(__file__).parent
SHARED = "PYTEST_XDIST_WORKER" in os.environ
# Files that take longest begin first, so that in the end no process is alone with one of them.
LONG = ("e2e/", "integration/test_outage.py", "meta/", "contract/", "packaging/", "regions/test_sharing.py")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take ``--seconds``: how long scenarios under load last."""
    parser.addoption("--seconds", type=float, help="seconds of load in tests/e2e/test_regions.py and test_key_limit.py")


@pytest.fixture(scope="session", autouse=True)
def _one_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put what nodes keep in the system's temporary folder into one that goes with the run: some tests kill them."""
    tmp_path_factory.getbasetemp()  # stays where it was, with what pytest keeps of the last runs
    with tempfile.TemporaryDirectory(prefix="edge-tests-", ignore_cleanup_errors=True) as place:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TMPDIR", place)
            patch.setattr(tempfile, "tempdir", place)
            yield


@pytest.fixture(autouse=True)
def _said_to_nobody_after(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let go of where a test had this process log to: the next one would write to a stream that is closed."""
    root, edge = logging.getLogger(), logging.getLogger("edge")
    handlers, levels = root.handlers[:], (root.level, edge.level)
    monkeypatch.setattr(logs, "_secrets", [])
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    edge.setLevel(levels[1])


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with long files and end with those that run alone; otherwise the order stays as random as it was.

    Each change between a test that runs alone and the others makes every process wait, so there should be few.
    """
    if not SHARED:
        return
    beside_others = {item.path for item in items if item.get_closest_marker("alone") is None}

    def turn(item: pytest.Item) -> int:
        if item.path not in beside_others:
            return 2
        return 0 if item.path.relative_to(TESTS).as_posix().startswith(LONG) else 1

    items.sort(key=turn)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test beside others, or alone; what it waits for that does not count towards its time limit."""
    if not SHARED:
        return (yield)
    with _room(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@contextmanager
def _room(*, alone: bool) -> Iterator[None]:
    """Hold the room: all share it or one has it. Who waits for it holds the door, so that nobody overtakes."""
    with (TESTS / "conftest.py").open("rb") as door, (TESTS.parent / "pyproject.toml").open("rb") as room:
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(room, fcntl.LOCK_UN)
