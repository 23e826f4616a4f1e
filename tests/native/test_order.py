"""Does every compiled module stand in the README, and reach only for those above it?"""

from __future__ import annotations

import re
from pathlib import Path

NATIVE = Path(__file__).parents[2] / "native"
ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
CIMPORT = re.compile(r"^\s*(?:from native\.(\w+) cimport|cimport native\.(\w+))", re.MULTILINE)
ORDER = ROW.findall((NATIVE / "README.md").read_text())


def needs(stem: str) -> set[str]:
    """The native modules that a module's .pxd and .pyx cimport."""
    texts = [path.read_text() for path in (NATIVE / f"{stem}.pxd", NATIVE / f"{stem}.pyx") if path.exists()]
    return {name for text in texts for pair in CIMPORT.findall(text) for name in pair if name} - {stem}


def test_every_module_stands_in_the_table_once() -> None:
    """The README's order is complete, and holds nothing that is gone."""
    stems = {path.stem for suffix in ("pyx", "pxd") for path in NATIVE.glob(f"*.{suffix}")}
    assert sorted(ORDER) == sorted(stems)


def test_cimports_go_downward_only() -> None:
    """No module reaches for one that stands below it: the floors of the compiled part."""
    upward = {(stem, name) for place, stem in enumerate(ORDER) for name in needs(stem) if name not in ORDER[:place]}
    assert upward == set()


def test_the_table_speaks_of_real_imports() -> None:
    """The pattern finds cimports where they are known to be."""
    assert {"board", "window"} <= needs("breaker")
