"""Translates OpenAI's embeddings to Gemini's: vectors of one model are the same in each API's words.

Facts: https://ai.google.dev/api/embeddings (``POST /models/MODEL:batchEmbedContents``). OpenAI's SDK asks for base64 by
default, which is little-endian float32.
"""

from __future__ import annotations

import base64
import struct
from typing import Any, Final, NoReturn
from urllib.parse import quote

import msgspec
from msgspec import Struct

from edge.dialects.errors import CannotCarryError, UnreadableAnswerError, UnreadableRequestError
from edge.dialects.fields import count, hints
from edge.dialects.gemini.schema import Usage  # noqa: TC001 - msgspec reads the annotation
from edge.dialects.written import Written


class Request(Struct):
    """The body of ``POST /v1/embeddings``; tokens in place of text mean something to OpenAI alone."""

    input: str | list[str]
    model: str = ""
    encoding_format: str | None = None
    dimensions: int | None = None


class Vector(Struct):
    """One embedding of Gemini."""

    values: list[float]


class Answer(Struct, rename="camel"):
    """The answer of batchEmbedContents."""

    embeddings: list[Vector]
    usage_metadata: Usage | None = None


_REQUEST: Final = msgspec.json.Decoder(Request)
_ANSWER: Final = msgspec.json.Decoder(Answer)


class Embeddings:
    """One request for embeddings; native.proxy.hooks.Conversation."""

    def __init__(self, body: bytes, model: str) -> None:
        try:
            self._asked = _REQUEST.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UnreadableRequestError(f"{error}; in another dialect the input is text") from error
        self._texts = [self._asked.input] if isinstance(self._asked.input, str) else self._asked.input
        self._model = model
        self._dropped = hints(body, Request, ())[0]

    def body_for(self, dialect: str, model: str, strict: bool) -> Written:
        """Return the request for a target.

        Raises:
            CannotCarryError: the dialect has no embeddings; with ``strict``, a hint would be dropped.
        """
        if dialect != "gemini":
            raise CannotCarryError("embeddings", dialect)
        if strict and self._dropped:
            raise CannotCarryError.of_fields(self._dropped, dialect)
        size = {} if self._asked.dimensions is None else {"outputDimensionality": self._asked.dimensions}
        asked = [{"model": f"models/{model}", "content": {"parts": [{"text": text}]}, **size} for text in self._texts]
        path = b"/models/" + quote(model, safe="").encode() + b":batchEmbedContents"
        return Written(path, msgspec.json.encode({"requests": asked}), self._dropped)

    def answer(self, dialect: str, body: bytes, request_id: str) -> bytes:
        """Return a target's answer as OpenAI's; raises UnreadableAnswerError where it is none."""
        del dialect, request_id
        try:
            said = _ANSWER.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UnreadableAnswerError(f"not an answer of batchEmbedContents: {error}") from error
        if len(said.embeddings) != len(self._texts):
            raise UnreadableAnswerError("another number of embeddings than of texts")
        tokens = 0 if said.usage_metadata is None else count(said.usage_metadata.prompt_token_count)
        data = [
            {"object": "embedding", "index": place, "embedding": self._vector(one.values)}
            for place, one in enumerate(said.embeddings)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return msgspec.json.encode({"object": "list", "data": data, "model": self._model, "usage": usage})

    def _vector(self, values: list[float]) -> Any:
        if self._asked.encoding_format != "base64":
            return values
        return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()

    def stream(self, dialect: str, request_id: str) -> NoReturn:
        """Raise UnreadableAnswerError: embeddings are never streamed."""
        raise UnreadableAnswerError(f"a stream of embeddings in the dialect {dialect}, for {request_id}")
