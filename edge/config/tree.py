"""Strict YAML parsing: a tree of nodes with their lines, without duplicate keys, and of bounded size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import yaml

from edge.config.problems import Path, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

# A configuration with 10,000 targets has about 1 MiB. Aliases can expand a small file to a billion nodes.
LONGEST_TEXT: Final = 8 * 1024 * 1024
MOST_NODES: Final = 500_000
# The schema has seven levels. An anchor that contains itself has infinitely many.
DEEPEST: Final = 50

NULL: Final = "tag:yaml.org,2002:null"


def compose(text: str) -> tuple[yaml.Node | None, list[Problem]]:  # noqa: PLR0911  # one return per fault
    """Return the root node (None if the file is empty or invalid) and the problems of the text.

    A duplicate key in a mapping is a problem, because YAML readers differ in which of the two they use.
    """
    if len(text) > LONGEST_TEXT:
        return None, [Problem((), f"the file is longer than {LONGEST_TEXT} characters")]
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(part for part in (error.context, error.problem) if part)
        return None, [Problem((), f"not valid YAML: {said}", line=mark.line + 1 if mark else 0)]
    except yaml.YAMLError as error:
        return None, [Problem((), f"not valid YAML: {error}")]
    except RecursionError:
        return None, [Problem((), "not valid YAML: nested too deeply")]
    if root is None:
        return None, []
    problems: list[Problem] = []
    for count, (path, node) in enumerate(_walk(root)):
        if count > MOST_NODES:
            return None, [Problem((), f"more than {MOST_NODES} values after expanding its aliases")]
        if len(path) > DEEPEST:
            return None, [Problem((), "not valid YAML: nested too deeply", line=line_of(node))]
        if isinstance(node, yaml.MappingNode):
            problems += _repeated(path, node)
    return root, problems


def line_of(node: yaml.Node) -> int:
    """Return the line on which a node begins, counted from 1."""
    return int(node.start_mark.line) + 1


def key_text(node: yaml.Node) -> str | None:
    """Return the text of a key; None for a key that is not a plain or quoted scalar."""
    return node.value if isinstance(node, yaml.ScalarNode) and node.tag != NULL else None


def _walk(root: yaml.Node) -> Iterator[tuple[Path, yaml.Node]]:
    pending: list[tuple[Path, yaml.Node]] = [((), root)]
    while pending:
        path, node = pending.pop()
        yield path, node
        if isinstance(node, yaml.MappingNode):
            pending += [((*path, key_text(key) or "?"), value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            pending += [((*path, index), value) for index, value in enumerate(node.value)]


def _repeated(path: Path, node: yaml.MappingNode) -> list[Problem]:
    first: dict[str, int] = {}
    problems: list[Problem] = []
    for key, _ in node.value:
        name = key_text(key)
        if name is None:
            problems.append(Problem(path, "a key must be plain text", line=line_of(key)))
        elif name in first:
            sentence = f"written twice, first on line {first[name]}; keep one of them"
            problems.append(Problem((*path, name), sentence, line=line_of(key)))
        else:
            first[name] = line_of(key)
    return problems
