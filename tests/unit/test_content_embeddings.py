"""Gemini's embeddings in OpenAI's words, and back."""

from __future__ import annotations

import json

import pytest

from edge.dialects.content_embeddings import ContentEmbeddings
from edge.dialects.errors import CannotCarryError, UnreadableAnswerError, UnreadableRequestError

ONE = b'{"model":"models/m","content":{"parts":[{"text":"a"},{"text":"b"}]},"taskType":"RETRIEVAL_QUERY"}'
MANY = b'{"requests":[{"content":{"parts":[{"text":"a"}]}},{"content":{"parts":[{"text":"b"}]}}]}'
ANSWER = (
    b'{"data":[{"index":1,"embedding":[2]},{"index":0,"embedding":[1.5]}],"usage":{"prompt_tokens":4,"total_tokens":4}}'
)


def test_one_text_is_written_and_its_vector_comes_back() -> None:
    """The parts are one text; what the vector is for is dropped by name; ``strict`` refuses that."""
    asked = ContentEmbeddings(ONE)
    path, body, dropped = asked.body_for("openai", "up", strict=False)
    assert (path, dropped) == (b"/embeddings", ("taskType",))
    assert json.loads(body) == {"model": "up", "input": ["ab"], "encoding_format": "float"}
    with pytest.raises(CannotCarryError, match="taskType"):
        asked.body_for("openai", "up", strict=True)
    said = asked.answer("openai", b'{"data":[{"index":0,"embedding":[1.5]}]}', "id")
    assert json.loads(said) == {"embedding": {"values": [1.5]}, "usageMetadata": {"promptTokenCount": 0}}


def test_several_texts_keep_their_order() -> None:
    """Vectors come in the order of the texts, whatever order the target gives them in."""
    asked = ContentEmbeddings(MANY)
    assert json.loads(asked.body_for("responses", "up", strict=True).body)["input"] == ["a", "b"]
    assert json.loads(asked.answer("openai", ANSWER, "id")) == {
        "embeddings": [{"values": [1.5]}, {"values": [2.0]}],
        "usageMetadata": {"promptTokenCount": 4},
    }


@pytest.mark.parametrize("name", ["outputDimensionality", "output_dimensionality"])
def test_one_size_for_all_is_carried_and_several_are_not(name: str) -> None:
    """A size in either spelling; OpenAI has one for all texts."""
    one = {"content": {"parts": [{"text": "a"}]}}
    alike = ContentEmbeddings(json.dumps({"requests": [{**one, name: 7}, {**one, name: 7}]}).encode())
    assert json.loads(alike.body_for("openai", "up", strict=True).body)["dimensions"] == 7
    with pytest.raises(CannotCarryError, match="several sizes"):
        ContentEmbeddings(json.dumps({"requests": [one, {**one, name: 7}]}).encode()).body_for("openai", "up", False)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b'{"requests":[1]}',
        b'{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"AA=="}}]}}',
        b'{"content":{"parts":[{"text":"a","videoMetadata":{}}]}}',
    ],
)
def test_what_is_no_text_is_refused(body: bytes) -> None:
    """Pictures, and what edge does not know, mean nothing to OpenAI's models."""
    with pytest.raises(UnreadableRequestError):
        ContentEmbeddings(body)


def test_a_dialect_without_embeddings_cannot_carry_them() -> None:
    """Anthropic has none."""
    with pytest.raises(CannotCarryError, match="embeddings cannot be said in the dialect anthropic"):
        ContentEmbeddings(ONE).body_for("anthropic", "up", strict=False)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"data":[]}',
        b'{"data":[{"index":0,"embedding":[1]}]}',
        b'{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}',
        b'{"data":[{"index":0,"embedding":[1]},{"index":2,"embedding":[1]}]}',
        b'{"data":[{"index":0,"embedding":"AAAA"},{"index":1,"embedding":"AAAA"}]}',
    ],
)
def test_an_answer_with_other_vectors_is_none(body: bytes) -> None:
    """Each text has exactly one vector, as numbers."""
    with pytest.raises(UnreadableAnswerError):
        ContentEmbeddings(MANY).answer("openai", body, "id")
