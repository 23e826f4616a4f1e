"""Builds the compiled modules: each ``native/<package>/<stem>.pyx`` becomes the extension ``native.<package>.<stem>``.

Sources and binaries share a folder, because with a mapped sub-package Cython silently fails to find ``.pxd`` files. A
source is rebuilt when it changes, or a ``.pxd`` that it cimports (directly or indirectly), or a header.

Environment variables:
  EDGE_DEBUG=1              line tracing, assertions and no optimization, for debuggers and coverage
  EDGE_ONLY=peek,sse        build only these stems, for work on them
  EDGE_BUILD_JOBS=4         number of parallel translations and compilations; default 2
  EDGE_SANITIZE=address     comma-separated GCC sanitizers (``address``, ``undefined``) for the native tests
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import Cython.Compiler.Options
from Cython.Build import cythonize
from Cython.Build.Dependencies import create_dependency_tree
from setuptools import Extension, setup

Cython.Compiler.Options.warning_errors = True

DEBUG = os.environ.get("EDGE_DEBUG") == "1"
SANITIZE = os.environ.get("EDGE_SANITIZE", "")
JOBS = int(os.environ.get("EDGE_BUILD_JOBS", "2"))
HEADERS = [header.as_posix() for header in sorted(Path("native").glob("*/*.h"))]
ONLY = {stem for stem in os.environ.get("EDGE_ONLY", "").split(",") if stem}


def compile_flags() -> tuple[list[str], list[str]]:
    """Return (compiler, linker) flags for the kind of build that is selected."""
    compile_args = ["-std=gnu11", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Wno-unused-function"]
    compile_args += ["-Wno-missing-field-initializers", "-Wno-cast-function-type"]
    link_args: list[str] = []
    compile_args += ["-O0", "-g"] if DEBUG else ["-O0" if SANITIZE else "-O2", "-g1"]
    if SANITIZE:
        compile_args += [f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer"]
        link_args += [f"-fsanitize={SANITIZE}"]
    return compile_args, link_args


# System libraries, by the .pxd that declares them: the pkg-config name, and the oldest version that has what is called.
LIBRARIES = {"native/http/nghttp2.pxd": "libnghttp2 >= 1.50", "native/io/openssl.pxd": "openssl >= 3.0"}


@cache
def library_flags(wanted: str) -> tuple[list[str], list[str]]:
    """Return (compiler, linker) flags of a system library; exit and say what to install if it is missing."""
    try:
        found = [
            subprocess.run(  # noqa: S603 - the arguments are constants
                ["pkg-config", "--print-errors", which, wanted],  # noqa: S607 - the path depends on the system
                check=True,
                capture_output=True,
                text=True,
            )
            for which in ("--cflags", "--libs")
        ]
    except (OSError, subprocess.CalledProcessError):
        sys.exit(
            f"edge needs {wanted} with its headers, and pkg-config to find them: install them "
            "(Debian, Ubuntu: libnghttp2-dev libssl-dev pkg-config)."
        )
    return shlex.split(found[0].stdout), shlex.split(found[1].stdout)


def extension(source: Path, compile_args: list[str], link_args: list[str]) -> Extension:
    """Return the Extension of one source, with the flags of the libraries that its cimports reach."""
    needed = create_dependency_tree().all_dependencies(source.as_posix())
    wanted = [library for declared, library in LIBRARIES.items() if declared in needed]
    more = [library_flags(library) for library in wanted]
    return Extension(
        ".".join(source.with_suffix("").parts),
        [source.as_posix()],
        include_dirs=["."],
        depends=HEADERS,
        extra_compile_args=sum((compiler for compiler, _ in more), compile_args),
        extra_link_args=sum((linker for _, linker in more), link_args),
        define_macros=[("CYTHON_TRACE_NOGIL", "1")] if DEBUG else [],
    )


def extensions() -> list[Extension]:
    """Return one Extension per ``native/*/*.pyx``."""
    compile_args, link_args = compile_flags()
    return [
        extension(source, compile_args, link_args)
        for source in sorted(Path("native").glob("*/*.pyx"))
        if not ONLY or source.stem in ONLY
    ]


setup(
    ext_modules=cythonize(
        extensions(),
        nthreads=JOBS,
        compiler_directives={
            "language_level": 3,
            "embedsignature": True,
            "linetrace": DEBUG,
            "warn.undeclared": False,
            "warn.unused": True,
            "warn.unused_arg": False,
            "warn.maybe_uninitialized": True,
        },
    ),
    options={"build_ext": {"parallel": JOBS}},
)
