"""Holds the dialects that edge translates between, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from edge.dialects.anthropic import errors as anthropic_errors
from edge.dialects.anthropic import read as anthropic_read
from edge.dialects.anthropic import stream as anthropic_stream
from edge.dialects.anthropic import write as anthropic_write
from edge.dialects.gemini import errors as gemini_errors
from edge.dialects.gemini import read as gemini_read
from edge.dialects.gemini import stream as gemini_stream
from edge.dialects.gemini import write as gemini_write
from edge.dialects.openai import errors as openai_errors
from edge.dialects.openai import read as openai_read
from edge.dialects.openai import stream as openai_stream
from edge.dialects.openai import write as openai_write
from edge.dialects.responses import read as responses_read
from edge.dialects.responses import stream as responses_stream
from edge.dialects.responses import write as responses_write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.dialects.written import Written
    from edge.terms import chat


class StreamReader(Protocol):
    """Reads one stream of a provider."""

    def read(self, data: bytes, name: bytes = b"") -> list[chat.Delta]:
        """Return what one event says: its data without framing, and its name."""
        ...

    def end(self) -> list[chat.Delta]:
        """Return what it says that the stream has ended as it should."""
        ...


class StreamWriter(Protocol):
    """Writes one stream to a client."""

    def write(self, deltas: Sequence[chat.Delta], /) -> bytes:
        """Return whole events for what was said; b"" = nothing yet."""
        ...

    def finish(self) -> bytes:
        """Return the events that complete the stream, once."""
        ...

    def fail(self, error: chat.Error, /) -> bytes:
        """Return the events that end a stream which stays incomplete."""
        ...


class Dialect(NamedTuple):
    """One JSON API. ``read_request`` takes body, model and whether it streams: Gemini's body says neither."""

    name: chat.DialectName
    read_request: Callable[[bytes, str, bool], chat.Request]
    write_request: Callable[[chat.Request, str], Written]
    read_answer: Callable[[bytes, str], chat.Answer]
    write_answer: Callable[[chat.Answer, chat.Request, float], bytes]
    reader: Callable[[str], StreamReader]
    writer: Callable[[chat.Request, str, float], StreamWriter]
    read_error: Callable[[int, bytes], chat.Error]
    write_error: Callable[[int, chat.Error, str], tuple[int, bytes]]


OPENAI: Final = Dialect(
    "openai",
    lambda body, _model, _stream: openai_read.read_request(body),
    openai_write.write_request,
    openai_read.read_answer,
    openai_write.write_answer,
    openai_stream.Reader,
    openai_stream.Writer,
    openai_errors.error_of,
    openai_errors.write_error,
)
RESPONSES: Final = Dialect(
    "responses",
    lambda body, _model, _stream: responses_read.read_request(body),
    responses_write.write_request,
    responses_read.read_answer,
    responses_write.write_answer,
    responses_stream.Reader,
    responses_stream.Writer,
    openai_errors.error_of,
    openai_errors.write_error,
)
ANTHROPIC: Final = Dialect(
    "anthropic",
    lambda body, _model, _stream: anthropic_read.read_request(body),
    anthropic_write.write_request,
    anthropic_read.read_answer,
    anthropic_write.write_answer,
    anthropic_stream.Reader,
    anthropic_stream.Writer,
    anthropic_errors.error_of,
    anthropic_errors.write_error,
)
GEMINI: Final = Dialect(
    "gemini",
    gemini_read.read_request,
    gemini_write.write_request,
    gemini_read.read_answer,
    gemini_write.write_answer,
    gemini_stream.Reader,
    gemini_stream.Writer,
    gemini_errors.error_of,
    gemini_errors.write_error,
)

DIALECTS: Final[dict[str, Dialect]] = {one.name: one for one in (OPENAI, RESPONSES, ANTHROPIC, GEMINI)}
"""Each dialect by the name that edge.yaml uses."""
