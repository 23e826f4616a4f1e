"""edge/wire agrees with protos/, and can be imported as it is."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
MESSAGES = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in ROOT.glob("edge/wire/**/*_pb2.py")
)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """Load the script."""
    spec: Any = importlib.util.spec_from_file_location("generate_wire", ROOT / "protos" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_regenerating_changes_nothing(generator: ModuleType) -> None:
    """All files agree with the protos, and there are no others (run ``make wire`` if this fails)."""
    different = [
        path.relative_to(ROOT).as_posix()
        for path, text in generator.generated().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    assert different == []
    assert generator.stale() == []


def test_every_proto_is_there(generator: ModuleType) -> None:
    """The list of protos has the known ones, and each has its module."""
    assert {"edge/v1/inference.proto", "edge/v1/admin.proto", "grpc/testing/test.proto"} <= set(generator.sources())
    assert len(MESSAGES) == len(generator.sources())


@pytest.mark.parametrize("name", MESSAGES)
def test_each_module_stands_alone(name: str) -> None:
    """In a fresh interpreter and with warnings as errors, messages import without grpcio."""
    script = f"import sys, {name} as m; assert m.DESCRIPTOR.name; assert 'grpc' not in sys.modules"
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", MESSAGES)
def test_pickles_and_tracebacks_name_the_module_that_can_be_imported(name: str) -> None:
    """A message class names the module in which it is defined."""
    module = importlib.import_module(name)
    for message in module.DESCRIPTOR.message_types_by_name:
        assert getattr(module, message).__module__ == name


@pytest.mark.parametrize("proto", sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("protos/**/*.proto")))
def test_a_proto_begins_with_a_statement(proto: str) -> None:
    """The first line of each proto says what the file holds."""
    first = (ROOT / proto).read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("// ")
    assert first.endswith(".")


@pytest.mark.parametrize("name", ["inference", "admin"])
def test_every_call_and_message_of_ours_is_documented(name: str) -> None:
    """Every rpc and every non-empty message has a comment above it."""
    lines = (ROOT / f"protos/edge/v1/{name}.proto").read_text(encoding="utf-8").splitlines()
    bare = [
        line.strip()
        for before, line in zip(["", *lines], lines, strict=False)
        if line.startswith(("message ", "enum ", "service ", "  rpc "))
        and not before.lstrip().startswith("//")
        and not line.rstrip().endswith("{}")
        and "Request {" not in line
        and "Response {" not in line
    ]
    assert bare == []
