"""Parsing of single values: fills in ``${NAME}``, reads secrets from files, and parses units."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, Final

from edge.config import units
from edge.config.fields import Secret
from edge.config.files import check_name, read_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from edge.config.shape import Scalar

_MARK: Final = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")
_INTEGER: Final = re.compile(r"-?[0-9]+")
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_FILE: Final = "file:"
_LONGEST_SECRET: Final = 64 * 1024
_MOST_DIGITS: Final = 15
_SHORTEST_SECRET: Final = 8


def fill(text: str, environ: Mapping[str, str]) -> str:
    """Replace ``${NAME}`` and ``${NAME:-default}`` with values from the environment; ``$${`` stands for ``${``.

    An empty variable counts as unset, because an empty key would only be refused later by the provider.

    Raises:
        ValueError: a variable without a default is not set, or the braces cannot be parsed.
    """

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        name = match[1]
        if name is None:
            raise ValueError("'${' is incomplete; write ${NAME} or ${NAME:-default}, or $${ for a literal ${")
        value = environ.get(name) or match[2]
        if value is None:
            raise ValueError(f"the environment variable {name} is not set; set it, or write ${{{name}:-default}}")
        return value

    return _MARK.sub(replace, text)


def taken(text: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values that ``fill`` takes from the environment for a text, each with its spelling ``${NAME}``.

    Values too short to be a secret are omitted, because they also occur in ordinary sentences.
    """
    names = {match[1] for match in _MARK.finditer(text) if match[1]}
    return {environ[name]: f"${{{name}}}" for name in names if len(environ.get(name, "")) >= _SHORTEST_SECRET}


def secret_file(text: str, folder: Path) -> Path | None:
    """Return the file that a secret is read from; None: the text is the secret.

    Raises:
        ValueError: no file can have this name.
    """
    return folder / check_name(text.removeprefix(_FILE)) if text.startswith(_FILE) else None


def fetch(text: str, folder: Path) -> str:
    """Return the secret for a text; ``file:/path`` is read from that file, without the line break at its end.

    Raises:
        ValueError: the file cannot be read, or is not a single line of text.
    """
    path = secret_file(text, folder)
    if path is None:
        return text
    try:
        value = read_file(path, 4 * _LONGEST_SECRET).decode()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ValueError(f"the secret file {path} cannot be read: {said}") from error
    value = value.rstrip("\r\n")
    if not value or len(value) > _LONGEST_SECRET or "\n" in value or "\r" in value:
        raise ValueError(f"the secret file {path} must hold one line of text")
    return value


def understand(scalar: Scalar, text: str, folder: Path) -> Any:
    """Return the value of a scalar's text, in the program's units.

    Raises:
        ValueError: the text says what is wrong and what to write.
    """
    if scalar.kind == "secret":
        return Secret(fetch(text, folder))
    if scalar.kind == "path":
        return str((folder / check_name(text)).absolute()) if text else ""
    if scalar.kind == "choice":
        return _choice(scalar, text)
    parse, write = KINDS[scalar.kind]
    return _within(scalar, parse(text), write)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``; did you mean X?`` with the most similar known name, or "" if none is similar."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f"; did you mean {close[0]}?" if close else ""


def _choice(scalar: Scalar, text: str) -> str:
    if text not in scalar.choices:
        raise ValueError(f"{text!r} is not known; write {' or '.join(scalar.choices)}")
    return text


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{text!r} is neither true nor false")
    return text == "true"


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(f"{text!r} is not a whole number")
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"{text!r} has more than {_MOST_DIGITS} digits")
    return int(text)


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text) or len(text) > _MOST_DIGITS:
        raise ValueError(f"{text!r} is not a number")
    return float(text)


def _write_flag(value: bool) -> str:  # signature shared by all writers
    return "true" if value else "false"


def _within(scalar: Scalar, value: Any, write: Any) -> Any:
    if scalar.low is not None and value < scalar.low:
        raise ValueError(f"{write(value)} is too small; write at least {write(scalar.low)}")
    if scalar.above is not None and value <= scalar.above:
        raise ValueError(f"{write(value)} is too small; write more than {write(scalar.above)}")
    if scalar.high is not None and value > scalar.high:
        raise ValueError(f"{write(value)} is too large; write at most {write(scalar.high)}")
    return value


KINDS: Final[dict[str, tuple[Callable[[str], Any], Callable[[Any], str]]]] = {
    "text": (str, str),
    "flag": (_flag, _write_flag),
    "integer": (_integer, str),
    "number": (_number, "{:g}".format),
    "duration": (units.parse_duration, units.format_duration),
    "size": (units.parse_size, units.format_size),
    "share": (units.parse_share, units.format_share),
    "delay": (units.parse_delay, str),
}
"""The functions that parse and write each kind of plain value."""
