"""The documents about the configuration agree with the code."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge.config.schema import Config
from edge.config.shape import Section, Sequence, Table, section_of, sections_within
from edge.incidents.incident import PLAYBOOKS
from edge.incidents.playbook_texts import playbook_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

DOCS = Path(__file__).parents[2] / "docs"


def _generator(name: str = "generate") -> ModuleType:
    spec: Any = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["configuration.md", "keys.md", "metrics.md", "operating.md", "outcomes.md"])
def test_generated_parts_are_current(name: str) -> None:
    """Regeneration changes nothing (run ``python -m docs.generate`` if it does)."""
    text = (DOCS / name).read_text(encoding="utf-8")
    assert _generator().filled(text) == text


def test_every_generated_document_is_compared() -> None:
    """A new document with generated parts must be added to the test above."""
    assert [path.name for path in _generator().documents()] == [
        "configuration.md",
        "keys.md",
        "metrics.md",
        "operating.md",
        "outcomes.md",
    ]


def test_the_package_has_the_playbooks() -> None:
    """Copies in the package are those of the documents (run ``python -m docs.generate``), one for each kind."""
    generator = _generator()
    packaged = {path.name: path.read_text(encoding="utf-8") for path in generator.PACKAGED.glob("*")}
    assert packaged == generator.playbooks()
    assert set(PLAYBOOKS.values()) <= {name.removesuffix(".md") for name in packaged}


@pytest.mark.parametrize("name", sorted(set(PLAYBOOKS.values())))
def test_a_playbook_says_what_is_needed_at_night(name: str) -> None:
    """It has its four parts, and no link: the documents stand elsewhere when it is read."""
    text = playbook_text(name)
    for part in ("What edge has done already", "What to look at", "What to do", "How to know that it is over"):
        assert f"**{part}" in text, part
    assert "](" not in text


def test_no_other_file_is_a_playbook() -> None:
    """A name that is none has no text, wherever it points."""
    assert [playbook_text(name) for name in ("", "nothing", "../playbook_texts", "../../errors")] == [""] * 4


def test_every_field_is_documented_where_it_is_declared() -> None:
    """Each field and section of the schema has a description that ends with a full stop."""
    for section in sections_within(section_of(Config)):
        assert section.sentence.endswith("."), section.type
        for field in section.fields:
            assert field.sentence.endswith("."), f"{section.type.__name__}.{field.name}"


def test_every_field_stands_in_the_document() -> None:
    """docs/configuration.md has a row for each field of the schema."""
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    for section in sections_within(section_of(Config)):
        for field in section.fields:
            assert f"| `{field.name}` |" in text


def _paths(section: Section, path: tuple[str, ...], seen: tuple[type, ...]) -> Iterator[tuple[str, ...]]:
    """Return every dotted path of the schema, such as limits.body and models.NAME.targets."""
    for field in section.fields:
        yield (*path, field.name)
        inner, under = field.shape, (*path, field.name)
        if isinstance(inner, Table):
            inner, under = inner.item, (*under, "NAME")
        elif isinstance(inner, Sequence):
            inner = inner.item
        if isinstance(inner, Section) and inner.type not in seen:
            yield from _paths(inner, under, (*seen, inner.type))


def test_fields_named_in_documents_exist() -> None:
    """A dotted field in code spans of a document is a path of the schema or the end of one."""
    paths = list(_paths(section_of(Config), (), (Config,)))
    ends = {path[start:] for path in paths for start in range(len(path))}
    sections = {path[-1] for path in paths if any(other[:-1] == path for other in paths)}
    documents = [*DOCS.glob("*.md"), *DOCS.glob("decisions/*.md"), *DOCS.parent.glob("*.md")]
    named = [
        (document.name, tuple(said.split(".")))
        for document in documents
        for said in re.findall(r"`([a-z_]+(?:\.[a-zA-Z_]+)+)(?:: [^`]*)?`", document.read_text(encoding="utf-8"))
        if said.partition(".")[0] in sections
    ]
    assert len(named) > 50
    assert [(name, path) for name, path in named if path not in ends] == []


def test_the_picture_of_a_trace_is_drawn_from_its_record() -> None:
    """Redrawing changes nothing, and the picture has every attempt of the record."""
    draw_trace = _generator("draw_trace")
    records = json.loads(draw_trace.RECORD.read_text(encoding="utf-8"))
    drawn = draw_trace.drawn(records)
    assert drawn == draw_trace.PICTURE.read_text(encoding="utf-8")
    assert sum(len(record["attempts"]) for record in records) == 4
    for record in records:
        assert all(f">{attempt['target']}<" in drawn for attempt in record["attempts"])


def test_the_picture_of_costs_is_drawn_from_its_record() -> None:
    """Redrawing changes nothing, and no phase is left out of the picture's groups."""
    draw_costs = _generator("draw_costs")
    rows = json.loads(draw_costs.RECORD.read_text(encoding="utf-8"))
    assert draw_costs.drawn(rows) == draw_costs.PICTURE.read_text(encoding="utf-8")
    for row in rows:
        assert sum(draw_costs.grouped(row["phases"]).values()) == pytest.approx(1, abs=0.01)
