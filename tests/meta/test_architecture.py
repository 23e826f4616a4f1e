"""The pictures and tables of docs/architecture.md agree with the import contract, native/ and the named files."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def load(path: str) -> ModuleType:
    """Return the module of a file outside of any package."""
    spec: Any = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DRAWING = load("docs/draw_architecture.py")


def labels(name: str) -> set[str]:
    """Return the bold texts of a picture: the names in its boxes."""
    text = (DRAWING.PICTURES / name).read_text(encoding="utf-8")
    return set(re.findall(r'font-weight="bold">([^<]+)</text>', text))


@pytest.mark.parametrize("name", sorted(DRAWING.DRAWN))
def test_pictures_are_current(name: str) -> None:
    """Redrawing a picture changes nothing, and the page shows it."""
    drawn = DRAWING.DRAWN[name]()
    assert (DRAWING.PICTURES / name).read_text(encoding="utf-8") == drawn
    assert f"](pictures/{name})" in PAGE


def test_every_room_of_edge_is_drawn() -> None:
    """The modules in the picture are those of edge/, and all of them are in the import contract."""
    modules = {
        path.stem
        for path in (ROOT / "edge").iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").is_file()
    }
    assert {room for floor in DRAWING.floors() for room in floor} == modules
    assert labels("rooms.svg") >= modules


def test_every_package_of_native_is_drawn() -> None:
    """The packages in the picture are the folders of native/."""
    folders = {path.parent.name for path in (ROOT / "native").glob("*/__init__.py")}
    assert set(DRAWING.PACKAGES) == folders
    assert labels("rooms.svg") >= folders


def test_arrows_between_packages_are_the_floors_of_native() -> None:
    """A package may cimport exactly the packages that its arrows lead to, directly or indirectly."""
    reached: dict[str, set[str]] = {package: set() for package in DRAWING.PACKAGES}
    for _ in reached:
        for package, below in DRAWING.CIMPORTS:
            reached[package] |= {below} | reached[below]
    assert reached == load("tests/native/test_order.py").FLOORS


def test_the_journey_names_modules_that_exist() -> None:
    """Each module in the picture of a request is a source of native/."""
    named = [module for _, _, modules in DRAWING.STEPS for module in modules]
    assert len(named) > 10
    assert [module for module in named if not (ROOT / "native" / f"{module}.pyx").is_file()] == []


def test_places_for_new_lines_exist() -> None:
    """Each path in "Where does a new line live?" exists; NAME stands for any name."""
    table = PAGE.partition("## Where does a new line live?")[2].partition("\n## ")[0]
    paths = re.findall(r"`((?:edge|native)/[^`]+)`", table)
    assert len(paths) > 20
    assert [path for path in paths if not list(ROOT.glob(path.replace("NAME", "*")))] == []
