"""Translates Gemini's embeddings to OpenAI's, as ``embeddings`` does it the other way round.

Facts: https://ai.google.dev/api/embeddings (``embedContent`` takes one text, ``batchEmbedContents`` several under
``requests``). What the vectors are for (``taskType``, ``title``) has no word in OpenAI's API.
"""

from __future__ import annotations

from typing import Final, NoReturn

import msgspec
from msgspec import Raw, Struct

from edge.dialects.errors import CannotCarryError, UnreadableAnswerError, UnreadableRequestError
from edge.dialects.fields import count, hints
from edge.dialects.written import Written

NAME: Final = "embedContent"
"""What stands for the dialect of such a request."""


class Part(Struct, forbid_unknown_fields=True):
    """One part of a text; pictures and sound mean nothing to OpenAI's models."""

    text: str


class Content(Struct):
    """One text."""

    parts: list[Part]


class One(Struct, rename={"size": "outputDimensionality", "size2": "output_dimensionality"}):
    """One text to embed."""

    content: Content
    model: str = ""
    size: int | None = None
    size2: int | None = None


class Batch(Struct):
    """The body of ``batchEmbedContents``."""

    requests: list[Raw]


class Vector(Struct):
    """One embedding of OpenAI's."""

    embedding: list[float]
    index: int


class Usage(Struct):
    """What was billed."""

    prompt_tokens: int | None = None


class Answer(Struct):
    """OpenAI's answer."""

    data: list[Vector]
    usage: Usage | None = None


_ONE: Final = msgspec.json.Decoder(One)
_BATCH: Final = msgspec.json.Decoder(Batch)
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_ANSWER: Final = msgspec.json.Decoder(Answer)


class ContentEmbeddings:
    """One request for embeddings of Gemini's; native.proxy.hooks.Conversation."""

    def __init__(self, body: bytes) -> None:
        try:
            self._many = "requests" in _FIELDS.decode(body)
            bodies = [bytes(raw) for raw in _BATCH.decode(body).requests] if self._many else [body]
            asked = [_ONE.decode(one) for one in bodies]
        except (msgspec.DecodeError, RecursionError) as error:
            raise UnreadableRequestError(f"{error}; in another dialect what is embedded is text") from error
        self._texts = ["".join(part.text for part in one.content.parts) for one in asked]
        self._sizes = {one.size2 if one.size is None else one.size for one in asked}
        self._dropped = tuple(dict.fromkeys(name for one in bodies for name in hints(one, One, ())[0]))

    def body_for(self, dialect: str, model: str, strict: bool) -> Written:
        """Return the request for a target.

        Raises:
            CannotCarryError: the dialect has no embeddings, or one size for all of them; with ``strict``, a hint would
                be dropped.
        """
        if dialect not in {"openai", "responses"}:
            raise CannotCarryError("embeddings", dialect)
        if len(self._sizes) > 1:
            raise CannotCarryError("vectors of several sizes", dialect)
        if strict and self._dropped:
            raise CannotCarryError.of_fields(self._dropped, dialect)
        asked: dict[str, object] = {"model": model, "input": self._texts, "encoding_format": "float"}
        asked |= {"dimensions": size} if (size := next(iter(self._sizes), None)) is not None else {}
        return Written(b"/embeddings", msgspec.json.encode(asked), self._dropped)

    def answer(self, dialect: str, body: bytes, request_id: str) -> bytes:
        """Return a target's answer as Gemini's; raises UnreadableAnswerError where it is none."""
        del dialect, request_id
        try:
            said = _ANSWER.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UnreadableAnswerError(f"not an answer of embeddings: {error}") from error
        vectors = {one.index: {"values": one.embedding} for one in said.data}
        if sorted(vectors) != list(range(len(self._texts))) or len(said.data) != len(vectors):
            raise UnreadableAnswerError("other embeddings than of the texts")
        tokens = 0 if said.usage is None else count(said.usage.prompt_tokens)
        told = {"embeddings": [vectors[place] for place in range(len(vectors))]}
        usage = {"usageMetadata": {"promptTokenCount": tokens}}
        return msgspec.json.encode({**(told if self._many else {"embedding": vectors[0]}), **usage})

    def stream(self, dialect: str, request_id: str) -> NoReturn:
        """Raise UnreadableAnswerError: embeddings are never streamed."""
        raise UnreadableAnswerError(f"a stream of embeddings in the dialect {dialect}, for {request_id}")
