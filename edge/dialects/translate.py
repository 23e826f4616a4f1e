"""Translates one exchange: the client's request for each target, and the target's answer for the client.

The data path calls it where a target speaks another dialect than the client (``native.proxy.hooks.Translations``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from edge import clock
from edge.dialects import content_embeddings
from edge.dialects.completions import CompletionContinuation
from edge.dialects.content_embeddings import ContentEmbeddings
from edge.dialects.continuation import Continuation
from edge.dialects.embeddings import Embeddings
from edge.dialects.errors import CannotCarryError, UnreadableAnswerError
from edge.dialects.events import EventSplitter, EventTooLargeError
from edge.dialects.known import DIALECTS, OPENAI
from edge.dialects.tool_names import Renaming, answered, portable

if TYPE_CHECKING:
    from edge.dialects.continuation import ShownAnswer
    from edge.dialects.known import Dialect, StreamReader, StreamWriter
    from edge.dialects.written import Written
    from edge.terms import chat


# The fields of OpenAI's error object.
_SHAPE: Final = frozenset(("message", "type", "param", "code"))


class Conversation:
    """One request of a client, read once. It is never changed, however many targets it is written for."""

    def __init__(self, client: Dialect, request: chat.Request) -> None:
        self._client = client
        self._request = request
        self._portable, self._names = portable(request)
        self._written: dict[tuple[str, str], Written] = {}

    @property
    def request(self) -> chat.Request:
        """What is asked."""
        return self._request

    def body_for(self, dialect: str, model: str, strict: bool) -> Written:
        """Return the request for a target's dialect and model, made once for each.

        Raises:
            CannotCarryError: the dialect cannot say it; with ``strict``, not even hints are dropped.
        """
        written = self._written.get((dialect, model))
        if written is None:
            written = DIALECTS[dialect].write_request(self._portable, model)
            self._written[dialect, model] = written
        if strict and written.dropped:
            raise CannotCarryError.of_fields(written.dropped, dialect)
        return written

    def answer(self, dialect: str, body: bytes, request_id: str) -> bytes:
        """Return a target's whole answer in the client's dialect.

        Raises:
            UnreadableAnswerError: it is not an answer in the target's dialect.
        """
        answer = DIALECTS[dialect].read_answer(body, request_id)
        if self._names:
            answer = answered(answer, self._names)
        return self._client.write_answer(answer, self._request, clock.wall())

    def stream(self, dialect: str, request_id: str) -> StreamTranslation:
        """Return the translator of a target's event stream."""
        reader: StreamReader = DIALECTS[dialect].reader(request_id)
        if self._names:
            reader = Renaming(reader, self._names)
        return StreamTranslation(reader, self._client, self._request, request_id)


class StreamTranslation:
    """Translates one event stream."""

    def __init__(self, reader: StreamReader, client: Dialect, request: chat.Request, request_id: str) -> None:
        self._splitter = EventSplitter()
        self._reader = reader
        self._writer = client.writer(request, request_id, clock.wall())

    @property
    def writer(self) -> StreamWriter:
        """What writes the client's events. It knows all that the client was sent."""
        return self._writer

    def push_events(self, data: bytes) -> list[bytes]:
        """Return the client's events for the target's; the stream may be cut at any byte.

        Raises:
            UnreadableAnswerError: an event is none of the target's dialect, or cannot be said in the client's.
        """
        try:
            events = self._splitter.push(data)
        except EventTooLargeError as error:
            raise UnreadableAnswerError(str(error)) from error
        said = [self._writer.write(self._reader.read(text, name)) for name, text in events]
        return [piece for piece in said if piece]

    def finish(self) -> bytes:
        """Return the events that complete the client's stream, once the target's is complete."""
        return self._writer.write(self._reader.end()) + self._writer.finish()


def read(dialect: str, body: bytes, model: str, stream: bool) -> Conversation | Embeddings | ContentEmbeddings:
    """Read a client's request; ``dialect`` may also be ``embeddings``, OpenAI's, or ``embedContent``, Gemini's.

    Raises:
        UnreadableRequestError: it is no request of this dialect.
    """
    if dialect == content_embeddings.NAME:
        return ContentEmbeddings(body)
    return Embeddings(body, model) if dialect == "embeddings" else conversation(dialect, body, model, stream)


def conversation(dialect: str, body: bytes, model: str, stream: bool) -> Conversation:
    """Read a client's request of a chat; raises as :func:`read` does."""
    client = DIALECTS[dialect]
    return Conversation(client, client.read_request(body, model, stream))


def resume(shown: ShownAnswer, translation: StreamTranslation | None) -> Continuation:
    """Return what goes on with an answer that broke off; ``translation`` has translated it so far.

    Raises:
        CannotResumeError: it is not one that another target can go on with.
    """
    if shown.client == "completions":
        return CompletionContinuation(shown)
    request = conversation(shown.client, shown.body, shown.model, True).request
    return Continuation(shown, request, None if translation is None else translation.writer)


def error(target: str, client: str, status: int, body: bytes, request_id: str) -> bytes:
    """Return the body of a target's error in the client's dialect."""
    said = DIALECTS[target].read_error(status, body)
    known = "gemini" if client == content_embeddings.NAME else client
    return DIALECTS.get(known, OPENAI).write_error(status, said, request_id)[1]


def own_error(client: str, status: int, body: bytes, request_id: str) -> bytes:
    """Return an error body of edge's own, which has OpenAI's shape, in the client's dialect.

    What edge tells beyond the shape (``tried``, ``targets``) stays, under ``edge``.
    """
    said = msgspec.json.decode(body)
    written: dict[str, Any] = msgspec.json.decode(
        DIALECTS[client].write_error(status, DIALECTS["openai"].read_error(status, body), request_id)[1]
    )
    inner = written["error"]
    inner |= {name: value for name, value in said["error"].items() if name not in _SHAPE and name not in inner}
    return msgspec.json.encode(written)


def own_event(client: str, event: bytes) -> bytes:
    """Return an error event of edge's own, ``data: `` with OpenAI's shape, in the client's dialect.

    An error event of responses gets the member ``error`` beside its own: by it official SDKs raise, where they would
    hand out an event that an application may pass over, and take a part for the whole.
    """
    body = event.removeprefix(b"data: ").strip()
    if client == "responses":
        said = msgspec.json.decode(body)["error"]
        told = {"type": "error", "code": said["code"], "message": said["message"], "param": None}
        told |= {"sequence_number": 0, "error": said}
        return b"event: error\ndata: " + msgspec.json.encode(told) + b"\n\n"
    front = b"event: error\ndata: " if client == "anthropic" else b"data: "
    return front + own_error(client, 502, body, "") + b"\n\n"
