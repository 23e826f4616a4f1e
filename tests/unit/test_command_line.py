"""The command line that a process shows of itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import os
from edge.app import command_line
assert command_line.words()[-2:] == ["some", "words"]
command_line.show({shown})
print(*command_line.words())
print(open("/proc/self/environ").read().count("EDGE_TEST_SHOWN=1"), os.environ["EDGE_TEST_SHOWN"])
"""


def show(shown: str) -> tuple[str, str]:
    """Return the words that a process shows after it showed this expression, and what is left of its environment."""
    ended = subprocess.run(
        [sys.executable, "-c", CODE.format(shown=shown), "some", "words"],
        capture_output=True,
        text=True,
        check=True,
        env={"EDGE_TEST_SHOWN": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=30,
    )
    words, environ = ended.stdout.splitlines()
    return words, environ


@pytest.mark.parametrize("shown", [["edge", "worker", "--index", "3"], ["x"]])
def test_a_process_shows_other_words(shown: list[str]) -> None:
    """Others read the new words, and nothing of the old ones."""
    assert show(repr(shown)) == (" ".join(shown), "1 1")


def test_words_that_do_not_fit_are_cut_off() -> None:
    """The environment, which lies behind the words in memory, stays as it was."""
    words, environ = show("['long'] * 2000")
    assert set(words.split()) >= {"long"}
    assert len(words) < 2000
    assert environ == "1 1"
