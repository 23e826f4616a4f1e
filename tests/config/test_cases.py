"""Each configuration in ``cases/`` gives exactly the result that follows its dashes.

A case is a text file: a comment with the property, YAML, a line of dashes, and either every problem, word for word, or
``fine`` and a part of the output of ``edge config show``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from edge.config import effective
from edge.config.check import check
from edge.config.load import read_text
from edge.config.problems import errors
from edge.config.show import show
from edge.providers import KNOWN

HERE: Final = Path(__file__).parent
FILES: Final = HERE / "files"
CASES: Final = sorted((HERE / "cases").glob("*.txt"))
DASHES: Final = "----------\n"
ENVIRON: Final = {"SET": "sk-secret", "EMPTY": "", "NUMBER": "7", "LINES": "two\nlines"}


def outcome(text: str) -> str:
    """Return what ``edge check`` would print, and ``fine`` for a usable configuration."""
    document = read_text(text, "edge.yaml", FILES, ENVIRON)
    problems = check(document, KNOWN)
    lines = [problem.text(document.source).replace(str(FILES), "DIR") for problem in problems]
    return "".join(f"{line}\n" for line in lines) + ("" if errors(problems) else "fine\n")


def shown(text: str) -> Any:
    """Return the effective configuration as it is shown to an operator."""
    config = read_text(text, "edge.yaml", FILES, ENVIRON).config
    return yaml.safe_load(show(effective.whole(config, KNOWN)))


def assert_within(part: Any, whole: Any, path: str = "") -> None:
    """Assert that everything in ``part`` is in ``whole``."""
    if isinstance(part, dict):
        assert isinstance(whole, dict), path
        for key, item in part.items():
            assert key in whole, f"{path}.{key}"
            assert_within(item, whole[key], f"{path}.{key}")
        assert part or not whole, f"{path} is not empty: {whole}"
    elif isinstance(part, list):
        assert isinstance(whole, list), path
        assert len(part) == len(whole), f"{path}: {whole}"
        for index, item in enumerate(part):
            assert_within(item, whole[index], f"{path}[{index}]")
    else:
        assert part == whole, path


def test_there_are_cases() -> None:
    """The folder of cases exists and has many files, so that a moved folder is noticed."""
    assert len(CASES) >= 30


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    """The result of a configuration is exactly the text under its dashes."""
    text, dashes, expected = path.read_text(encoding="utf-8").partition(DASHES)
    assert dashes, "no line of dashes"
    said, fine, part = expected.partition("fine\n")
    assert outcome(text) == said + fine
    if part:
        assert_within(yaml.safe_load(part), shown(text))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_no_secret_is_ever_said(path: Path) -> None:
    """No key appears in a problem or in the effective configuration."""
    text = path.read_text(encoding="utf-8").partition(DASHES)[0]
    told = outcome(text)
    if told.endswith("fine\n"):
        told += str(shown(text)) + repr(read_text(text, "edge.yaml", FILES, ENVIRON).config)
    for secret in ("sk-secret", "sk-from-a-file", "sk-proj-1234", "12345", "user:pass", "key=x"):
        assert secret not in told
