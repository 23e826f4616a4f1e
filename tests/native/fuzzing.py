"""Builds a fuzzer: native modules of a copy of this repository, under sanitizers and with a call at each branch."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXECUTIONS = int(os.environ.get("EDGE_FUZZ_EXECUTIONS", "5000000"))
SECONDS = float(os.environ.get("EDGE_FUZZ_SECONDS", "1800"))


IMPORTED = re.compile(r"^from native\.(\w+)\.(\w+) c?import", re.MULTILINE)


def needed(source: Path) -> set[str]:
    """Return the stems of the native modules that a source imports, directly or indirectly."""
    found: set[str] = set()
    waiting = [source]
    while waiting:
        for package, stem in IMPORTED.findall(waiting.pop().read_text()):
            parts = [ROOT / "native" / package / f"{stem}{kind}" for kind in (".pyx", ".pxd")]
            if stem not in found:
                found.add(stem)
                waiting += [part for part in parts if part.exists()]
    return found


def build(copy: Path, source: str, package: str) -> dict[str, str]:
    """Build the fuzzer ``tests/fuzz/source`` in ``package`` of a copy, with the modules that it needs.

    Returns:
        The environment that it runs in, with ``copy`` as the working directory.
    """
    shutil.copytree(ROOT / "native", copy / "native", ignore=shutil.ignore_patterns("*.so", "*.c", "__pycache__"))
    shutil.copytree(ROOT / "tests", copy / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, copy)
    (copy / "edge").symlink_to(ROOT / "edge")
    shutil.copy(ROOT / "tests/fuzz" / source, copy / "native" / package)
    coverage = copy / "coverage.so"
    compiler = os.environ.get("CC", "gcc").split()
    subprocess.run([*compiler, "-O2", "-shared", "-fPIC", "-o", coverage, ROOT / "tests/fuzz/coverage.c"], check=True)
    built = {
        **os.environ,
        "EDGE_SANITIZE": "address,undefined",
        "EDGE_ONLY": ",".join({*needed(ROOT / "tests/fuzz" / source), Path(source).stem}),
        "CFLAGS": "-fsanitize-coverage=trace-pc",
        "PYTHONPATH": str(copy),
    }
    subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=copy, env=built, check=True)
    library = subprocess.run(
        [*compiler, "-print-file-name=libasan.so"], check=True, capture_output=True, text=True
    ).stdout.strip()
    return {
        **os.environ,
        "PYTHONPATH": str(copy),
        "LD_PRELOAD": f"{coverage}:{library}",
        # a short quarantine and no stacks of allocations: both cost more than the parsers
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:verify_asan_link_order=0:quarantine_size_mb=4"
        ":malloc_context_size=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
    }
