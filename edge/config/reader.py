"""Reader from the YAML tree to the configuration, which reports all problems at once, each with its place.

It walks the tree along the shape of the schema. A value that cannot be parsed is omitted from the result, so that the
rest can still be checked; ``Document.lines`` records that it was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import structs

from edge.config import tree, words
from edge.config.crowding import Queue, Shares
from edge.config.planned import PLANNED
from edge.config.problems import Path, Problem
from edge.config.renamed import RENAMED
from edge.config.schema import Config, Defaults, Service
from edge.config.schema_policy import CALL_TIMEOUTS, Breaker, Retry, Timeouts
from edge.config.shape import Field, Scalar, Section, Sequence, Shape, Table, section_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path as FilePath

    from msgspec import Struct

_INVALID: Final = object()
_NOT_TEXT: Final = {
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:timestamp": "a date",
}
_TEXTS: Final = frozenset(("text", "secret", "path"))
# These are hidden when shown, but many of them, such as the name of an organization, may be written in clear.
_CLEAR_IS_FINE: Final = frozenset({"headers", "webhook"})


class Reader:
    """Reads one document. ``problems``, ``lines``, ``taken`` and ``kept`` (see Document) are filled during the read."""

    def __init__(self, environ: Mapping[str, str], folder: FilePath) -> None:
        self.problems: list[Problem] = []
        self.lines: dict[Path, int] = {}
        self.taken: dict[str, str] = {}
        self.secret_files: list[str] = []
        self.kept: dict[Path, tuple[int, ...]] = {}
        self._environ = environ
        self._folder = folder
        self._bases: dict[Any, Struct] = {}  # defaults from the file for the missing fields of a section

    def read(self, root: tree.Node | None) -> Config:
        """Return the configuration; for an empty file, the one with all defaults."""
        if root is None:
            return Config()
        shape = section_of(Config)
        defaults = _entry(root, "defaults")
        if defaults is not None:
            before = len(self.problems)
            read = self._value(section_of(Defaults), defaults, ("defaults",))
            del self.problems[before:]  # they are found again when the whole file is read, and reported once
            if isinstance(read, Defaults):
                self._bases = {
                    Timeouts: read.timeouts,
                    Retry: read.retry,
                    Breaker: read.breaker,
                    Queue: read.queue,
                    Shares: read.shares,
                }
        config = self._value(shape, root, ())
        return config if isinstance(config, Config) else Config()

    def _complain(self, path: Path, node: tree.Node, sentence: str) -> Any:
        self.problems.append(Problem(path, sentence, line=node.line))
        return _INVALID

    def _value(self, shape: Shape, node: tree.Node, path: Path) -> Any:
        self.lines[path] = node.line
        if type(shape) is Scalar:  # most values are
            return self._scalar(shape, node, path)
        match shape:
            case Section(short=True) if isinstance(node, tree.Scalar):
                text = self._scalar(Scalar("text"), node, path)
                return _INVALID if text is _INVALID else shape.type(text)
            case Section():
                return self._section(shape, node, path)
            case Table():
                return self._table(shape, node, path)
            case Sequence():
                return self._sequence(shape, node, path)

    def _scalar(self, scalar: Scalar, node: tree.Node, path: Path) -> Any:
        if not isinstance(node, tree.Scalar):
            return self._complain(path, node, f"a single value is expected here, not a {_called(node)}")
        try:
            text = node.text
            if "$" in text:
                self.taken |= words.taken(text, self._environ)
                text = words.fill(text, self._environ)
            if scalar.kind in _TEXTS and node.tag != tree.TEXT and text == node.text and node.tag in _NOT_TEXT:
                shown = "it" if scalar.kind == "secret" else repr(text)
                return self._complain(path, node, f"{shown} is read as {_NOT_TEXT[node.tag]}; put it in quotes")
            if scalar.kind == "secret" and (file := words.secret_file(text, self._folder)) is not None:
                self.secret_files.append(str(file.absolute()))
            value = words.understand(scalar, text, self._folder)
        except ValueError as error:
            return self._complain(path, node, str(error))
        in_clear = scalar.kind == "secret" and value and value == node.text
        if in_clear and _CLEAR_IS_FINE.isdisjoint(path):
            sentence = "the secret is written in clear; write ${NAME} or file:/path, so that the file can be shared"
            self.problems.append(Problem(path, sentence, line=node.line, severity="warning"))
        return value

    def _section(self, section: Section, node: tree.Node, path: Path) -> Any:
        if section.type is not Service or not _is_call(node):
            return self._fields(section, node, path)
        general = self._bases
        connect = getattr(general.get(Timeouts, Timeouts()), "connect")  # noqa: B009 - bases are of several types
        self._bases = {**general, Timeouts: structs.replace(CALL_TIMEOUTS, connect=connect)}
        try:
            return self._fields(section, node, path)
        finally:
            self._bases = general

    def _fields(self, section: Section, node: tree.Node, path: Path) -> Any:
        if not isinstance(node, tree.Mapping):
            names = ", ".join(field.name for field in section.fields)
            return self._complain(path, node, f"a mapping is expected here, with {names}; not a {_called(node)}")
        values: dict[str, Any] = {}
        for key, item in node.items:
            name = tree.key_text(key)
            if name is None or name in values:
                continue  # already reported by the tree
            field = section.field(name)
            if field is None:
                self._complain((*path, name), key, _unknown(section, name))
                self.lines[(*path, name)] = key.line
            elif _is_null(item):
                self.lines[(*path, name)] = key.line
            else:
                values[name] = self._value(field.shape, item, (*path, name))
                self.lines[(*path, name)] = key.line
        for field in section.fields:
            if values.get(field.name, _INVALID) is _INVALID:
                values[field.name] = self._default(section, field, path, node, written=field.name in values)
        return _INVALID if _INVALID in values.values() else section.type(**values)

    def _default(self, section: Section, field: Field, path: Path, node: tree.Node, *, written: bool) -> Any:
        """Return the value of a field that is missing or invalid: the default in the file, else that of the schema."""
        if field.required:
            if not written:
                self._complain(path, node, f"{field.name} is missing: {_lower(field.sentence)}")
            return _INVALID
        if path[:1] != ("defaults",):
            if section.type in self._bases:
                return getattr(self._bases[section.type], field.name)
            if isinstance(field.shape, Section) and field.shape.type in self._bases:
                return self._bases[field.shape.type]
        return field.make_default()

    def _table(self, table: Table, node: tree.Node, path: Path) -> Any:
        if not isinstance(node, tree.Mapping):
            return self._complain(path, node, f"a mapping by name is expected here, not a {_called(node)}")
        values: dict[str, Any] = {}
        for key, item in node.items:
            name = tree.key_text(key)
            if name is not None and name not in values:
                value = self._value(table.item, item, (*path, name))
                self.lines[(*path, name)] = key.line
                if value is not _INVALID:
                    values[name] = value
        return values

    def _sequence(self, sequence: Sequence, node: tree.Node, path: Path) -> Any:
        if sequence.may_be_one and isinstance(node, tree.Mapping):
            value = self._value(sequence.item, node, path)
            return _INVALID if value is _INVALID else (value,)
        if sequence.may_be_one and isinstance(node, tree.Sequence) and len(node.items) == 1:
            return self._sequence(sequence, node.items[0], path)  # places have no index where none is needed
        if not isinstance(node, tree.Sequence):
            wanted = "a section or a list of them" if sequence.may_be_one else "a list"
            return self._complain(path, node, f"{wanted} is expected here, not a {_called(node)}")
        if sequence.may_be_one and not node.items:  # it must not pass for a section that is not there, such as tls
            return self._complain(path, node, f"it is empty; write what it should have, or remove {path[-1]}")
        values = [self._value(sequence.item, item, (*path, index)) for index, item in enumerate(node.items)]
        if _INVALID in values:
            self.kept[path] = tuple(index for index, value in enumerate(values) if value is not _INVALID)
        return tuple(value for value in values if value is not _INVALID)


def _entry(root: tree.Node, name: str) -> tree.Node | None:
    pairs = root.items if isinstance(root, tree.Mapping) else []
    return next((item for key, item in pairs if tree.key_text(key) == name and not _is_null(item)), None)


def _is_null(node: tree.Node) -> bool:
    return isinstance(node, tree.Scalar) and node.tag == tree.NULL


def _is_call(node: tree.Node) -> bool:
    """Return whether a service's node has a gRPC service in its match."""
    match = _entry(node, "match")
    grpc = None if match is None else _entry(match, "grpc")
    # an empty name stands for any HTTP request
    return grpc is not None and not (isinstance(grpc, tree.Scalar) and not grpc.text)


def _unknown(section: Section, name: str) -> str:
    planned, renamed = PLANNED.get(section.type, {}), RENAMED.get(section.type, {})
    if name in planned:
        return f"not in this version: {planned[name]}"
    if name in renamed:
        return f"now {renamed[name]}"
    names = [field.name for field in section.fields]
    return "unknown key" + (words.nearest(name, names) or f"; known are {', '.join(names)}")


def _called(node: tree.Node) -> str:
    if isinstance(node, tree.Mapping):
        return "mapping"
    return "list" if isinstance(node, tree.Sequence) else "single value"


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".") if sentence[1:2].islower() else sentence.rstrip(".")
