"""The reader copes with any file, and finds all problems of a file."""

from __future__ import annotations

import contextlib
import sys
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.config import tree
from edge.config.check import check
from edge.config.load import load, read, read_text
from edge.config.problems import Document, errors, spell
from edge.config.schema import Config
from edge.config.shape import Scalar, section_of, sections_within, shape_of
from edge.errors import ConfigInvalidError
from edge.providers import KNOWN

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {field.name for section in sections_within(section_of(Config)) for field in section.fields}
NAMES = [*sorted(KEYS), "chat", "p"]
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.sampled_from(["2s", "20%", "64KiB", "${X}", "${HOME:-x}", "file:x", "127.0.0.1:80", "p/m", "http://[::1", ""]),
    st.text(max_size=8),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=30,
)


@given(TREES)
@settings(max_examples=300, deadline=None)
def test_any_tree_is_read_and_checked_without_an_exception(whole: object) -> None:
    """Any content of a file gives a Config and a list of problems."""
    with contextlib.suppress(yaml.YAMLError):
        document = read_text(yaml.safe_dump(whole), "edge.yaml", environ={})
        assert isinstance(document.config, Config)
        assert all(problem.sentence for problem in check(document, KNOWN))


@given(st.text(max_size=60))
@settings(deadline=None)
def test_any_text_is_read_without_an_exception(text: str) -> None:
    """A file that is not YAML is a problem and not a crash."""
    assert isinstance(read_text(text, environ={}).config, Config)


def test_all_problems_come_at_once() -> None:
    """One run reports problems of the text, of single values, and of values that contradict each other."""
    document = read_text("limits: {body: 1, body: 2}\nlisten: [{address: nowhere}]\nmodels: {m: {targets: [x/y]}}\n")
    assert [spell(problem.path) for problem in check(document, KNOWN)] == [
        "limits.body",
        "limits.body",
        "listen[0].address",
        "models.m.targets[0]",
    ]


def test_an_alias_bomb_is_refused() -> None:
    """A few lines that expand to billions of values are refused before they are expanded."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    root, problems = tree.compose("\n".join(lines))
    assert root is None
    assert "aliases" in problems[0].sentence


@pytest.mark.parametrize(
    "text", ["a: &a [*a]", "a: &a {b: *a}", "[" * 5000, "{a: " * 3000, "[" * 60 + "]" * 60, "- " * 300_000]
)
def test_a_text_without_end_is_refused(text: str) -> None:
    """A recursive anchor and unlimited nesting are reported as problems."""
    root, problems = tree.compose(text)
    assert root is None
    assert len(problems) == 1


def _same(text: str, root: Any) -> bool:
    """Return whether a tree has the tags, values and lines that PyYAML's composer in Python finds."""
    pending = [(root, yaml.compose(text, Loader=yaml.SafeLoader))]
    while pending:
        ours, theirs = pending.pop()
        if ours is None or theirs is None:
            assert ours is theirs
            continue
        assert ours.line == theirs.start_mark.line + 1
        if isinstance(theirs, yaml.ScalarNode):
            assert (ours.text, ours.tag) == (theirs.value, theirs.tag)
        elif isinstance(theirs, yaml.MappingNode):
            pending += zip(chain(*ours.items), chain(*theirs.value), strict=True)
        else:
            pending += zip(ours.items, theirs.value, strict=True)
    return True


@given(TREES, st.booleans(), st.sampled_from([None, False, True]))
@settings(max_examples=100, deadline=None)
def test_the_tree_is_that_of_the_parser_in_python(whole: object, canonical: bool, flow: bool | None) -> None:
    """Values, what YAML takes them for, and their lines are those that PyYAML's own composer finds."""
    with contextlib.suppress(yaml.YAMLError):
        text = yaml.safe_dump(whole, canonical=canonical, default_flow_style=flow)
        assert _same(text, tree.compose(text)[0])


def test_many_keys_cost_little_each() -> None:
    """Reading and checking a key takes a bounded number of calls, so that thousands of keys are read quickly."""
    called = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal called
        called += event in ("call", "c_call")

    def calls(keys: int) -> int:
        nonlocal called
        lines = [f'  - {{name: k{n}, sha256: "{n:064x}", models: [m], requests_per_minute: 9}}' for n in range(keys)]
        text = "providers: {p: {base_url: http://127.0.0.1:1}}\nmodels: {m: {targets: [p/m]}}\nkeys:"
        called = 0
        sys.setprofile(count)
        try:
            found = check(read_text(text + "\n" + "\n".join(lines), environ={}), KNOWN)
        finally:
            sys.setprofile(None)
        assert not errors(found)
        return called

    calls(1)  # what is made once
    assert (calls(220) - calls(20)) / 200 < 250


def test_a_file_of_many_keys_is_not_too_long() -> None:
    """A file of twice the size that 40,000 keys take is read."""
    text = "node: {region: eu}\n" + ("#" * 1023 + "\n") * 16 * 1024
    assert read_text(text, environ={}).config.node.region == "eu"


def test_what_libyaml_refuses_is_read_again() -> None:
    """An escape that only Python can hold is read, and an error names the character, as long as the file is short."""
    assert isinstance(read_text('node: {region: "\\ud800"}', environ={}).config, Config)
    root, problems = tree.compose("a:\n\t- b\n")
    assert root is None
    assert "found character '\\t' that cannot start any token" in problems[0].sentence
    long = "#" * tree.READ_TWICE + "\n"
    root, problems = tree.compose(long + "a:\n\t- b\n")
    assert root is None
    assert problems[0].line == 3


def test_a_text_that_is_too_long_is_refused() -> None:
    """A file far larger than a handwritten one is not parsed."""
    root, problems = tree.compose("#" * (tree.LONGEST_TEXT + 1))
    assert root is None
    assert "longer than" in problems[0].sentence


def test_load_gives_the_configuration_or_every_error(tmp_path: Path) -> None:
    """A usable file gives its Config; another file raises with each problem, its file and its line."""
    file = tmp_path / "edge.yaml"
    file.write_text("node: {region: eu, workers: 1}\n", encoding="utf-8")
    assert load(file).node.region == "eu"
    file.write_text("node: {regoin: eu}\nlimits: {body: big}\n", encoding="utf-8")
    with pytest.raises(ConfigInvalidError) as caught:
        load(file)
    assert caught.value.problems == (
        f"{file}:1: node.regoin: unknown key; did you mean region?",
        f"{file}:2: limits.body: 'big' is not a size; write a number and a unit, such as 64KiB, 32MiB or 1GB",
    )


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    """A missing file, a folder and binary data are reported without a traceback."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    said = [read(tmp_path / name).problems[0].text(name) for name in ("missing", ".", "binary")]
    assert said == [
        "missing: cannot be read: No such file or directory",
        ".: cannot be read: Is a directory",
        "binary: cannot be read: it is not UTF-8 text",
    ]


def test_certificates_are_tried_before_anything_listens(tmp_path: Path) -> None:
    """A certificate with its key is accepted; with another key it is refused, and the message names the files."""
    authority = trustme.CA()
    for name in ("one", "two"):
        issued = authority.issue_cert(f"{name}.example.com")
        issued.cert_chain_pems[0].write_to_path(tmp_path / f"{name}.pem")
        issued.private_key_pem.write_to_path(tmp_path / f"{name}.key")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    base = "providers: {p: {base_url: 'http://10.0.0.1/v1'}}\nmodels: {m: {targets: [p/m]}}\n"

    def said(tls: str) -> list[str]:
        listen = f"listen: [{{address: '0.0.0.0:8443', tls: {{{tls}}}}}]"
        return [problem.sentence for problem in check(read_text(base + listen, folder=tmp_path, environ={}), KNOWN)]

    assert said("cert: one.pem, key: one.key, client_ca: ca.pem") == []
    (mismatch,) = said("cert: one.pem, key: two.key, client_ca: ca.pem")
    assert mismatch.endswith("two.key do not belong together")
    (no_authority,) = said("cert: one.pem, key: one.key, client_ca: one.key")
    assert no_authority.endswith("one.key is not a PEM file of certificates")


def test_regions_that_know_each_other_by_certificate(tmp_path: Path) -> None:
    """With names and a listener that requires certificates, regions need no token but a client certificate."""
    authority = trustme.CA()
    issued = authority.issue_cert("eu-1.edge.internal")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "own.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    pair = "cert: own.pem, key: own.pem"

    def said(peers: str, client_ca: str = ", client_ca: ca.pem") -> list[str]:
        text = f"""
node: {{region: eu-west}}
providers: {{p: {{base_url: 'http://10.0.0.1/v1'}}}}
models: {{m: {{targets: [p/m]}}}}
listen: [{{address: '127.0.0.1:8443', tls: {{{pair}{client_ca}}}}}]
peers: {{allowed_names: ["*.edge.internal"], {peers}}}
"""
        problems = check(read_text(text, folder=tmp_path, environ={}), KNOWN)
        return [f"{spell(problem.path)} {problem.severity}" for problem in problems]

    called = f"nodes: [{{region: us-east, addresses: ['10.1.0.5:8443']}}], tls: {{ca: ca.pem, {pair}}}"
    assert said(called) == []
    assert said("") == [], "a region that is asked and asks nobody shows no certificate"
    assert said("nodes: [{region: us-east, addresses: ['10.1.0.5:8443']}]") == ["peers.tls error"]
    assert said(called, client_ca="") == ["peers.allowed_names error"]


def test_a_pool_is_at_most_64() -> None:
    """64 targets are accepted and 65 are refused, because the kernels keep the tried targets in 64 bits."""

    def refused(count: int) -> list[str]:
        targets = ", ".join(f"p/m{index}" for index in range(count))
        text = f"providers: {{p: {{base_url: 'http://10.0.0.1/v1'}}}}\nmodels: {{m: {{targets: [{targets}]}}}}"
        return [problem.sentence for problem in errors(check(read_text(text, environ={}), KNOWN))]

    assert refused(64) == []
    assert refused(65) == ["65 targets are too many; a pool has at most 64"]


def test_paths_are_spelt_so_that_one_finds_them() -> None:
    """In paths, names with dots are quoted, and indices are in brackets."""
    assert spell(("models", "gpt-4.1", "targets", 1, "tier")) == 'models."gpt-4.1".targets[1].tier'
    assert spell(("models", "team/fast")) == "models.team/fast"


def test_a_line_is_that_of_the_nearest_section_that_is_written() -> None:
    """A problem with a default has the line of the section that lacks the key."""
    document = Document(Config(), lines={("models",): 3, ("models", "m"): 4})
    assert document.line(("models", "m", "retry", "attempts")) == 4
    assert document.line(("models", "other")) == 3
    assert document.line(("limits", "body")) == 0


def test_a_hint_that_no_file_can_hold_is_refused() -> None:
    """A field type without a YAML form is refused when the schema is defined."""
    assert shape_of(int) == Scalar("integer")
    with pytest.raises(TypeError, match="cannot stand in a configuration"):
        shape_of(bytes)
