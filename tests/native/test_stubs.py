"""Each .pyi declares all functions of its .pyx with the same parameters and with types."""

from __future__ import annotations

import ast
import asyncio
import re
from pathlib import Path
from typing import NamedTuple

import pytest

NATIVE = Path(__file__).parents[2] / "native"
STEMS = sorted(f"{source.parent.name}/{source.stem}" for source in NATIVE.glob("*/*.pyx"))
CLASS = re.compile(r"^(?:cdef )?class (\w+)")
FUNCTION = re.compile(r"^(?P<indent>    )?(?:def |cpdef (?:[\w.]+ )?)(?P<name>\w+)\(")
DECORATOR = re.compile(r"^\s*@([\w.]+)")
# What asyncio calls on a protocol: its own signatures, which no Python of ours calls.
CALLED_BY_OTHERS = set(dir(asyncio.Protocol))
OPAQUE = {"object", "Any"}


class Parameter(NamedTuple):
    """One parameter of a function."""

    name: str
    keyword_only: bool
    has_default: bool


Signatures = dict[tuple[str, str], list[Parameter]]
"""By (class or "", function), without ``self``."""


def split(text: str) -> list[str]:
    """Split at the commas outside of brackets."""
    parts, depth = [""], 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        if char == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts if part.strip()]


def inside(lines: list[str]) -> str:
    """Return the text between the first opening parenthesis and its closing one."""
    text = " ".join(line.split("  #")[0].strip() for line in lines)
    text = text[text.index("(") + 1 :]
    depth = 1
    for at, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return text[:at]
    raise ValueError(f"no closing parenthesis in {text[:80]!r}")


def parameters(text: str) -> list[Parameter]:
    """Parse the parameters of a Cython function, without types."""
    found = []
    keyword_only = False
    for part in split(text):
        if part in {"*", "/"}:
            keyword_only = keyword_only or part == "*"
            continue
        left, equals, _ = part.partition("=")
        name = re.sub(r" (?:not|or) None\s*$", "", left.strip()).split()[-1]
        found.append(Parameter(name.lstrip("*&"), keyword_only, equals != ""))
    return found[1:] if found and found[0].name == "self" else found


def compiled_signatures(stem: str) -> tuple[Signatures, set[tuple[str, str]]]:
    """Return the functions of a .pyx that Python can call, and which of them are properties."""
    found: Signatures = {}
    properties = set()
    owner = decorator = ""
    lines = (NATIVE / f"{stem}.pyx").read_text().splitlines()
    for at, line in enumerate(lines):
        if match := CLASS.match(line):
            owner = match[1]
        elif match := FUNCTION.match(line):
            name = "__init__" if match["name"] == "__cinit__" else match["name"]
            key = (owner if match["indent"] else "", name)
            if decorator == "property" or decorator.endswith(".setter"):
                properties.add(key)
            else:
                found[key] = parameters(inside(lines[at : at + 20]))
        elif line and not line.startswith((" ", "#", ")", "@")):
            owner = ""
        decorator = match[1] if (match := DECORATOR.match(line)) else ""
    return found, properties


def is_compiled(stem: str, name: str) -> bool:
    """Return whether the .pyx or the .pxd has this class; others are types of arguments (Protocol, TypedDict)."""
    texts = [path.read_text() for path in (NATIVE / f"{stem}.pyx", NATIVE / f"{stem}.pxd") if path.exists()]
    return any(re.search(rf"^(?:cdef )?class {name}\b", text, re.MULTILINE) for text in texts)


def stub_functions(stem: str) -> dict[tuple[str, str], ast.FunctionDef]:
    """Return the functions of a .pyi, and those of its compiled classes."""
    body = ast.parse((NATIVE / f"{stem}.pyi").read_text()).body
    found = {("", node.name): node for node in body if isinstance(node, ast.FunctionDef)}
    for owner in body:
        if isinstance(owner, ast.ClassDef) and is_compiled(stem, owner.name):
            found |= {(owner.name, node.name): node for node in owner.body if isinstance(node, ast.FunctionDef)}
    return found


def is_property(node: ast.FunctionDef) -> bool:
    """Return whether a stub's function is a property."""
    return any(ast.unparse(mark) == "property" for mark in node.decorator_list)


def declared(node: ast.FunctionDef) -> list[Parameter]:
    """Return the parameters of a stub's function."""
    arguments = node.args
    plain = [*arguments.posonlyargs, *arguments.args]
    without = len(plain) - len(arguments.defaults)
    found = [Parameter(argument.arg, False, place >= without) for place, argument in enumerate(plain)]
    found += [
        Parameter(argument.arg, True, default is not None)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    return found[1:] if found and found[0].name == "self" else found


@pytest.mark.parametrize("stem", STEMS)
def test_stubs_have_the_parameters_of_the_source(stem: str) -> None:
    """Names, order, keyword-only marks and the presence of defaults agree for each function that both sides have."""
    compiled, _ = compiled_signatures(stem)
    stubs = {key: declared(node) for key, node in stub_functions(stem).items() if not is_property(node)}
    assert {key: found for key, found in stubs.items() if key in compiled} == {
        key: compiled[key] for key in stubs if key in compiled
    }


@pytest.mark.parametrize("stem", STEMS)
def test_stubs_leave_no_function_out(stem: str) -> None:
    """Each public function, and each public method and property of a class, is in the .pyi."""
    compiled, properties = compiled_signatures(stem)
    told = stub_functions(stem)
    silent = [
        key
        for key in [*compiled, *properties]
        if key not in told and not key[1].startswith("_") and not (key[0] and key[1] in CALLED_BY_OTHERS)
    ]
    assert silent == []


@pytest.mark.parametrize("stem", STEMS)
def test_stubs_name_what_they_take_and_return(stem: str) -> None:
    """No parameter and no result is just an object; a Protocol names the required attributes."""
    opaque = [
        (key, argument.arg)
        for key, node in stub_functions(stem).items()
        for argument in [*node.args.args, *node.args.kwonlyargs]
        if argument.annotation is not None and ast.unparse(argument.annotation) in OPAQUE
    ]
    opaque += [
        (key, "return")
        for key, node in stub_functions(stem).items()
        if node.returns is not None and ast.unparse(node.returns) in OPAQUE
    ]
    assert opaque == []


def test_the_parser_reads_what_cython_writes() -> None:
    """Types, references, defaults with brackets, keyword-only marks and several lines are parsed correctly."""
    assert parameters("self, int slot, *, object plan not None, tuple pair=(1, 2), const char* at") == [
        Parameter("slot", False, False),
        Parameter("plan", True, False),
        Parameter("pair", True, True),
        Parameter("at", True, False),
    ]
    assert inside(["    def f(self, a=(1, 2),    # why", "          b=None) -> (int):"]) == "self, a=(1, 2), b=None"


def test_there_is_something_to_compare() -> None:
    """Both sides find the functions of known modules."""
    compiled, properties = compiled_signatures("state/shared_state")
    assert compiled["SharedState", "hint"] == [Parameter("slot", False, False), Parameter("now_ns", False, False)]
    assert ("SharedState", "capacities") in properties
    assert ("SharedState", "hint") in stub_functions("state/shared_state")
    assert sum(len(compiled_signatures(stem)[0]) for stem in STEMS) > 200
