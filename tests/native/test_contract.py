"""Each compiled module keeps what its .pxd and .pyi promise."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

NATIVE = Path(__file__).parents[2] / "native"
STEMS = sorted(f"{source.parent.name}/{source.stem}" for source in NATIVE.glob("*/*.pyx"))
TABLES = sorted(f"{table.parent.name}/{table.stem}" for table in NATIVE.glob("*/*.pxd") if table.stem != "__init__")
CLASS = re.compile(r"^cdef class (\w+)")
ENUM = re.compile(r"^cpdef enum (\w+)")
ATTRIBUTE = re.compile(r"^    cdef (?:readonly|public) (.+)")
SHAPES = {"Protocol", "TypedDict"}  # of arguments and results: nothing at run time
OURS = re.compile(r"^(?:cdef class|cpdef|cdef (?!extern|enum|struct|inline|packed)[^=\n]*\()", re.MULTILINE)
CPDEF = re.compile(r"^    cpdef (.+?)\(")
# The roles, whose methods do nothing until a subclass overrides them, and the pattern of those methods.
ROLES = {
    "AttemptEvents": r"on_\w+|translate",
    "Timer": r"fire",
    "Preface": r"feed",
    "Pollable": r"on_events|flush|on_error|on_stop",
    "Ticker": r"on_tick",
    "SocketEvents": r"\w+",
    "AcceptEvents": r"on_accept",
    "ServerEvents": r"\w+",
    "ServerStream": r"\w+",
    "ClientEvents": r"\w+",
    "ClientStream": r"\w+",
    "Acceptor": r"open|refusal",
    "TurnEvents": r"on_\w+",
    "RequestEvents": r"\w+",
    "ResponseEvents": r"\w+",
    "PooledConnection": r"\w+",
    "SharedConnection": r"\w+",
    "Http2Connection": r"on_\w+",
}
EXTENSION = re.compile(r"^cdef class (\w+)(?:\((\w+)\))?:", re.MULTILINE)
METHOD = re.compile(r"^    (?:cdef|cpdef|def) (?:(?!class)[\w.*]+ )?\*?(\w+)\(self\b", re.MULTILINE)


def declared(stem: str) -> list[tuple[str, str]]:
    """Return the (class, attribute) pairs of a .pxd that are visible to Python."""
    found = []
    owner = ""
    for line in (NATIVE / f"{stem}.pxd").read_text().splitlines():
        if match := CLASS.match(line):
            owner = match[1]
        elif line and not line.startswith((" ", "#")):
            owner = ""
        elif owner and (match := CPDEF.match(line)):
            found.append((owner, match[1].split()[-1]))
        elif owner and (match := ATTRIBUTE.match(line)):
            # "int64_t prompt_tokens, output_tokens   # why" names two; the type is the words before the first name
            names = match[1].split("#")[0].split(",")
            found += [(owner, name.split()[-1].strip("*")) for name in names if name.strip()]
    return found


def enums(stem: str) -> list[str]:
    """Return the enums of a .pxd that are visible to Python."""
    text = (NATIVE / f"{stem}.pxd").read_text()
    return [match[1] for line in text.splitlines() if (match := ENUM.match(line))]


def stub(stem: str) -> list[ast.stmt]:
    """Return the statements of a .pyi."""
    return ast.parse((NATIVE / f"{stem}.pyi").read_text()).body


def classes(stem: str) -> dict[str, ast.ClassDef]:
    """Return the classes of a .pyi."""
    return {node.name: node for node in stub(stem) if isinstance(node, ast.ClassDef)}


def told(stem: str) -> dict[str, set[str]]:
    """Return the names in a .pyi: top-level names, and the members of each class."""
    names = {name: set[str]() for node in stub(stem) for name in _names(node) if not name.startswith("_")}
    return names | {name: {one for item in node.body for one in _names(item)} for name, node in classes(stem).items()}


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []


def numbers(node: ast.ClassDef | None) -> dict[str, int]:
    """Return the members of an enum in a .pyi."""
    items = [item for item in ([] if node is None else node.body) if isinstance(item, ast.Assign)]
    return {ast.unparse(item.targets[0]): ast.literal_eval(item.value) for item in items}


def compiled(stem: str) -> ModuleType:
    """Return the compiled module of ``package/stem``."""
    return importlib.import_module(f"native.{stem.replace('/', '.')}")


def extensions(suffix: str) -> list[tuple[str, str, str, set[str]]]:
    """Return the extension types in all .pyx or all .pxd, as (stem, name, base or "", names of methods)."""
    found = []
    for source in sorted(NATIVE.glob(f"*/*.{suffix}")):
        text = source.read_text()
        starts = list(EXTENSION.finditer(text))
        for start in starts:
            body = re.split(r"^(?=[^\s#])", text[start.end() :], maxsplit=1, flags=re.MULTILINE)[0]
            stem = f"{source.parent.name}/{source.stem}"
            found.append((stem, start[1], start[2] or "", set(METHOD.findall(body))))
    return found


def missing_overrides() -> list[str]:
    """Return the role methods that a class without subclasses neither overrides nor inherits from another subclass."""
    declared_in = {name: methods for _, name, _, methods in extensions("pxd")}
    bases = {name: base for suffix in ("pxd", "pyx") for _, name, base, _ in extensions(suffix) if base}
    written = {(stem, name): methods for stem, name, _, methods in extensions("pyx")}
    by_name = {name: methods for (_, name), methods in written.items()}
    missing = []
    for (stem, name), methods in written.items():
        line = [name]
        while line[-1] in bases:
            line.append(bases[line[-1]])
        if name in bases.values() or name in ROLES:
            continue
        for role in [ancestor for ancestor in line if ancestor in ROLES]:
            between = line[1 : line.index(role)]
            overridden = methods.union(*(by_name[ancestor] for ancestor in between))
            missing += [
                f"{stem}: {name} does not override {role}.{method}"
                for method in sorted(declared_in[role] - overridden)
                if re.fullmatch(ROLES[role], method)
            ]
    return missing


def test_there_is_something_to_check() -> None:
    """The lists that the other tests use contain known entries."""
    assert {"state/shared_state", "codec/request_peek", "codec/sse"} <= set(STEMS)
    assert ("Scanner", "said_size") in declared("codec/sse")
    assert ("Scanner", "events") in declared("codec/sse")
    assert "Said" in enums("codec/event_kind")
    assert "push" in told("codec/sse")["Scanner"]


@pytest.mark.parametrize("stem", STEMS)
def test_every_source_has_its_types_and_imports(stem: str) -> None:
    """Each native/*/*.pyx is compiled, can be imported, and has a .pyi."""
    assert compiled(stem).__name__ == f"native.{stem.replace('/', '.')}"
    assert (NATIVE / f"{stem}.pyi").is_file()


@pytest.mark.parametrize("stem", TABLES)
def test_every_table_has_its_source(stem: str) -> None:
    """A .pxd without a .pyx declares only what C implements, and no class or function of edge."""
    assert stem in STEMS or OURS.search((NATIVE / f"{stem}.pxd").read_text()) is None


@pytest.mark.parametrize("stem", [stem for stem in TABLES if stem in STEMS])
def test_visible_attributes_exist(stem: str) -> None:
    """Each readonly or public attribute and each cpdef method of a .pxd exists on its class at run time."""
    module = compiled(stem)
    missing = [f"{owner}.{name}" for owner, name in declared(stem) if not hasattr(getattr(module, owner, None), name)]
    assert missing == []


@pytest.mark.parametrize("stem", [stem for stem in TABLES if stem in STEMS])
def test_visible_enums_are_declared(stem: str) -> None:
    """Each cpdef enum exists at run time, and its .pyi has the same names and numbers."""
    module = compiled(stem)
    for name in enums(stem):
        assert numbers(classes(stem).get(name)) == {item.name: int(item) for item in getattr(module, name)}


@pytest.mark.parametrize("stem", STEMS)
def test_the_types_declare_only_what_exists(stem: str) -> None:
    """Each name in a .pyi exists at run time (except types of arguments and results)."""
    module = compiled(stem)
    shapes = {name for name, node in classes(stem).items() if SHAPES & {ast.unparse(base) for base in node.bases}}
    for owner, names in told(stem).items():
        if owner not in shapes:
            assert hasattr(module, owner), owner
            assert {name for name in names if not hasattr(getattr(module, owner), name)} == set(), owner


@pytest.mark.parametrize("stem", [stem for stem in TABLES if stem in STEMS])
def test_the_types_declare_what_is_visible(stem: str) -> None:
    """Each readonly or public attribute and each cpdef method of a .pxd is in the .pyi."""
    assert [(owner, name) for owner, name in declared(stem) if name not in told(stem).get(owner, set())] == []


def test_roles_are_overridden_whole() -> None:
    """Each concrete subclass of a role overrides every method of it, itself or in a class between the two."""
    assert missing_overrides() == []


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_subclasses_and_methods(role: str) -> None:
    """Each role is found, declares the methods of its pattern, and its .pxd refers to this test."""
    texts = [table.read_text() for table in NATIVE.glob("*/*.pxd") if f"cdef class {role}" in table.read_text()]
    methods = [methods for _, name, _, methods in extensions("pxd") if name == role]
    assert len(texts) == len(methods) == 1
    assert [name for name in methods[0] if re.fullmatch(ROLES[role], name)] != []
    assert "test_contract.py" in texts[0]
    assert role in {base for suffix in ("pxd", "pyx") for _, _, base, _ in extensions(suffix)}


def test_a_missing_override_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A role's method that no subclass overrides is reported for each subclass."""
    known = extensions("pxd")
    wider = [
        (stem, name, base, methods | ({"on_nothing"} if name == "ServerEvents" else set()))
        for stem, name, base, methods in known
    ]
    sources = extensions("pyx")
    monkeypatch.setattr(f"{__name__}.extensions", lambda suffix: wider if suffix == "pxd" else sources)
    assert sorted(missing_overrides()) == [
        "http/grpc_web: GrpcWebEvents does not override ServerEvents.on_nothing",
        "proxy/detached: DetachedAttempt does not override ServerEvents.on_nothing",
        "proxy/exchange: Exchange does not override ServerEvents.on_nothing",
        "proxy/responses_socket: ResponsesSocket does not override ServerEvents.on_nothing",
    ]
