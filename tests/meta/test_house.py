"""The rules of the repository: lint, types, layers, imports, sizes, and words."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from edge.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
MODULES = sorted(
    ".".join(source.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for source in (ROOT / "edge").rglob("*.py")
)
PYTHON = sorted(path for folder in ("edge", "tests", "bench") for path in (ROOT / folder).rglob("*.py"))

pytestmark = pytest.mark.timeout(300)


def run(*command: str | Path) -> str:
    """Run a tool on the sources; return its output, with its status first if that is not 0."""
    ended = subprocess.run(
        [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=280
    )
    said = ended.stdout + ended.stderr
    return said if ended.returncode == 0 else f"status {ended.returncode}\n{said}"


def test_lint() -> None:
    """Ruff reports nothing."""
    said = run(BIN / "ruff", "check", "--output-format", "concise", ".")
    assert said.strip() == "All checks passed!"


def test_format() -> None:
    """Every file is formatted."""
    said = run(BIN / "ruff", "format", "--check", ".")
    assert not said.startswith("status"), said


def test_types() -> None:
    """Mypy in strict mode reports nothing."""
    said = run(BIN / "mypy")
    assert said.startswith("Success"), said


def test_floors() -> None:
    """Imports only go downwards, siblings do not import each other, and every module has a layer."""
    said = run(BIN / "lint-imports", "--no-cache")
    assert not said.startswith("status"), said


# What protos/generate.py writes is held to the protos, not to our style.
GENERATED = re.compile(r"_pb2(_grpc)?$")


@pytest.mark.parametrize("module", MODULES)
def test_each_module_stands_alone(module: str) -> None:
    """A module imports in a new interpreter without a warning."""
    said = run(sys.executable, "-W", "error", "-c", f"import {module}")
    assert said == ""


# Packages that only control, the command line or a simulated provider needs. The first ones may come into no process
# that carries traffic or watches over the others.
HEAVY = ("aiohttp", "grpc", "grpc_health", "grpc_reflection", "opentelemetry", "edge.sim")
CONTROL = ("rich", "edge.admin", "edge.control.prober", "edge.control.operations")
PROTOBUF = ("google.protobuf", "edge.wire")  # a worker imports them at the first gRPC call to edge itself
TOKENS = ("jwt", "cryptography")  # a worker imports them with the first Snapshot that names an issuer
UNWANTED = {
    "edge.app.worker": (*HEAVY, *CONTROL, *PROTOBUF, *TOKENS, "yaml"),
    "edge.app.start": (*HEAVY, *CONTROL, *PROTOBUF, *TOKENS, "uvloop"),  # until the node is set up; it reads YAML
    "edge.app.supervise": (*HEAVY, *CONTROL, *PROTOBUF, *TOKENS, "yaml"),  # what workers and control share
    "edge.app.supervisor": (*HEAVY, *CONTROL, *PROTOBUF, *TOKENS, "uvloop", "yaml"),
}


@pytest.mark.parametrize("module", UNWANTED)
def test_a_process_imports_only_what_it_needs(module: str) -> None:
    """Workers and the supervisor do not import modules that only other processes need."""
    code = f"import sys, {module}; print([name for name in {UNWANTED[module]!r} if name in sys.modules])"
    assert run(sys.executable, "-c", code).strip() == "[]"


def test_the_command_line_answers_at_once() -> None:
    """``edge --help`` imports no part of edge but the command line itself."""
    code = (
        "import sys, edge.cli.main as main; main.parser(); "
        "print([name for name in ('aiohttp', 'native', 'edge.config', 'edge.sim') if name in sys.modules])"
    )
    assert run(sys.executable, "-c", code).strip() == "[]"


def test_a_subcommand_imports_no_other() -> None:
    """``edge run`` and the others import their own module of ``edge.cli``, not those of all subcommands."""
    code = (
        "import sys, edge.cli.main as main; main.main(['check', '/nowhere/edge.yaml']); "
        "print(sorted({f'edge.cli.{name}' for name in main.COMMANDS} & set(sys.modules)))"
    )
    assert "['edge.cli.check']" in run(sys.executable, "-c", code).splitlines()


@pytest.mark.parametrize("what", ["edge.app.worker", "edge.cli.main"])
def test_import_time_budget(what: str) -> None:
    """An import takes at most this multiple of the processor time of a bare Python start."""
    budget = {"edge.app.worker": 20.0, "edge.cli.main": 6.0}[what]
    code = (
        "import os, subprocess, sys\n"
        "def spent():\n"
        "    times = os.times()\n"
        "    return times.children_user + times.children_system\n"
        "def took(code):\n"
        "    began = spent()\n"
        "    for _ in range(5):\n"
        "        subprocess.run([sys.executable, '-c', code], check=True)\n"
        "    return spent() - began\n"
        f"bare, whole = zip(*((took('pass'), took('import {what}')) for _ in range(4)))\n"
        "print(min(whole) / min(bare))"
    )
    assert float(run(sys.executable, "-c", code)) < budget


# Names of our own concepts may not contain these; third parties' words (aiohttp's "handler") stand in their own calls.
FORBIDDEN_FILES = re.compile(r"(^|_)(utils?|helpers?|common|misc|managers?)(_|\.|$)")


def test_no_room_for_odds_and_ends() -> None:
    """No module is called utils, helpers, common, misc or manager."""
    assert [str(path) for path in PYTHON if FORBIDDEN_FILES.search(path.name)] == []


NATIVE = sorted(
    path for path in (ROOT / "native").rglob("*") if path.suffix in {".py", ".pyx", ".pxd", ".pyi", ".h", ".md"}
)
COMPILED = [path for path in NATIVE if path.suffix == ".pyx"]


def lines(path: Path) -> int:
    """Count the lines of a file."""
    return len(path.read_text().splitlines())


def test_files_are_short() -> None:
    """No file has more than 400 lines, or 600 in native/."""
    sources = [path for folder in ("edge", "bench") for path in (ROOT / folder).rglob("*.py")]
    written = [path for path in sources if not GENERATED.search(path.stem)]
    assert [str(path.relative_to(ROOT)) for path in written if lines(path) > 400] == []
    assert [str(path.relative_to(ROOT)) for path in NATIVE if lines(path) > 600] == []


def test_most_compiled_files_are_short() -> None:
    """Half of the .pyx files have at most 200 lines."""
    assert len(COMPILED) > 50
    assert statistics.median(lines(path) for path in COMPILED) <= 200


UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b|except[^\n]*:\s*\n\s*pass\b")


def test_nothing_is_left_for_later() -> None:
    """There are no promises in comments, and no exception is swallowed silently."""
    found = [
        f"{path.relative_to(ROOT)}: {match[0]!r}"
        for path in [*PYTHON, *(ROOT / "native").glob("*/*.p[yx]*")]
        for match in UNFINISHED.finditer(path.read_text())
    ]
    assert found == []


SOURCES = [
    path for folder in ("edge", "bench", "deploy", "docs", "protos", "tests") for path in (ROOT / folder).rglob("*.py")
]
FIRST_LINE = re.compile(r'(?:#[^\n]*\n|\s)*r?"""([^\n]*)')


def test_docstrings_begin_with_a_statement() -> None:
    """The first line of a module's docstring states what the module does or holds, or a test module checks."""
    first = {
        path.relative_to(ROOT): match[1]
        for path in [*SOURCES, *(ROOT / "native").glob("*/*.p[yx][xd]")]
        if not GENERATED.search(path.stem)
        if (match := FIRST_LINE.match(path.read_text()))
    }
    assert len(first) > 200
    assert {str(path): line for path, line in first.items() if "?" in line} == {}


def test_every_test_says_what_it_proves() -> None:
    """Every test has a docstring with the property that it checks."""
    silent = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for name, after in re.findall(r"def (test_\w+)\(.*?\)(?: -> [^:]+)?:\n\s*(.{3})", path.read_text(), re.DOTALL)
        if not after.startswith(('"""', 'r""'))
    ]
    assert silent == []


def test_the_life_of_a_request_is_the_code() -> None:
    """The headings of the document are the states of an exchange, and the code has a section for each."""
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs" / "life-of-a-request.md").read_text(), re.MULTILINE)
    table = (ROOT / "native/proxy/steps.pxd").read_text().partition("cpdef enum State:")[2].partition("cpdef enum")[0]
    assert sorted(headings) == sorted(re.findall(r"^    ([A-Z]+) = \d+", table, re.MULTILINE))
    sections = re.findall(r"^    # --- ([A-Z, ]+) -+$", (ROOT / "native/proxy/exchange.pyx").read_text(), re.MULTILINE)
    named = {name for section in sections for name in section.split(", ")}
    assert named | {"WAITING", "RESUMING"} == set(headings)


DOCUMENTS = sorted(
    path for folder in (".", "docs", "docs/decisions", "native", "bench") for path in (ROOT / folder).glob("*.md")
)
LINK = re.compile(r"\]\(([^)#:]*)(?:#([^)]+))?\)")


def anchors(document: Path) -> set[str]:
    """Return the possible link fragments of a document: its headings as GitHub spells them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_links_lead_somewhere() -> None:
    """A relative link of a document leads to a file, and its fragment to a heading there."""
    links = [(document, *match) for document in DOCUMENTS for match in LINK.findall(document.read_text())]
    dead = []
    for document, path, anchor in links:
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(f"{document.relative_to(ROOT)}: {path}#{anchor}")
    assert len(links) > 50
    assert dead == []


def test_the_readme_names_every_document() -> None:
    """README.md links to every other document."""
    named = {(ROOT / path).resolve() for path, _ in LINK.findall((ROOT / "README.md").read_text()) if path}
    assert [str(path.relative_to(ROOT)) for path in DOCUMENTS if path not in named | {ROOT / "README.md"}] == []


# In a line of code within prose (but not right after one), or in a block of commands.
COMMAND = re.compile(r"(?:(?<!\w)`|^    (?:\$ )?)(edge|make) ([a-z]+)\b", re.MULTILINE)


def test_commands_that_documents_name_exist() -> None:
    """Every `edge WORD` of a document is a subcommand, and every `make WORD` a target."""
    texts = [path.read_text() for path in DOCUMENTS]
    named = {match for text in texts for match in COMMAND.findall(text)}
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    assert {word for tool, word in named if tool == "edge"} - set(COMMANDS) == set()
    assert {word for tool, word in named if tool == "make"} - set(targets) == set()
    assert {("make", "check"), ("edge", "demo")} <= named


NAMED = re.compile(r"`((?:edge|native|tests|deploy|protos|bench|docs)/[\w./*-]+)`")


def test_files_named_in_documents_exist() -> None:
    """A path in code spans of a document exists; * and NAME stand for any name."""
    named = [(document, path) for document in DOCUMENTS for path in NAMED.findall(document.read_text())]
    assert len(named) > 50
    assert [
        f"{document.relative_to(ROOT)}: {path}"
        for document, path in named
        if not any(list(ROOT.glob(pattern)) for pattern in (path.replace("NAME", "*").rstrip("/"), f"{path}.pyx"))
    ] == []


def test_metrics_named_in_documents_exist() -> None:
    """A metric in code spans of a document is in the catalogue."""
    from edge.telemetry.catalog import ALL

    named = {
        (document.relative_to(ROOT), name)
        for document in DOCUMENTS
        for name in re.findall(r"`(edge_\w+)(?:\{[^`]*\})?`", document.read_text())
    }
    assert len(named) > 100
    assert {(path, name) for path, name in named if name not in {metric.name for metric in ALL}} == set()
