"""Problems of a configuration, each a sentence with the place and the remedy, and the document they belong to."""

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
    """A problem. An ``error`` makes the configuration invalid, a ``warning`` does not. ``line`` 0: not from a file."""

    path: Path
    sentence: str
    line: int = 0
    severity: Literal["error", "warning"] = "error"

    def text(self, source: str = "") -> str:
        """Return ``file:line: path: sentence``, without the parts that are unknown."""
        place = f"{source}:{self.line}" if source and self.line else source
        mark = "warning: " if self.severity == "warning" else ""
        return ": ".join(part for part in (place, spell(self.path)) if part) + ": " + mark + self.sentence


class Document(Struct, frozen=True):
    """A configuration as read: ``config`` holds what could be parsed, ``problems`` describes the rest.

    ``lines`` maps every path in the file to its line, counted from 1; ``source`` is the file's name.
    ``taken`` maps values from the environment to their spelling in the file, ``${NAME}``, because a value may be a key
    in the wrong place.
    ``secret_files`` are the files that secrets were read from (``file:/path``).
    ``kept`` maps the path of each list with entries that could not be parsed to the original indexes of the others.
    """

    config: Config
    problems: tuple[Problem, ...] = ()
    lines: dict[Path, int] = {}
    source: str = ""
    taken: dict[str, str] = {}
    kept: dict[Path, tuple[int, ...]] = {}
    secret_files: tuple[str, ...] = ()

    def as_written(self, problem: Problem) -> Problem:
        """Return a problem with values from the environment replaced by their spelling in the file."""
        sentence = problem.sentence
        for value in sorted(self.taken, key=len, reverse=True):
            sentence = sentence.replace(value, self.taken[value])
        return structs.replace(problem, sentence=sentence)

    def place(self, path: Path) -> Path:
        """Return the path in the file of a path in ``config``, whose lists may lack entries."""
        found: Path = ()
        for part in path:
            kept = self.kept.get(found) if isinstance(part, int) else None
            found = (*found, part if kept is None else kept[int(part)])
        return found

    def line(self, path: Path) -> int:
        """Return the line of a path, or of the nearest enclosing section in the file."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return 0

    def written(self, *path: str | int) -> bool:
        """Return whether the file contains this path, even if its value could not be parsed."""
        return path in self.lines


def spell(path: Path) -> str:
    """Return a path as ``models.chat.targets[1].tier``; names with dots or blanks are quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if _PLAIN.fullmatch(part) else f'"{part}"'
            text += f".{name}" if text else name
    return text


def errors(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems that make a configuration invalid."""
    return [problem for problem in problems if problem.severity == "error"]
