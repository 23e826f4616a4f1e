"""The layers of native/: every module is in the README's table, and cimports only go down its packages and rows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

NATIVE = Path(__file__).parents[2] / "native"
ROW = re.compile(r"^\| `(\w+/\w+)` \|", re.MULTILINE)
CIMPORT = re.compile(r"^\s*(?:from native\.(\w+)\.(\w+) cimport|cimport native\.(\w+)\.(\w+))", re.MULTILINE)
CIMPORTED = re.compile(r"^from [\w.]+ cimport (\([^()]*\)|[^\n(*]+)\n", re.MULTILINE)
PROSE = re.compile(r'"""[\s\S]*?"""|#.*')
SOURCES = sorted(f"{path.parent.name}/{path.name}" for path in NATIVE.glob("*/*.pyx"))
ORDER = ROW.findall((NATIVE / "README.md").read_text())
# The packages that a package may cimport from, itself aside.
FLOORS = {
    "io": set[str](),
    "codec": set[str](),
    "http": {"codec", "io"},
    "state": {"codec", "io"},
    "balance": {"state", "codec", "io"},
    "proxy": {"balance", "state", "http", "codec", "io"},
}


def needs(module: str) -> set[str]:
    """Return the native modules that a module's .pxd and .pyx cimport, as ``package/stem``."""
    texts = [path.read_text() for path in (NATIVE / f"{module}.pxd", NATIVE / f"{module}.pyx") if path.exists()]
    found = [CIMPORT.findall(text) for text in texts]
    return {f"{a or c}/{b or d}" for names in found for a, b, c, d in names} - {module}


def test_every_module_stands_in_the_table_once() -> None:
    """The README's table lists every module once, and no other."""
    modules = {
        f"{path.parent.name}/{path.stem}"
        for suffix in ("pyx", "pxd")
        for path in NATIVE.glob(f"*/*.{suffix}")
        if path.stem != "__init__"
    }
    assert sorted(ORDER) == sorted(modules)


def test_every_package_has_a_floor_and_is_a_package() -> None:
    """Each folder with sources is a package for Python and for Cython, and its layer is declared."""
    folders = {path.parent for path in NATIVE.glob("*/*.pyx")}
    assert {folder.name for folder in folders} == set(FLOORS)
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []
    assert [str(folder) for folder in folders if not (folder / "__init__.pxd").is_file()] == []


def test_cimports_go_down_the_rows_only() -> None:
    """No module cimports a module that is below it in the table."""
    upward = {
        (module, name) for place, module in enumerate(ORDER) for name in needs(module) if name not in ORDER[:place]
    }
    assert upward == set()


@pytest.mark.parametrize("package", sorted(FLOORS))
def test_cimports_keep_the_floors(package: str) -> None:
    """A package cimports only from the packages that its layer allows."""
    modules = [module for module in ORDER if module.startswith(f"{package}/")]
    wrong = {
        (module, name)
        for module in modules
        for name in needs(module)
        if name.split("/")[0] not in FLOORS[package] | {package}
    }
    assert modules != []
    assert wrong == set()


def test_the_pattern_finds_cimports() -> None:
    """The pattern finds known cimports."""
    assert {"state/shared_state", "state/window"} <= needs("balance/breaker")


@pytest.mark.parametrize("source", SOURCES)
def test_every_cimported_name_is_used(source: str) -> None:
    """A .pyx uses each name that it cimports. What its .pxd cimports may be there for others."""
    text = PROSE.sub("", (NATIVE / source).read_text())
    parts = [item.split() for names in CIMPORTED.findall(text) for item in names.strip("()").split(",")]
    used = set(re.findall(r"\w+", CIMPORTED.sub("", text)))
    assert [words[-1] for words in parts if words and words[-1] not in used] == []
