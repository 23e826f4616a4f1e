"""What does the YAML text say, strictly?  A tree of nodes with their lines, no key twice, bounded in size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import yaml

from edge.config.problems import Path, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

# A configuration of 10,000 targets is about 1 MiB; aliases could make a small file walk a billion nodes.
LONGEST_TEXT: Final = 8 * 1024 * 1024
MOST_NODES: Final = 500_000
# The schema is seven deep; an anchor that holds itself has no end.
DEEPEST: Final = 50

NULL: Final = "tag:yaml.org,2002:null"


def compose(text: str) -> tuple[yaml.Node | None, list[Problem]]:  # noqa: PLR0911  # one return a fault
    """Return the root node (None when the file is empty or broken) and what is wrong with the text.

    A key that stands twice in one mapping is a problem: YAML readers differ in which of the two they take.
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
            return None, [Problem((), f"more than {MOST_NODES} values once its aliases are followed")]
        if len(path) > DEEPEST:
            return None, [Problem((), "not valid YAML: nested too deeply", line=line_of(node))]
        if isinstance(node, yaml.MappingNode):
            problems += _repeated(path, node)
    return root, problems


def line_of(node: yaml.Node) -> int:
    """Return the 1-based line on which a node begins."""
    return int(node.start_mark.line) + 1


def key_text(node: yaml.Node) -> str | None:
    """Return a key as written; None for a key that is not one plain word or quoted text."""
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
            problems.append(Problem(path, "a key that is not plain text", line=line_of(key)))
        elif name in first:
            sentence = f"written twice, first on line {first[name]}; keep one of them"
            problems.append(Problem((*path, name), sentence, line=line_of(key)))
        else:
            first[name] = line_of(key)
    return problems
