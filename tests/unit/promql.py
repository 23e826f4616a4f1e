"""Returns the metrics and labels of a PromQL expression, with a real parser that also checks types."""

from __future__ import annotations

import re
from typing import Any

import promql_parser
from msgspec import Struct


class Selector(Struct, frozen=True):
    """A metric in an expression, and its matchers: label -> the values it names (none for a true pattern)."""

    name: str
    matchers: dict[str, tuple[str, ...]]


class Expression(Struct, frozen=True):
    """The names in an expression. ``grouped`` are the labels of its by, on, group_left and similar clauses."""

    selectors: list[Selector]
    grouped: set[str]


def parse(text: str) -> Expression:
    """Read an expression; Grafana's variables stand for a duration and for a pattern.

    Raises:
        ValueError: it is not PromQL, calls what does not exist, or gives it what it does not take.
    """
    found = Expression([], set())

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            matchers = {matcher.name: _values(matcher.value) for matcher in node.matchers.matchers}
            found.selectors.append(Selector(node.name or matchers["__name__"][0], matchers))
        elif isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            found.grouped.update(node.modifier.labels)
        elif isinstance(node, promql_parser.BinaryExpr) and node.modifier is not None:
            if node.modifier.matching is not None:
                found.grouped.update(node.modifier.matching.labels)
            found.grouped.update(node.modifier.group_labels or ())

    promql_parser.walk(promql_parser.parse(text.replace("$__rate_interval", "1m")), visit)
    return found


def _values(written: str) -> tuple[str, ...]:
    return tuple(written.split("|")) if re.fullmatch(r"[\w|]*", written) else ()
