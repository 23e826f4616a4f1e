"""The output and the exit status of ``edge check`` and ``edge config``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import yaml

from edge.cli import main as cli
from edge.cli.main import COMMANDS, main, parser

if TYPE_CHECKING:
    from pathlib import Path

GOOD = 'providers: {openai: {api_key: "${KEY:-k}"}}\nmodels: {chat: {targets: [openai/gpt-4.1-mini]}}\n'


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Return a usable configuration file."""
    file = tmp_path / "edge.yaml"
    file.write_text(GOOD, encoding="utf-8")
    return file


def test_check_passes_a_good_file(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says that the file is fine, with a summary; the status is 0."""
    assert main(["check", str(written)]) == 0
    assert capsys.readouterr().out == f"{written}: valid: 1 model, 0 services\n"


def test_check_passes_a_file_with_warnings(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Warnings are printed and counted, and the status is still 0."""
    written.write_text(GOOD.replace("${KEY:-k}", "sk-clear"), encoding="utf-8")
    assert main(["check", str(written)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{written}:1: providers.openai.api_key: warning: the secret is written in clear")
    assert lines[1:] == [f"{written}: valid: 1 model, 0 services, 1 warning"]


def test_check_refuses_a_bad_file(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every problem is a line that an editor can jump to; the status is 1."""
    written.write_text(GOOD + "limits: {body: 1}\nnode: {regoin: eu}\n", encoding="utf-8")
    assert main(["check", str(written)]) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        f"{written}:3: limits.body: '1' is not a size; write 1B",
        f"{written}:4: node.regoin: unknown key; did you mean region?",
    ]
    assert printed.err == f"{written}: 2 errors, 0 warnings\n"


def test_check_is_in_colour_on_a_terminal(
    written: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal the same words are printed, with colours for errors."""
    written.write_text(GOOD + "limits: {body: 1}\n", encoding="utf-8")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    assert main(["check", str(written)]) == 1
    printed = capsys.readouterr().out
    assert "\x1b[1;31merror" in printed
    assert "limits.body" in printed


def test_show_prints_the_whole(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The output is YAML with all settings of the provider, and without secrets."""
    assert main(["config", "show", "-c", str(written)]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["providers"]["openai"]["base_url"] == "https://api.openai.com/v1"
    assert shown["providers"]["openai"]["api_key"] == "***"


def test_show_refuses_a_bad_file(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For an unusable file the problems are printed instead of a configuration."""
    written.write_text(GOOD + "admin: {address: '10.0.0.1:1'}\n", encoding="utf-8")
    assert main(["config", "show", "-c", str(written)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"edge: {written}:3: admin.address: " in printed.err


def test_show_without_a_file_uses_the_environment(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys in the environment give the configuration that ``edge run`` would use; without keys there is none."""
    for variable in ("OPENAI", "ANTHROPIC", "GEMINI", "GOOGLE", "DEEPSEEK"):
        monkeypatch.delenv(f"{variable}_API_KEY", raising=False)
        monkeypatch.delenv(f"{variable}_BASE_URL", raising=False)
    assert main(["config", "show"]) == 1
    assert "OPENAI_API_KEY" in capsys.readouterr().err
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-1")
    assert main(["config", "show"]) == 0
    assert list(yaml.safe_load(capsys.readouterr().out)["models"]) == ["chat"]


def test_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    """The printed schema can be loaded by an editor."""
    assert main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "edge.yaml"


def test_a_command_that_is_named_and_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A subcommand whose module is missing is an error, and does not vanish silently."""
    monkeypatch.setattr(cli, "COMMANDS", ("check", "nowhere"))
    with pytest.raises(ModuleNotFoundError, match=r"edge\.cli\.nowhere"):
        parser()


def test_a_part_that_is_not_built_is_one_sentence(
    written: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edge that is not built says what is missing, without a traceback."""
    monkeypatch.setitem(sys.modules, "edge.config.check", None)
    assert main(["check", str(written)]) == 1
    assert capsys.readouterr().err.startswith("edge: import of edge.config.check halted")


def test_every_command_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help lists every subcommand of the table."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    words = capsys.readouterr().out.split()
    assert set(COMMANDS) <= set(words)


def imported(*arguments: str) -> int:
    """Run Python; return how many modules it imported, itself included."""
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True)
    return done.stderr.count("import time:")


def test_help_is_quick() -> None:
    """``edge --help`` reads every subcommand, and still imports fewer modules than ``import asyncio``."""
    assert imported("-m", "edge", "--help") < imported("-c", "import asyncio")


def shell(command: str, unbuffered: str = "") -> tuple[int, str]:
    """Run edge with redirections that a shell can make; return the status and stderr."""
    whole = f"{sys.executable} -m edge {command}"
    environ = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(whole, shell=True, capture_output=True, text=True, check=False, timeout=60, env=environ)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "command", ["check {file}", "config show -c {file}", "config schema", "keys list -c {file}", "--version"]
)
def test_output_that_cannot_be_written_is_one_sentence(written: Path, command: str) -> None:
    """A full disk or a closed output is reported in one sentence and by the exit status."""
    line = command.format(file=written)
    assert shell(f"{line} >/dev/full") == (1, "edge: the output cannot be written: No space left on device\n")
    assert shell(f"{line} >&-") == (1, "edge: the output cannot be written: Bad file descriptor\n")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_where_nothing_can_be_said_the_status_is_left(written: Path, unbuffered: str) -> None:
    """If no stream works, only the status reports it; a closed stderr is not replaced by stdout."""
    assert shell(f"check {written} >/dev/full 2>&1", unbuffered)[0] == 1
    assert shell(f"check {written} >&- 2>&-", unbuffered)[0] == 1
    assert shell(f"check {written} 2>&-", unbuffered) == (0, "")


@pytest.mark.parametrize("closed", [1, 2])
def test_the_number_of_a_closed_stream_is_held_in_children_too(closed: int) -> None:
    """A file that a child opens or inherits never gets the descriptor number of stdout or stderr."""
    code = f"import os; from edge.cli import main; main._harden_streams(); os._exit(3 + os.get_inheritable({closed}))"
    done = subprocess.run(f'{sys.executable} -c "{code}" {closed}>&-', shell=True, check=False, timeout=60)
    assert done.returncode == 4


def test_half_a_pair_is_printed_as_an_escape(written: Path) -> None:
    """A name with a lone surrogate, or not in ASCII on an ASCII output, is printed with escapes."""
    key = '{name: "\\ud800", sha256: "%s"}' % ("ab" * 32)
    written.write_text(f'{GOOD}keys: [{key}]\nservices: {{"\\udfff": {{}}}}\n', encoding="utf-8")
    for encoding in ("utf-8", "ascii"):
        environ = {**os.environ, "PYTHONIOENCODING": encoding}
        for command, status, shown in (("check", 1, "\\udfff"), ("keys list -c", 0, "\\ud800")):
            line = [sys.executable, "-m", "edge", *command.split(), str(written)]
            done = subprocess.run(line, capture_output=True, text=True, check=False, env=environ)
            assert (done.returncode, shown in done.stdout, "Traceback" in done.stderr) == (status, True, False)


@pytest.mark.parametrize(
    "command",
    [
        ["top", "--every", "nan"],
        ["top", "--every", "1e30"],
        ["top", "--every", "-1"],
        ["top", "--every", "x"],
        ["run", "--grace", "inf"],
        ["run", "--drain-grace", "1e30"],
        ["run", "--ready-file", "/"],
        ["run", "--ready-file", ""],
    ],
    ids=" ".join,
)
def test_an_amount_or_a_file_that_is_none_is_refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An impossible duration or file is refused as an argument, before anything is done."""
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert f"argument {command[1]}: {command[2]!r} " in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_traceback() -> None:
    """``edge config schema | head -1`` ends quietly."""
    command = f"{sys.executable} -m edge config schema | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout == "{\n"
    assert done.stderr == ""
