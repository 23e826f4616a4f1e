"""The table of former key names: its entries fit the schema, and a golden case covers each name."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from edge.config.renamed import RENAMED
from edge.config.schema import Config
from edge.config.shape import Section, section_of, sections_within

CASES: Final = "".join(path.read_text(encoding="utf-8") for path in (Path(__file__).parent / "cases").glob("renamed_*"))
NAMES: Final = [(kind, former, now) for kind, names in RENAMED.items() for former, now in names.items()]


@pytest.mark.parametrize(("kind", "former", "now"), NAMES, ids=lambda value: getattr(value, "__name__", value))
def test_a_former_name_is_no_key_and_its_new_name_is_one(kind: type, former: str, now: str) -> None:
    """A former name is not a key of the schema, and its new name is."""
    fields = {field.name for field in section_of(kind).fields}
    assert now in fields
    assert former not in fields


@pytest.mark.parametrize(("kind", "former", "now"), NAMES, ids=lambda value: getattr(value, "__name__", value))
def test_every_former_name_has_a_golden_case(kind: type, former: str, now: str) -> None:
    """For each former name of a section, a case in ``cases/`` has the error word for word."""
    place = next(name for name in _names(section_of(Config), kind) if f"{name}.{former}: now {now}\n" in CASES)
    assert place


def test_sections_of_the_table_stand_in_the_schema() -> None:
    """Every section of the table exists in the schema."""
    assert {section.type for section in sections_within(section_of(Config))} >= set(RENAMED)


def _names(section: Section, kind: type) -> list[str]:
    """Return the possible spellings of the keys that hold a section of ``kind``, at the end of a path."""
    inner = [field.name for part in sections_within(section) for field in part.fields if _holds(field.shape, kind)]
    return [ending for name in inner for ending in (name, f"{name}[0]")]


def _holds(shape: object, kind: type) -> bool:
    held = getattr(shape, "item", shape)
    return isinstance(held, Section) and held.type is kind
