"""Strict YAML parsing: a tree of nodes with their lines, without duplicate keys, and of bounded size.

libyaml splits the text into events, and the nodes are built from them here, in one pass. PyYAML's own nodes cost more
than reading the whole configuration from them, and its composer recurses in C as deep as a file asks it to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import yaml
from msgspec import Struct

from edge.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

# 100,000 keys have about 20 MiB and a million values. Aliases can expand a small file to a billion values.
LONGEST_TEXT: Final = 32 * 1024 * 1024
MOST_NODES: Final = 2_000_000
# The schema has seven levels. An anchor that contains itself has infinitely many.
DEEPEST: Final = 50

# What libyaml refuses is read again up to this size by the parser in Python, whose errors say more: it names the
# character that it found. It takes a second for this much.
READ_TWICE: Final = 256 * 1024

NULL: Final = "tag:yaml.org,2002:null"
TEXT: Final = "tag:yaml.org,2002:str"

# A PyYAML that was built without libyaml reads the same files, ten times slower.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LOOKS: Final[dict[str, list[tuple[str, Any]]]] = {
    first: [(tag, looks.match) for tag, looks in tags]
    for first, tags in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
"""By the first character of a plain scalar: the tags that it may have, and whether a text has it."""
_DEEP: Final = "not valid YAML: nested too deeply"


class Scalar(Struct, frozen=True, gc=False):
    """A single value. ``tag`` is what YAML takes its text for."""

    text: str
    tag: str
    line: int
    size: int = 1
    depth: int = 0


class Mapping(Struct):
    """Keys with their values, in the order of the file, those that are repeated included."""

    items: list[tuple[Node, Node]]
    line: int
    size: int = 1  # how many values it has with its aliases expanded, itself included; keys do not count
    depth: int = 0  # of the deepest value in it


class Sequence(Struct):
    """A list of values."""

    items: list[Node]
    line: int
    size: int = 1
    depth: int = 0


Node = Scalar | Mapping | Sequence


def compose(text: str) -> tuple[Node | None, list[Problem]]:  # noqa: PLR0911  # one return per fault
    """Return the root node (None if the file is empty or invalid) and the problems of the text.

    A duplicate key in a mapping is a problem, because YAML readers differ in which of the two they use.
    """
    if len(text) > LONGEST_TEXT:
        return None, [Problem((), f"the file is longer than {LONGEST_TEXT} characters")]
    try:
        if len(text) <= READ_TWICE:
            try:
                return _composed(text, _LOADER)
            except (yaml.YAMLError, UnicodeEncodeError):
                return _composed(text, yaml.SafeLoader)
        return _composed(text, _LOADER)
    except _RefusedError as error:
        return None, [error.problem]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(part for part in (error.context, error.problem) if part)
        return None, [Problem((), f"not valid YAML: {said}", line=mark.line + 1 if mark else 0)]
    except yaml.YAMLError as error:
        return None, [Problem((), f"not valid YAML: {error}")]
    except UnicodeEncodeError:
        return None, [Problem((), "not valid YAML: half of a surrogate pair stands in it")]


def key_text(node: Node) -> str | None:
    """Return the text of a key; None for a key that is not a plain or quoted scalar."""
    return node.text if isinstance(node, Scalar) and node.tag != NULL else None


def _composed(text: str, kind: Any) -> tuple[Node | None, list[Problem]]:
    """Return the root node and the problems.

    Raises:
        _RefusedError: the text is not one document of bounded size.
        yaml.YAMLError: it is not YAML.
        UnicodeEncodeError: libyaml cannot be given the text.
    """
    loader = kind(text)
    try:
        composer = _Composer(loader.get_event)
        return composer.document(), composer.problems
    finally:
        loader.dispose()


class _RefusedError(Exception):
    """The text cannot be used, for ``problem``."""

    def __init__(self, sentence: str, line: int = 0) -> None:
        super().__init__(sentence)
        self.problem = Problem((), sentence, line=line)


class _Composer:
    """Builds the tree of one document. Its recursion is bounded by :data:`DEEPEST`."""

    def __init__(self, next_event: Callable[[], Any]) -> None:
        self.problems: list[Problem] = []
        self._next = next_event
        self._anchors: dict[str, Node] = {}
        self._open: set[str] = set()  # anchors of what is being built
        self._path: list[str | int] = []

    def document(self) -> Node | None:
        """Return the root of the only document; None if there is none."""
        self._next()  # the start of the stream
        event = self._next()
        if isinstance(event, yaml.StreamEndEvent):
            return None
        root = self._node(self._next())
        if root.size > MOST_NODES:
            raise _RefusedError(f"more than {MOST_NODES} values after expanding its aliases")
        self._next()  # the end of the document
        event = self._next()
        if not isinstance(event, yaml.StreamEndEvent):
            sentence = (
                "not valid YAML: expected a single document in the stream, but found another document; write it into a "
                "file of its own (of a Kubernetes manifest edge reads the text in the ConfigMap)"
            )
            raise _RefusedError(sentence, _line(event))
        return root

    def _node(self, event: Any) -> Node:
        kind = type(event)
        anchor = event.anchor
        if kind is yaml.ScalarEvent and anchor is None:
            return Scalar(event.value, _tag(event), event.start_mark.line + 1)
        if kind is yaml.AliasEvent:
            return self._alias(event)
        if anchor is not None:
            if anchor in self._anchors or anchor in self._open:
                raise _RefusedError(f"not valid YAML: the anchor {anchor!r} is written twice", _line(event))
            self._open.add(anchor)
        if kind is yaml.ScalarEvent:
            node: Node = Scalar(event.value, _tag(event), _line(event))
        else:
            if len(self._path) >= DEEPEST:
                raise _RefusedError(_DEEP, _line(event))
            node = self._mapping(event) if kind is yaml.MappingStartEvent else self._sequence(event)
            if len(self._path) + node.depth > DEEPEST:
                raise _RefusedError(_DEEP, node.line)
        if anchor is not None:
            self._open.discard(anchor)
            self._anchors[anchor] = node
        return node

    def _alias(self, event: Any) -> Node:
        if event.anchor in self._open:
            raise _RefusedError(_DEEP, _line(event))
        if event.anchor not in self._anchors:
            raise _RefusedError(f"not valid YAML: found undefined alias {event.anchor!r}", _line(event))
        return self._anchors[event.anchor]

    def _sequence(self, event: Any) -> Sequence:
        items: list[Node] = []
        size, depth = 1, 0
        path = self._path
        path.append(0)
        while type(event_within := self._next()) is not yaml.SequenceEndEvent:
            path[-1] = len(items)
            node = self._node(event_within)
            items.append(node)
            size += node.size
            if node.depth >= depth:
                depth = node.depth + 1
        path.pop()
        return Sequence(items, _line(event), size, depth)

    def _mapping(self, event: Any) -> Mapping:
        items: list[tuple[Node, Node]] = []
        first: dict[str, int] = {}
        size, depth = 1, 0
        path = self._path
        path.append("?")
        while type(event_within := self._next()) is not yaml.MappingEndEvent:
            path[-1] = "?"
            key = self._node(event_within)
            name = key_text(key)
            if name is None:
                self.problems.append(Problem(tuple(path[:-1]), "a key must be plain text", line=key.line))
            else:
                path[-1] = name
                if name in first:
                    sentence = f"written twice, first on line {first[name]}; keep one of them"
                    self.problems.append(Problem(tuple(path), sentence, line=key.line))
                else:
                    first[name] = key.line
            node = self._node(self._next())
            items.append((key, node))
            size += node.size
            if node.depth >= depth:
                depth = node.depth + 1
        path.pop()
        return Mapping(items, _line(event), size, depth)


def _line(event: Any) -> int:
    """Return the line on which an event begins, counted from 1."""
    return int(event.start_mark.line) + 1


def _tag(event: Any) -> str:
    """Return the tag of a scalar: the one that is written, else what a plain scalar looks like (YAML 1.1)."""
    tag: str | None = event.tag
    if tag is not None and tag != "!":
        return tag
    if event.implicit[0]:
        text = event.value
        for tag, looks in _LOOKS.get(text[:1], ()):
            if looks(text):
                return tag
    return TEXT
