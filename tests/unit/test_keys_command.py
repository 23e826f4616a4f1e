"""``edge keys`` makes keys that work, prints what scripts can use, and shows all keys."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from edge.admission.keys import PATTERN, new_key, sha256_of
from edge.cli.keys import status_table
from edge.cli.main import main
from edge.config.load import read_text

if TYPE_CHECKING:
    from pathlib import Path

FILE = f"""
providers: {{p: {{base_url: "http://127.0.0.1:9/v1"}}}}
models: {{chat: {{targets: [p/m]}}}}
keys:
  - {{name: team-a, sha256: "{"ab" * 32}", models: [chat], requests_per_minute: 6000, priority: high, budget: 12.5}}
  - {{name: team-b, sha256: "{"cd" * 32}"}}
"""


def test_keys_are_long_distinct_and_found_by_scanners() -> None:
    """Keys have 256 random bits behind a prefix, and all have the same form."""
    keys = {new_key() for _ in range(200)}
    assert len(keys) == 200
    assert all(re.fullmatch(PATTERN, key) for key in keys)


def test_new_prints_the_key_for_scripts_and_the_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Stdout has only the key; the line on stderr, put into a file, is that key with the requested limits."""
    options = ["--models", "chat,openai/*,service:s", "--rpm", "600", "--tpm", "90000", "--concurrent", "8"]
    more = ["--budget", "12.50", "--priority", "high", "--scope", "global"]
    assert main(["keys", "new", "team-a", *options, *more]) == 0
    said = capsys.readouterr()
    key = said.out.rstrip("\n")
    assert re.fullmatch(PATTERN, key)
    assert key not in said.err
    (line,) = [line for line in said.err.splitlines() if line.startswith("  - ")]
    (read,) = read_text(f"keys:\n{line}\n", environ={}).config.keys
    assert (read.name, read.sha256, read.models) == ("team-a", sha256_of(key), ("chat", "openai/*", "service:s"))
    assert (read.requests_per_minute, read.tokens_per_minute, read.concurrent) == (600, 90000, 8)
    assert (read.budget, read.priority, read.scope) == (12.5, "high", "global")


def test_new_as_json_has_everything_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The output is one object with the key, its hash and the line."""
    assert main(["keys", "new", "ci", "--json"]) == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert set(told) == {"name", "key", "sha256", "line"}
    assert told["sha256"] == sha256_of(told["key"])
    assert (told["line"], said.err) == (f"- {{name: ci, sha256: {told['sha256']}}}", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["team a"], "name: a key's name consists of up to 63 letters"),
        (["a", "--rpm", "-1"], "requests_per_minute: -1 is too small; write at least 0"),
        (["a", "--rpm", "many"], "requests_per_minute: 'many' is not a whole number"),
        (["a", "--budget", "0"], "budget: 0 is too small; write more than 0"),
        (["a", "--priority", "urgent"], "priority: 'urgent' is not known; write high or normal or low"),
        (["a", "--models", "chat,chat"], "models"),
    ],
)
def test_new_refuses_what_the_file_would_be_refused_for(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Invalid limits are refused with a remedy, and no key is made; models are checked by the file only."""
    status = main(["keys", "new", *arguments])
    told = capsys.readouterr()
    if said == "models":
        assert status == 0
        return
    assert (status, told.out) == (2, "")
    assert f"edge: {said}" in told.err


def test_list_shows_the_keys_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Name, limits and the beginning of the hash are shown, as a table and as JSON."""
    file = tmp_path / "edge.yaml"
    file.write_text(FILE, encoding="utf-8")
    assert main(["keys", "list", "-c", str(file), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["name"], first["sha256"], first["models"], first["budget"]) == ("team-a", "abababab", ["chat"], 12.5)
    assert (second["name"], second["priority"], second["budget"]) == ("team-b", "normal", None)
    assert main(["keys", "list", "-c", str(file)]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("team-a", "abababab…", "high", "6,000", "$12.5", "everything"))
    assert "ab" * 32 not in said


def test_list_says_what_it_means_that_there_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without keys, or without a file, one sentence gives the remedy."""
    file = tmp_path / "edge.yaml"
    file.write_text(FILE.partition("keys:")[0], encoding="utf-8")
    assert main(["keys", "list", "-c", str(file)]) == 0
    assert "`edge keys new NAME` makes one" in capsys.readouterr().out
    assert main(["keys", "list", "-c", str(tmp_path / "none.yaml")]) == 1
    assert "cannot be read: No such file" in capsys.readouterr().err


def _shown(keys: list[dict[str, Any]]) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(status_table(keys))
    return captured.get()


def test_status_shows_what_is_left_and_what_was_refused() -> None:
    """The table shows what is left of limits and budget, and each kind of refusal that happened."""
    key = {
        "name": "team-a",
        "priority": "high",
        "requests": {"limit": 600.0, "burst": 60, "remaining": 12, "reset_s": 4.8},
        "tokens": None,
        "concurrent": 8,
        "budget": 50.0,
        "inflight": 3,
        "admitted": 1234,
        "refused": {"requests": 7, "tokens": 0, "concurrent": 0, "budget": 0},
        "prompt_tokens": 10,
        "output_tokens": 20,
        "cost": 1.0,
        "spent": 0.5,
    }
    said = _shown([key])
    assert all(word in said for word in ("12 (600/min)", "3 of 8", "1,234", "$0.50 of $50", "7 by requests"))
    credential = {name: value for name, value in key.items() if name not in ("priority", "refused", "spent", "budget")}
    said = _shown([credential])
    assert "provider" in said
    assert "$1.00" in said
