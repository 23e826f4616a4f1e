"""Do the documents say what the code says?"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edge.config.schema import Config
from edge.config.shape import section_of, sections_within

if TYPE_CHECKING:
    from types import ModuleType

DOCS = Path(__file__).parents[2] / "docs"


def _generator(name: str = "generate") -> ModuleType:
    spec: Any = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["configuration.md", "keys.md", "metrics.md", "operating.md", "outcomes.md"])
def test_generated_parts_are_current(name: str) -> None:
    """Regenerating changes nothing: run ``python -m docs.generate`` when it does."""
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


def test_every_field_is_documented_where_it_is_declared() -> None:
    """No field and no section of the schema is without a sentence that ends like one."""
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


def test_the_picture_of_a_trace_is_drawn_from_its_record() -> None:
    """Drawing anew changes nothing, and every attempt of the record stands in the picture."""
    draw_trace = _generator("draw_trace")
    records = json.loads(draw_trace.RECORD.read_text(encoding="utf-8"))
    drawn = draw_trace.drawn(records)
    assert drawn == draw_trace.PICTURE.read_text(encoding="utf-8")
    assert sum(len(record["attempts"]) for record in records) == 4
    for record in records:
        assert all(f">{attempt['target']}<" in drawn for attempt in record["attempts"])
