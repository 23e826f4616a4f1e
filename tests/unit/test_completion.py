"""Completions and the manual page name every command and option that the parser has."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from edge.cli.completion import bash, commands, fish, man, zsh
from edge.cli.main import COMMANDS, parser


def completed(*words: str) -> set[str]:
    """Return what bash offers after these words, the last of which is incomplete."""
    line = " ".join(f"'{word}'" for word in words)
    state = f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}"
    script = f"{bash(parser())}\n{state}; _edge; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert "syntax" not in done.stderr
    return set(done.stdout.split())


def test_bash_completes_commands_and_options() -> None:
    """Commands, those below them, choices and options are offered by their beginnings."""
    assert set(COMMANDS) <= completed("edge", "")
    assert completed("edge", "che") == {"check"}
    assert {"drain", "eject", "restore"} <= completed("edge", "target", "")
    assert completed("edge", "target", "drain", "--rea") == {"--reason"}
    assert completed("edge", "doctor", "--off") == {"--offline"}
    assert completed("edge", "completion", "ma") == {"man"}
    assert completed("edge", "run", "--workers", "2", "--gra") == {"--grace"}


@pytest.mark.parametrize("make", [bash, zsh, fish, man])
def test_every_option_is_named(make: object) -> None:
    """Every command and every long option stands in each of the texts."""
    assert callable(make)
    text = str(make(parser())).replace("\\-", "-")
    for command in commands(parser()):
        assert all(word in text for word in command.words)
        for option in command.options:
            for name in option.option_strings:
                assert (name if make is not fish else name.lstrip("-")) in text, (command.words, name)


def test_shells_can_read_them() -> None:
    """Bash finds no fault in its text, and man none in the page, where it is installed."""
    for text in (bash(parser()), zsh(parser())):
        assert subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True, check=True).stderr == ""
    page = man(parser())
    assert page.startswith(".TH EDGE 1")
    if shutil.which("groff"):
        done = subprocess.run(
            ["groff", "-man", "-Tascii", "-ww"], input=page, text=True, capture_output=True, check=True
        )
        assert done.stderr == ""
