"""Generator of ``edge/wire`` from the protos: ``python -m protos.generate``; a test compares the result.

It changes the compiler's output in three ways:

- imports refer to ``edge.wire``: the compiler expects ``edge.v1`` and ``grpc.testing`` at the top level, where other
  packages have these names;
- the checks that reject a protobuf or grpcio older than the compiler are removed: the generated code works with
  protobuf 5.26 and grpcio 1.66, and edge may be installed beside packages that pin such versions;
- each package gets an ``__init__.py``, so that it is found and shipped in the wheel.
"""

# ruff: noqa: INP001  # a script beside the protos, not a package

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Final

import grpc_tools
from grpc_tools import protoc

HERE: Final = Path(__file__).parent
WIRE: Final = HERE.parent / "edge" / "wire"
PACKAGE: Final = "edge.wire"

_INIT: Final = '"""Messages and stubs of gRPC, generated from protos/ by `make wire`; do not edit."""\n'
_IMPORT: Final = re.compile(r"^from ((?!google\.)[a-z]\w*(?:\.\w+)*) import (\w+_pb2) as ", re.MULTILINE)
_NAME: Final = re.compile(r"(BuildTopDescriptorsAndMessages\(DESCRIPTOR, ')")
_PROTOBUF_CHECK: Final = re.compile(
    r"^from google\.protobuf import runtime_version as _runtime_version\n|"
    r"^_runtime_version\.ValidateProtobufRuntimeVersion\(.*?^\)\n|^# Protobuf Python Version: [^\n]*\n",
    re.MULTILINE | re.DOTALL,
)
_GRPC_CHECK: Final = re.compile(r"^GRPC_GENERATED_VERSION = .*?^    \)\n", re.MULTILINE | re.DOTALL)


class ProtoError(Exception):
    """The protos do not compile; the compiler has printed the reason."""


def sources() -> list[str]:
    """Return the path of every proto, relative to ``protos/``."""
    return sorted(path.relative_to(HERE).as_posix() for path in HERE.rglob("*.proto"))


def generated() -> dict[Path, str]:
    """Return the files of ``edge/wire`` with their text.

    Raises:
        ProtoError: a proto does not compile.
    """
    included = Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as folder:
        outs = [f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpc_python")]
        if protoc.main(["protoc", f"-I{HERE}", f"-I{included}", *outs, *sources()]) != 0:
            raise ProtoError("the protos do not compile")
        found = {
            WIRE / path.relative_to(folder): path.read_text(encoding="utf-8")
            for path in sorted(Path(folder).rglob("*.py*"))
        }
    files = {
        path: ours(text)
        for path, text in found.items()
        # The file of stubs is empty for a proto without a service.
        if not path.name.endswith("_pb2_grpc.py") or "class " in text
    }
    folders = {folder for path in files for folder in path.parents if folder.is_relative_to(WIRE)}
    return {**{folder / "__init__.py": _INIT for folder in folders}, **files}


def ours(text: str) -> str:
    """Return the text of a generated file with the changes that the module's docstring lists."""
    text = _GRPC_CHECK.sub("", _PROTOBUF_CHECK.sub("", text))
    text = text.replace("import warnings\n", "")
    text = _IMPORT.sub(rf"from {PACKAGE}.\1 import \2 as ", text)
    text = _NAME.sub(rf"\g<1>{PACKAGE}.", text)
    return re.sub(r"\n{4,}", "\n\n\n", text).rstrip("\n") + "\n"


def stale() -> list[Path]:
    """Return the files under ``edge/wire`` that no proto generates."""
    wanted = set(generated())
    return [path for path in sorted(WIRE.rglob("*.py*")) if path.suffix in {".py", ".pyi"} and path not in wanted]


def main() -> int:
    """Write the generated files and delete stale ones."""
    for path, text in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for path in stale():
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
