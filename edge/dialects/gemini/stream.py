"""Reads and writes the event streams of streamGenerateContent with ``alt=sse``.

Facts: each event is a whole GenerateContentResponse with what is new in it. The usage is cumulative. Nothing stands for
``[DONE]``: the stream is complete with a finishReason. A call of a function comes whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from edge.dialects import signatures
from edge.dialects.errors import UnreadableAnswerError
from edge.dialects.gemini import schema
from edge.dialects.gemini.errors import error_of, write_error
from edge.dialects.gemini.read import DIALECT, UNFINISHED, finish_of, read_part, read_usage
from edge.dialects.gemini.write import FINISHES, call_part, write_usage
from edge.dialects.json_text import is_object
from edge.terms import chat

if TYPE_CHECKING:
    from collections.abc import Sequence

_ANSWER: Final = msgspec.json.Decoder(schema.Answer)
_encode: Final = msgspec.json.Encoder().encode


class Reader:
    """Reads one stream."""

    def __init__(self, identifier: str) -> None:
        self._identifier = identifier
        self._begun = False
        self._calls: dict[int, int] = {}  # number of calls by choice

    def read(self, data: bytes, name: bytes = b"") -> list[chat.Delta]:
        """Return what the data of one event says; the event's ``name`` is not used in this dialect.

        Raises:
            UnreadableAnswerError: it is no chunk.
        """
        try:
            chunk = _ANSWER.decode(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UnreadableAnswerError(f"an event that is none of generateContent: {error}") from error
        if chunk.error is not None or name == b"error":
            return [chat.Failure(error_of(500, data))]
        deltas: list[chat.Delta] = []
        if not self._begun:
            self._begun = True
            usage = read_usage(chunk.usage_metadata)
            deltas.append(chat.Start(chunk.response_id or self._identifier, chunk.model_version or "", 0, usage))
        if chunk.usage_metadata is not None:
            deltas.append(chat.UsageDelta(read_usage(chunk.usage_metadata)))
        for place, candidate in enumerate(chunk.candidates or ()):
            index = place if candidate.index is None else candidate.index
            if candidate.content is not None:
                for part in candidate.content.parts or ():
                    self._read_part(part, index, deltas)
            if candidate.finish_reason:
                deltas.append(self._finish(candidate.finish_reason, index))
        if chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason and not chunk.candidates:
            deltas.append(chat.FinishDelta(0, "content_filter"))
        return deltas

    def _finish(self, word: str, index: int) -> chat.Delta:
        if word in UNFINISHED:
            return chat.Failure(chat.Error("internal", f"The model stopped: {word}."))
        return chat.FinishDelta(index, finish_of(word, index in self._calls))

    def _read_part(self, part: schema.Part, choice: int, deltas: list[chat.Delta]) -> None:
        number = self._calls.get(choice, 0)
        for read in read_part(part, f"call_{self._identifier}_{choice}_{number}"):
            if isinstance(read, chat.Reasoning):
                if read.text:
                    deltas.append(chat.ReasoningDelta(choice, read.text))
                if read.signature:
                    deltas.append(chat.SignatureDelta(choice, read.signature, read.issuer))
            elif isinstance(read, chat.ToolCall):
                self._calls[choice] = number + 1
                deltas.append(chat.ToolStart(choice, number, read.id, read.name))
                deltas.append(chat.ToolDelta(choice, number, read.arguments))
            elif isinstance(read, chat.Text):
                deltas.append(chat.TextDelta(choice, read.text))

    def end(self) -> list[chat.Delta]:
        """Return what the end of the stream says: it is complete."""
        return [chat.End()]


class Writer:
    """Writes one stream. Calls are held until their arguments are complete, and finishReason until the usage is."""

    def __init__(self, request: chat.Request, identifier: str, now: float) -> None:
        del now
        self._head: dict[str, Any] = {"modelVersion": request.model, "responseId": identifier}
        self._tail = b""
        self._calls: dict[tuple[int, int], tuple[chat.ToolStart, list[str]]] = {}
        self._signatures: dict[int, str] = {}
        self._finishes: dict[int, chat.FinishDelta] = {}
        self._usage = chat.Usage()
        self._ended = False
        self._set_tail()

    def _set_tail(self) -> None:
        self._tail = b"," + _encode(self._head)[1:] + b"\n\n"

    def write(self, deltas: Sequence[chat.Delta]) -> bytes:
        """Return the events for what was said."""
        return b"".join([self._write(delta) for delta in deltas])

    def _write(self, delta: chat.Delta) -> bytes:
        if isinstance(delta, chat.TextDelta | chat.RefusalDelta):
            said = self._flush(complete_only=True) if self._calls else b""
            if self._signatures:
                return said + self._part(delta.choice, self._signed(delta.choice, {"text": delta.text}))
            return said + self._event(delta.choice, b'{"text":%b}' % _encode(delta.text))
        if isinstance(delta, chat.ToolDelta):
            self._calls[delta.choice, delta.index][1].append(delta.arguments)
            return b""
        if isinstance(delta, chat.ReasoningDelta):
            return self._event(delta.choice, b'{"text":%b,"thought":true}' % _encode(delta.text))
        if isinstance(delta, chat.ToolStart | chat.SignatureDelta):
            said = self._flush(complete_only=True) if self._calls else b""
            if isinstance(delta, chat.ToolStart):
                self._calls[delta.choice, delta.index] = (delta, [])
            else:
                self._signatures[delta.choice] = signatures.seal(
                    delta.signature, delta.issuer, DIALECT, redacted=delta.redacted
                )
            return said
        return self._write_rare(delta)

    def _write_rare(self, delta: chat.Delta) -> bytes:
        if isinstance(delta, chat.Start):
            self._usage = delta.usage
            self._head = {
                "modelVersion": delta.model or self._head["modelVersion"],
                "responseId": delta.id or self._head["responseId"],
            }
            self._set_tail()
        elif isinstance(delta, chat.FinishDelta):
            self._finishes[delta.choice] = delta
        elif isinstance(delta, chat.UsageDelta):
            self._usage = delta.usage
        elif isinstance(delta, chat.Failure):
            return self.fail(delta.error)
        elif isinstance(delta, chat.End):
            return self.finish()
        return b""

    def _signed(self, choice: int, part: dict[str, Any]) -> dict[str, Any]:
        signature = self._signatures.pop(choice, "")
        if signature:
            part["thoughtSignature"] = signature
        return part

    def _part(self, choice: int, part: dict[str, Any]) -> bytes:
        return self._event(choice, _encode(part))

    def _event(self, choice: int, part: bytes) -> bytes:
        return b'data: {"candidates":[{"content":{"parts":[%b],"role":"model"},"index":%d}]%b' % (
            part,
            choice,
            self._tail,
        )

    def _flush(self, *, complete_only: bool) -> bytes:
        said: list[bytes] = []
        for place, (start, pieces) in list(self._calls.items()):
            arguments = "".join(pieces)
            if complete_only and not is_object(arguments):
                continue
            del self._calls[place]
            part = call_part(chat.ToolCall(start.id, start.name, arguments))
            said.append(self._part(start.choice, self._signed(start.choice, part)))
        return b"".join(said)

    def finish(self) -> bytes:
        """Return the last events, once."""
        if self._ended:
            return b""
        self._ended = True
        said = self._flush(complete_only=False)
        candidates = []
        for choice, finish in sorted((self._finishes or {0: chat.FinishDelta(0, "stop")}).items()):
            parts = [self._signed(choice, {"text": ""})]
            candidates.append(
                {
                    "content": {"parts": parts, "role": "model"},
                    "finishReason": FINISHES[finish.finish],
                    "index": choice,
                }
            )
        body = {"candidates": candidates, "usageMetadata": write_usage(self._usage), **self._head}
        return said + b"data: " + _encode(body) + b"\n\n"

    def fail(self, error: chat.Error) -> bytes:
        """Return the event that ends a stream which cannot be completed."""
        self._ended = True
        return b"data: " + write_error(0, error, "")[1] + b"\n\n"
