"""How does edge's own gRPC language become a model's JSON, and the answer become ours?

Pure functions between the messages of protos/edge/v1/inference.proto and the JSON of chat completions, called by the
data path through ``edge.listen.calls``:

    read(message, stream)     a ChatRequest -> the JSON body of POST /v1/chat/completions
    write(body, facts)        the JSON of a whole answer -> a ChatResponse
    writer(facts)             what makes ChatChunks of an event stream

What JSON has and the messages do not is kept in their ``extra``. Source of the JSON: OpenAI's API reference, and what
DeepSeek, Gemini and vLLM add to it.
"""

from __future__ import annotations

from edge.dialects.inference.errors import AnswerUnreadableError, RequestUnreadableError
from edge.dialects.inference.read import read
from edge.dialects.inference.stream import writer
from edge.dialects.inference.write import write

__all__ = ["AnswerUnreadableError", "RequestUnreadableError", "read", "write", "writer"]
