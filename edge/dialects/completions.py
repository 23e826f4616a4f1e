"""Goes on with a stream of the older text completions that broke off: the prompt of the rest ends with what was shown.

Facts: https://platform.openai.com/docs/api-reference/completions. A completion continues its prompt, so that every
target can go on. Completions are not translated: only targets of OpenAI's dialect have them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from edge.dialects.continuation import Continuation
from edge.dialects.errors import CannotCarryError, CannotResumeError, UnreadableAnswerError
from edge.dialects.events import EventSplitter
from edge.dialects.openai import schema  # noqa: TC001 - msgspec reads the annotations
from edge.dialects.openai.errors import error_of, write_error
from edge.dialects.openai.read import UNFINISHED, read_usage
from edge.dialects.openai.write import write_usage
from edge.dialects.seam import Seam
from edge.dialects.written import Written
from edge.terms import chat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.dialects.continuation import ShownAnswer

_PATH: Final = b"/completions"
# What the client reads in a stream that a part of another one would not have, or what makes the answer no continuation.
_APART: Final[dict[str, Any]] = {"suffix": "", "echo": False, "logprobs": None, "best_of": 1}
_FINISHES: Final[dict[str, chat.Finish]] = {"length": "length", "content_filter": "content_filter"}
_encode: Final = msgspec.json.Encoder().encode


class _Choice(Struct):
    index: int | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Chunk(Struct):
    id: str | None = None
    created: float | None = None
    model: str | None = None
    choices: list[_Choice] | None = None
    usage: schema.Usage | None = None
    error: Any = None


_CHUNK: Final = msgspec.json.Decoder(_Chunk)


class Reader:
    """Reads one stream."""

    def read(self, data: bytes, name: bytes = b"") -> list[chat.Delta]:
        """Return what the data of one event says.

        Raises:
            UnreadableAnswerError: it is no chunk.
        """
        if data == b"[DONE]":
            return [chat.End()]
        try:
            chunk = _CHUNK.decode(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UnreadableAnswerError(f"an event that is no chunk of a completion: {error}") from error
        if chunk.error is not None or name == b"error":
            return [chat.Failure(error_of(500, data))]
        deltas: list[chat.Delta] = []
        for choice in chunk.choices or ():
            if choice.text:
                deltas.append(chat.TextDelta(0, choice.text))
            if choice.finish_reason in UNFINISHED:
                return [chat.Failure(chat.Error("overloaded", f"The provider stopped: {choice.finish_reason}."))]
            if choice.finish_reason:
                deltas.append(chat.FinishDelta(0, _FINISHES.get(choice.finish_reason, "stop")))
        if chunk.usage is not None:
            deltas.append(chat.UsageDelta(read_usage(chunk.usage)))
        return deltas

    def end(self) -> list[chat.Delta]:
        """Return what the end of the stream says: nothing that ``[DONE]`` has not said."""
        return []


class Writer:
    """Writes the rest of one stream, under the id that the client has."""

    def __init__(self, head: dict[str, Any], *, include_usage: bool) -> None:
        self._head = head
        self._include_usage = include_usage
        self._usage = chat.Usage()
        self._ended = False

    def write(self, deltas: Sequence[chat.Delta]) -> bytes:
        """Return the events for what was said."""
        return b"".join([self._write(delta) for delta in deltas])

    def _write(self, delta: chat.Delta) -> bytes:
        if isinstance(delta, chat.TextDelta):
            return self._chunk(delta.text, None)
        if isinstance(delta, chat.FinishDelta):
            return self._chunk("", delta.finish)
        if isinstance(delta, chat.UsageDelta):
            self._usage = delta.usage
        elif isinstance(delta, chat.Failure):
            return self.fail(delta.error)
        elif isinstance(delta, chat.End):
            return self.finish()
        return b""

    def _chunk(self, text: str, finish: str | None) -> bytes:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self._include_usage else {}
        return b"data: " + _encode({**self._head, "choices": [choice], **usage}) + b"\n\n"

    def finish(self) -> bytes:
        """Return the last events, once."""
        if self._ended:
            return b""
        self._ended = True
        if not self._include_usage:
            return b"data: [DONE]\n\n"
        last = {**self._head, "choices": [], "usage": write_usage(self._usage)}
        return b"data: " + _encode(last) + b"\n\ndata: [DONE]\n\n"

    def fail(self, error: chat.Error) -> bytes:
        """Return the event that ends a stream which cannot be completed; ``[DONE]`` does not follow."""
        self._ended = True
        return b"data: " + write_error(500, error, "")[1] + b"\n\n"


class CompletionContinuation(Continuation):
    """One completion of which a part was shown.

    Raises:
        CannotResumeError: nobody can go on with it.
    """

    def __init__(self, shown: ShownAnswer) -> None:
        asked: dict[str, Any] = msgspec.json.decode(shown.body)
        apart = [name for name, usual in _APART.items() if asked.get(name) not in (None, usual)]
        if apart or not isinstance(asked.get("prompt"), str):
            raise CannotResumeError(f"a completion with {apart[0] if apart else 'several prompts'} cannot be continued")
        self._asked = asked
        self._shown = msgspec.json.decode(b'"' + shown.text + b'"')
        options = asked.get("stream_options")
        wants_usage = isinstance(options, dict) and options.get("include_usage") is True
        writer = Writer(_head_of(shown.opening), include_usage=wants_usage)
        self._expect(shown, writer, Reader())

    def body_for(self, dialect: str, model: str, way: str, strict: bool, ask_usage: bool) -> Written:
        """Return path, body and dropped hints for a target: the client's body, whose prompt ends with what was shown.

        Raises:
            CannotCarryError: the target's dialect has no completions.
        """
        del way, strict
        if dialect not in {"openai", "responses"}:
            raise CannotCarryError("completions", dialect)
        body = {**self._asked, "model": model, "prompt": self._asked["prompt"] + self._text()}
        if ask_usage:
            body["stream_options"] = {"include_usage": True}
        return Written(_PATH, _encode(body), ())

    def begin(self, dialect: str, way: str) -> None:
        """Expect the stream of a target that was sent :meth:`body_for`."""
        del dialect, way
        self._usage = None
        self._reader = Reader()
        self._splitter = EventSplitter()
        text = self._text()
        self._seam = Seam(text, len(text), turn=False)


def _head_of(opening: bytes) -> dict[str, Any]:
    """Return what all chunks of a stream say of it."""
    for _, data in EventSplitter().push(opening):
        chunk: Any = msgspec.json.decode(data) if data.startswith(b"{") else {}
        if chunk.get("id"):
            return {name: chunk[name] for name in ("id", "object", "created", "model") if name in chunk}
    raise CannotResumeError("the completion did not say what it is")
