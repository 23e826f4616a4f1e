"""Which metrics and labels does a PromQL expression name?  A tokenizer, enough for dashboards and alert rules.

It is strict: what it does not know is an error, so that a construct it would misread cannot slip through.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN: Final = re.compile(
    r"""\s+|(?P<text>"(?:[^"\\]|\\.)*")|(?P<range>\[[^\]]*\])|(?P<word>[A-Za-z_:][A-Za-z0-9_:]*)"""
    r"""|(?P<number>\d+(?:\.\d+)?)|(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^<>(){},=])"""
)
FUNCTIONS: Final = frozenset(
    {
        "sum",
        "min",
        "max",
        "rate",
        "increase",
        "changes",
        "histogram_quantile",
        "vector",
        "min_over_time",
        "label_values",
    }
)
_LISTS: Final = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_SIGNS: Final = frozenset({"and", "or", "unless", "bool", "offset"})


class Selector(Struct, frozen=True):
    """One metric in an expression, and its matchers: label -> values that are named (none for a true pattern)."""

    name: str
    matchers: dict[str, tuple[str, ...]]


class Expression(Struct, frozen=True):
    """What an expression names. ``grouped`` are the labels of its by, on, group_left and the like."""

    selectors: list[Selector]
    grouped: set[str]


def parse(text: str) -> Expression:
    """Read an expression; ValueError for what is not PromQL, or more of it than this knows."""
    tokens = list(_tokens(text))
    _balanced(tokens, text)
    found = Expression([], set())
    place = 0
    while place < len(tokens):
        kind, word = tokens[place]
        after = tokens[place + 1][1] if place + 1 < len(tokens) else ""
        place += 1
        if kind != "word" or word in _SIGNS:
            continue
        if word in _LISTS:
            place = _grouped(tokens, place, word, found, text)
        elif after == "(" or (after in _LISTS and word in FUNCTIONS):
            if word not in FUNCTIONS:
                raise ValueError(f"the function {word} is unknown, in {text!r}")
        else:
            matchers = {}
            if after == "{":
                end = tokens.index(("sign", "}"), place)
                matchers = _matchers(tokens[place + 1 : end], text)
                place = end + 1
            found.selectors.append(Selector(word, matchers))
    return found


def _balanced(tokens: list[tuple[str, str]], text: str) -> None:
    depth = 0
    for kind, word in tokens:
        if kind == "sign" and word in "(){}":
            depth += 1 if word in "({" else -1
        if depth < 0:
            raise ValueError(f"a bracket too many in {text!r}")
    if depth:
        raise ValueError(f"a bracket too few in {text!r}")


def _grouped(tokens: list[tuple[str, str]], place: int, word: str, found: Expression, text: str) -> int:
    if tokens[place : place + 1] != [("sign", "(")]:
        if not word.startswith("group_"):
            raise ValueError(f"{word} without labels in {text!r}")
        return place
    end = tokens.index(("sign", ")"), place)
    found.grouped.update(name for kind, name in tokens[place:end] if kind == "word")
    return end + 1


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"{text[at : at + 20]!r} is no PromQL, in {text!r}")
        at = match.end()
        if match.lastgroup:
            yield match.lastgroup, match[0]


def _matchers(tokens: list[tuple[str, str]], text: str) -> dict[str, tuple[str, ...]]:
    found = {}
    for start in range(0, len(tokens), 4):
        part = tokens[start : start + 4]
        if len(part) < 3 or part[0][0] != "word" or part[1][1] not in ("=", "!=", "=~", "!~") or part[2][0] != "text":
            raise ValueError(f"{part} is no matcher, in {text!r}")
        if part[3:] not in ([], [("sign", ",")]):
            raise ValueError(f"{part[3]} after a matcher, in {text!r}")
        value = part[2][1][1:-1]
        literal = not value.startswith("$") and re.fullmatch(r"[\w|]*", value)
        found[part[0][1]] = tuple(value.split("|")) if literal else ()
    return found
