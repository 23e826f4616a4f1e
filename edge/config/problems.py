"""What is wrong with a configuration, and where?  One sentence each, with the place and the remedy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from msgspec import Struct, structs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.config.schema import Config

Path = tuple[str | int, ...]
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_/-]*")


class Problem(Struct, frozen=True):
    """An ``error`` keeps the configuration from being used; a ``warning`` does not. ``line`` 0: not from a file."""

    path: Path
    sentence: str
    line: int = 0
    severity: Literal["error", "warning"] = "error"

    def text(self, source: str = "") -> str:
        """Return ``file:line: path: sentence``; what is unknown is left out."""
        place = f"{source}:{self.line}" if source and self.line else source
        mark = "warning: " if self.severity == "warning" else ""
        return ": ".join(part for part in (place, spell(self.path)) if part) + ": " + mark + self.sentence


class Document(Struct, frozen=True):
    """A configuration as read: ``config`` holds what could be understood, ``problems`` what could not.

    ``lines`` maps every path that is written in the file to its line, 1-based; ``source`` is the file's name.
    ``taken`` maps what came from the environment to how it is written, ``${NAME}``: it may be a key in the wrong place.
    ``kept`` maps the path of each list that lost entries, because they could not be understood, to the places in the
    file of those that are left.
    """

    config: Config
    problems: tuple[Problem, ...] = ()
    lines: dict[Path, int] = {}
    source: str = ""
    taken: dict[str, str] = {}
    kept: dict[Path, tuple[int, ...]] = {}

    def as_written(self, problem: Problem) -> Problem:
        """Return a problem that quotes the file, and nothing of the environment."""
        sentence = problem.sentence
        for value in sorted(self.taken, key=len, reverse=True):
            sentence = sentence.replace(value, self.taken[value])
        return structs.replace(problem, sentence=sentence)

    def place(self, path: Path) -> Path:
        """Return where a path of ``config`` stands in the file: lists may have lost entries before it."""
        found: Path = ()
        for part in path:
            kept = self.kept.get(found) if isinstance(part, int) else None
            found = (*found, part if kept is None else kept[int(part)])
        return found

    def line(self, path: Path) -> int:
        """Return the line of a path, or of the nearest section around it that is written."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return 0

    def written(self, *path: str | int) -> bool:
        """Tell whether the file has this path, even where its value could not be understood."""
        return path in self.lines


def spell(path: Path) -> str:
    """Write a path as ``models.chat.targets[1].tier``; names with dots or blanks are quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if _PLAIN.fullmatch(part) else f'"{part}"'
            text += f".{name}" if text else name
    return text


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """Return those that keep a configuration from being used."""
    return [problem for problem in problems if problem.severity == "error"]
