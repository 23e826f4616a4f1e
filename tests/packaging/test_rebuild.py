"""A changed .pxd or header rebuilds every compiled module that depends on it.

Nothing is compiled: the tests inspect the arguments of the build in setup.py, and what Cython considers out of date.
"""

from __future__ import annotations

import os
import re
import runpy
import subprocess
from pathlib import Path
from typing import Any

import Cython.Build
import pytest
import setuptools
from Cython.Build.Dependencies import DependencyTree, create_dependency_tree

ROOT = Path(__file__).resolve().parents[2]
CIMPORT = re.compile(r"^\s*(?:from (native\.\w+\.\w+) cimport|cimport (native\.\w+\.\w+))", re.MULTILINE)


def files(*suffixes: str) -> list[str]:
    """Return the files of native/ with one of these suffixes, as paths below the root."""
    return sorted(
        path.relative_to(ROOT).as_posix() for path in (ROOT / "native").rglob("*") if path.suffix in set(suffixes)
    )


def needed(source: str) -> set[str]:
    """Return the .pxd files that a source cimports, directly or indirectly, and its own."""
    found: set[str] = set()
    left = [source, f"{source.removesuffix('.pyx')}.pxd"]
    while left:
        name = left.pop()
        if name in found or not (ROOT / name).exists():
            continue
        found.add(name)
        left += [f"{(a or b).replace('.', '/')}.pxd" for a, b in CIMPORT.findall((ROOT / name).read_text())]
    return found


@pytest.fixture
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in the root folder, as setup.py does, where Cython looks for cimported files."""
    monkeypatch.chdir(ROOT)


@pytest.fixture
def tree(at_the_root: None) -> DependencyTree:
    """Return Cython's dependencies of each source."""
    return create_dependency_tree(quiet=True)


@pytest.mark.parametrize("source", files(".pyx"))
def test_cython_knows_every_dependency(tree: DependencyTree, source: str) -> None:
    """Cython translates a source again when any .pxd changes on which it depends, in any package."""
    assert needed(source) - set(tree.all_dependencies(source)) == set()


@pytest.mark.parametrize(
    ("changed", "rebuilt"),
    [
        (
            "native/http/stream.pxd",
            {"http/http1_server", "http/http2_client", "http/connection_pool", "proxy/exchange"},
        ),
        ("native/state/shared_state.pxd", {"state/callers", "balance/breaker", "balance/balancer", "proxy/exchange"}),
        ("native/io/atomics.pxd", {"state/window", "balance/queue", "io/stream_socket"}),
        ("native/codec/hex.pxd", {"codec/trace_context", "codec/otlp_values"}),
    ],
)
def test_a_changed_table_reaches_its_users(tree: DependencyTree, changed: str, rebuilt: set[str]) -> None:
    """A .pxd is found from other packages, with and without its own .pyx."""
    users = {source for source in files(".pyx") if changed in tree.all_dependencies(source)}
    assert {f"native/{name}.pyx" for name in rebuilt} <= users
    assert users != set(files(".pyx"))


def test_every_extension_depends_on_every_header(at_the_root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed header recompiles all C, because headers include each other."""
    handed: list[Any] = []
    for name in [name for name in os.environ if name.startswith("EDGE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(Cython.Build, "cythonize", lambda extensions, **_: extensions)
    monkeypatch.setattr(setuptools, "setup", lambda **options: handed.extend(options["ext_modules"]))
    runpy.run_path("setup.py")
    assert sorted(extension.sources[0] for extension in handed) == files(".pyx")
    assert len(files(".h")) >= 3
    assert [each.name for each in handed if set(files(".h")) - set(each.depends)] == []
    linked = {each.sources[0] for each in handed if "-lnghttp2" in each.extra_link_args}
    assert {"native/http/http2_server.pyx", "native/http/http2_block_reader.pyx"} <= linked
    assert "native/http/http1_server.pyx" not in linked


def test_make_sees_every_source() -> None:
    """`make build` runs setup.py when any source, table or header of native/ is newer than the last build."""
    asked = ["make", "-s", "--eval=print-native: ; @echo $(NATIVE)", "print-native"]
    said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert set(files(".pyx", ".pxd", ".h")) | {"setup.py"} == set(said)
