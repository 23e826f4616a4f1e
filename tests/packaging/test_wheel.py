"""The built wheel works where it is installed, away from the sources, and the sdist holds what builds it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(600)

ROOT = Path(__file__).resolve().parents[2]
TRACKED = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
    "\0"
)
MODULES = sorted(name.removesuffix(".pyx") for name in TRACKED if re.fullmatch(r"native/\w+/\w+\.pyx", name))
EXTENSION = sysconfig.get_config_var("EXT_SUFFIX")
COMPILED = "native/state/shared_state"  # with the header; the others would take half a minute

USE = """
import importlib, pathlib, sys
import edge, native
assert "site-packages" in edge.__file__ and "site-packages" in native.__file__, (edge.__file__, native.__file__)
for module in sys.argv[1:]:
    importlib.import_module(module.replace("/", "."))
from edge.native import SharedState
shared_state = SharedState.create(1, 1, 1)
shared_state.beat(0, 17, 5)
print(shared_state.read_worker(0)["pid"])
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command away from the sources; return its output."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "EDGE_"))}
    ended = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environ, capture_output=True, text=True, check=False, timeout=500
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from the files that git knows, so that an uncommitted file is noticed here."""
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    for name in filter(None, TRACKED):
        if (ROOT / name).is_file() and name.startswith(("edge/", "native/", "setup.py", "pyproject.toml", "README.md")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    # What an earlier build made is newer than the sources just copied and need not be made again, but for one module.
    compiled = source / "build" / f"lib.{sysconfig.get_platform()}-{sys.implementation.cache_tag}"
    for module in set(MODULES) - {COMPILED}:
        shutil.copy2(ROOT / f"{module}.c", (source / module).parent)
        (compiled / module).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / f"{module}{EXTENSION}", (compiled / module).parent)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place / "dist", cwd=source)
    (built,) = (place / "dist").glob("*.whl")
    return built


def test_the_wheel_has_what_it_needs_and_nothing_else(wheel: Path) -> None:
    """The wheel has every extension, .pxd, .pyi and marker file, and neither tests nor generated C."""
    names = zipfile.ZipFile(wheel).namelist()
    for module in MODULES:
        assert any(name.startswith(f"{module}.") and name.endswith(".so") for name in names), module
    assert {name for name in TRACKED if re.fullmatch(r"native/(\w+/)?\w+\.(pxd|pyi)", name)} <= set(names)
    assert {"edge/py.typed", "native/py.typed", "native/state/shared_state.h"} <= set(names)
    playbooks = {name for name in TRACKED if name.startswith("edge/incidents/playbooks/")}
    assert playbooks
    assert playbooks <= set(names)
    assert not [name for name in names if name.startswith(("tests", "bench")) or name.endswith(".c")]


def test_the_installed_wheel_works_elsewhere(wheel: Path, tmp_path: Path) -> None:
    """In a new environment and another folder, every extension, a native call, and `edge` work."""
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    pip = (python, "-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "install", "--prefer-binary", "-c", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    assert run(python, "-c", USE, *MODULES, cwd=tmp_path).strip() == "17"
    version = run(tmp_path / "venv" / "bin" / "edge", "--version", cwd=tmp_path)
    assert version.startswith("edge ")
    assert "models" in run(tmp_path / "venv" / "bin" / "edge", "config", "schema", cwd=tmp_path)
    demo = subprocess.run(
        [tmp_path / "venv" / "bin" / "edge", "demo"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (demo.returncode, demo.stdout) == (1, "")
    assert demo.stderr == "edge: the load needs the official OpenAI SDK: pip install 'edge-lb[sim]'\n"


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist of the working tree, in which compiled parts lie about."""
    place = tmp_path_factory.mktemp("sdist")
    tree = shutil.ignore_patterns(
        ".git", ".venv", "build", "dist", "*.egg-info", "__pycache__", "tests", "docs", "bench"
    )
    shutil.copytree(ROOT, place / "source", ignore=tree)
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", place / "dist", cwd=place / "source")
    (built,) = (place / "dist").glob("*.tar.gz")
    return built


def test_the_sdist_has_sources_and_nothing_compiled(sdist: Path) -> None:
    """Every source that git knows is in it, and no generated C, which would be another Cython's."""
    with tarfile.open(sdist) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    wanted = {name for name in TRACKED if name.startswith(("edge/", "native/"))}
    assert wanted | {"pyproject.toml", "setup.py", "README.md", "LICENSE", "constraints.txt"} <= names
    assert not [name for name in names if name.endswith((".c", ".so"))]


@pytest.mark.prove
def test_the_sdist_builds_what_works(sdist: Path, tmp_path: Path) -> None:
    """Pip compiles it in an environment of its own; the demonstration runs (about three minutes)."""
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    programs = tmp_path / "venv" / "bin"
    run(programs / "python", "-m", "pip", "--quiet", "install", f"{sdist}[sim]", cwd=tmp_path)
    assert run(programs / "python", "-c", USE, *MODULES, cwd=tmp_path).strip() == "17"
    assert "Recovered" in run(programs / "edge", "demo", "--fast", cwd=tmp_path)
