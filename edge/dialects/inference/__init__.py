"""Translator between edge's gRPC API and the JSON of OpenAI's chat completions.

These are pure functions between the messages of protos/edge/v1/inference.proto and JSON. The data path calls them
through ``edge.listen.calls``:

    read(message, stream)     translates a ChatRequest into the JSON body of POST /v1/chat/completions
    write(body, facts)        translates the JSON of a complete response into a ChatResponse
    writer(facts)             returns a ChunkWriter, which translates an event stream into ChatChunks

JSON fields that the messages have no field for are kept in ``extra``. The JSON follows OpenAI's API reference and the
additions of DeepSeek, Gemini and vLLM.
"""

from __future__ import annotations

from edge.dialects.inference.errors import AnswerUnreadableError, RequestUnreadableError
from edge.dialects.inference.read import read
from edge.dialects.inference.stream import writer
from edge.dialects.inference.write import write

__all__ = ["AnswerUnreadableError", "RequestUnreadableError", "read", "write", "writer"]
