"""The text that a custom tool takes survives its way through a function's arguments, however they are cut."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from edge.dialects import custom_tools

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(text=TEXTS, ascii_only=st.booleans(), cuts=st.lists(st.integers(1, 9), max_size=40))
def test_a_streamed_text_is_the_text(text: str, ascii_only: bool, cuts: list[int]) -> None:
    """Pieces of the arguments, cut within escapes and pairs of surrogates too, add up to the text."""
    arguments = json.dumps({"input": text}, ensure_ascii=ascii_only)
    reader = custom_tools.TextReader()
    said = ""
    for cut in cuts:
        said += reader.push(arguments[:cut])
        arguments = arguments[cut:]
    assert said + reader.push(arguments) + reader.finish() == text


@given(text=TEXTS)
def test_a_whole_text_is_the_text(text: str) -> None:
    """The arguments that stand for a text are read as that text."""
    assert custom_tools.text_of(custom_tools.arguments_of(text)) == text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"patch": "a"}', "a"),
        ('"a"', "a"),
        ("*** Begin Patch", "*** Begin Patch"),
        ('{"a": 1, "input": "b"}', "b"),
        ('{"a": 1}', '{"a": 1}'),
        ("{}", ""),
        ("", ""),
        ('{"input": "a\nb"}', "a\nb"),
    ],
)
def test_what_a_model_writes_instead_is_understood(arguments: str, text: str) -> None:
    """Other names, bare text and line breaks that are not escaped are taken for what was meant."""
    reader = custom_tools.TextReader()
    assert "".join(map(reader.push, arguments)) + reader.finish() == text


def test_a_text_comes_while_it_is_written() -> None:
    """What has come of the text is told at once."""
    reader = custom_tools.TextReader()
    assert [reader.push(piece) for piece in ('{"input":', '"ab', "cd\\", 'n"', "}")] == ["", "ab", "cd", "\n", ""]


def test_the_grammar_stands_in_the_description() -> None:
    """A model that cannot be bound to the grammar can read it."""
    tool = custom_tools.tool("p", "Edits", Raw(b'{"type":"grammar","syntax":"lark","definition":"start: A"}'))
    assert custom_tools.has_grammar(tool)
    assert b"(lark):\\nstart: A" in bytes(tool.parameters or b"")
    assert not custom_tools.has_grammar(custom_tools.tool("p", "", None))


def test_a_long_text_under_another_name_costs_what_its_length_is() -> None:
    """A call that is read when it is whole takes each fragment in constant time."""

    def seconds(count: int) -> float:
        reader = custom_tools.TextReader()
        reader.push('{"patch":"')
        began = time.process_time()
        for _ in range(count):
            reader.push("abcd")
        reader.push('"}')
        assert reader.finish() == "abcd" * count
        return time.process_time() - began

    few = min(seconds(25_000) for _ in range(3))
    assert seconds(200_000) < 40 * max(few, 0.01)
