"""Reads and writes the event streams of messages.

Facts: ``message_start`` (usage of the input), then each block as ``content_block_start``, ``content_block_delta`` and
``content_block_stop``, then ``message_delta`` (stop_reason, cumulative usage) and ``message_stop``. Blocks follow each
other and never interleave. ``ping`` may come anywhere, ``error`` after 200 too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from edge.dialects import signatures
from edge.dialects.anthropic import schema
from edge.dialects.anthropic.errors import error_of, write_error
from edge.dialects.anthropic.read import DIALECT, FINISHES, read_usage
from edge.dialects.anthropic.write import FINISHES as WORDS
from edge.dialects.anthropic.write import write_usage
from edge.dialects.errors import UnreadableAnswerError
from edge.dialects.json_text import as_text, is_object
from edge.terms import chat

if TYPE_CHECKING:
    from collections.abc import Sequence

_EVENT: Final = msgspec.json.Decoder(schema.Event)
_encode: Final = msgspec.json.Encoder().encode


class Reader:
    """Reads one stream."""

    def __init__(self, identifier: str) -> None:
        self._identifier = identifier
        self._calls: dict[int, int] = {}  # index among the calls by index of the block
        self._usage = schema.Usage()

    def read(self, data: bytes, name: bytes = b"") -> list[chat.Delta]:
        """Return what the data of one event says.

        Raises:
            UnreadableAnswerError: it is no event of a message.
        """
        try:
            event = _EVENT.decode(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UnreadableAnswerError(f"an event that is none of a message: {error}") from error
        kind = event.type
        if kind == "content_block_delta" and event.delta is not None:
            return self._read_delta(event.delta, event.index)
        if kind == "content_block_start" and event.content_block is not None:
            return self._read_block(event.content_block, event.index)
        return self._read_rare(event, data, name)

    def _read_rare(self, event: schema.Event, data: bytes, name: bytes) -> list[chat.Delta]:
        kind = event.type
        if kind == "message_start" and event.message is not None:
            if event.message.usage is not None:
                self._usage = event.message.usage
            return [
                chat.Start(
                    event.message.id or f"msg_{self._identifier}", event.message.model, 0, read_usage(self._usage)
                )
            ]
        if kind == "message_delta":
            return self._read_end(event)
        if kind == "message_stop":
            return [chat.End()]
        if kind == "error" or name == b"error":
            return [chat.Failure(error_of(500, data))]
        return []  # ping, content_block_stop, and what is added later

    def _read_block(self, block: schema.Block, index: int) -> list[chat.Delta]:
        if block.type == "tool_use":
            call = len(self._calls)
            self._calls[index] = call
            deltas: list[chat.Delta] = [
                chat.ToolStart(0, call, block.id or f"toolu_{self._identifier}_{call}", block.name or "")
            ]
            arguments = as_text(block.input)
            if arguments != "{}":
                deltas.append(chat.ToolDelta(0, call, arguments))
            return deltas
        if block.type == "redacted_thinking" and block.data:
            signature, issuer = signatures.unseal(block.data, DIALECT)
            return [chat.SignatureDelta(0, signature, issuer, redacted=True)]
        if block.type == "text" and block.text:
            return [chat.TextDelta(0, block.text)]
        if block.type == "thinking" and block.thinking:
            return [chat.ReasoningDelta(0, block.thinking)]
        if block.type in {"text", "thinking"}:
            return []
        raise UnreadableAnswerError(f"a block of the type {block.type!r} cannot be said in another dialect")

    def _read_delta(self, delta: schema.Delta, index: int) -> list[chat.Delta]:
        if delta.text:
            return [chat.TextDelta(0, delta.text)]
        if delta.partial_json:
            call = self._calls.get(index)
            if call is None:
                raise UnreadableAnswerError("arguments of a block that is no tool call")
            return [chat.ToolDelta(0, call, delta.partial_json)]
        if delta.thinking:
            return [chat.ReasoningDelta(0, delta.thinking)]
        if delta.signature:
            signature, issuer = signatures.unseal(delta.signature, DIALECT)
            return [chat.SignatureDelta(0, signature, issuer)]
        return []

    def _read_end(self, event: schema.Event) -> list[chat.Delta]:
        """Read the last usage, which is cumulative and may leave out what has not changed."""
        deltas: list[chat.Delta] = []
        if event.usage is not None:
            for name in schema.Usage.__struct_fields__:
                value = getattr(event.usage, name)
                if value is not None:
                    setattr(self._usage, name, value)
            deltas.append(chat.UsageDelta(read_usage(self._usage)))
        if event.delta is not None and event.delta.stop_reason:
            deltas.append(
                chat.FinishDelta(0, FINISHES.get(event.delta.stop_reason, "stop"), event.delta.stop_sequence or "")
            )
        return deltas

    def end(self) -> list[chat.Delta]:
        """Return what the end of the stream says: nothing that ``message_stop`` has not said."""
        return []


class Writer:
    """Writes one stream. A block is open while it is added to; the next one closes it."""

    def __init__(self, request: chat.Request, identifier: str, now: float) -> None:
        del now
        self._request = request
        self._identifier = identifier
        self._begun = False
        self._index = -1
        self._open = ""  # text, thinking or tool; "" = no block is open
        self._call = -1  # the call of an open tool block
        self._arguments: list[str] = []  # of that call, so far
        self._waiting: dict[int, tuple[chat.ToolStart, list[str]]] = {}  # calls behind an unfinished one
        self._finish: chat.FinishDelta | None = None
        self._usage = chat.Usage()
        self._ended = False

    def write(self, deltas: Sequence[chat.Delta]) -> bytes:
        """Return the events for what was said."""
        return b"".join([self._write(delta) for delta in deltas])

    def _write(self, delta: chat.Delta) -> bytes:
        if isinstance(delta, chat.TextDelta | chat.RefusalDelta):
            return self._into("text", b'{"type":"text","text":""}') + self._delta(
                b'{"type":"text_delta","text":%b}' % _encode(delta.text)
            )
        if isinstance(delta, chat.ToolDelta):
            return self._write_arguments(delta)
        if isinstance(delta, chat.ReasoningDelta):
            return self._into("thinking", b'{"type":"thinking","thinking":"","signature":""}') + self._delta(
                b'{"type":"thinking_delta","thinking":%b}' % _encode(delta.text)
            )
        if isinstance(delta, chat.ToolStart):
            return self._begin_call(delta)
        if isinstance(delta, chat.SignatureDelta):
            return self._sign(delta)
        return self._write_rare(delta)

    def _write_rare(self, delta: chat.Delta) -> bytes:
        if isinstance(delta, chat.Start):
            self._usage = delta.usage
            return self._begin(delta.id, delta.model)
        if isinstance(delta, chat.FinishDelta):
            self._finish = delta
        elif isinstance(delta, chat.UsageDelta):
            self._usage = delta.usage
        elif isinstance(delta, chat.Failure):
            return self.fail(delta.error)
        elif isinstance(delta, chat.End):
            return self.finish()
        return b""

    def _begin(self, identifier: str = "", model: str = "") -> bytes:
        self._begun = True
        message: dict[str, Any] = {
            "id": identifier or f"msg_{self._identifier}",
            "type": "message",
            "role": "assistant",
            "model": model or self._request.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": write_usage(self._usage),
        }
        return b'event: message_start\ndata: {"type":"message_start","message":%b}\n\n' % _encode(message)

    def _into(self, kind: str, block: bytes) -> bytes:
        """Open a block of this kind, unless one is open."""
        if self._open == kind and kind != "tool":
            return b""
        said = self._close()
        if not self._begun:
            said += self._begin()
        self._index += 1
        self._open = kind
        return said + (
            b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
            % (self._index, block)
        )

    def _delta(self, delta: bytes) -> bytes:
        return b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b}\n\n' % (
            self._index,
            delta,
        )

    def _close(self) -> bytes:
        if not self._open:
            return b""
        self._open = ""
        self._arguments = []
        return b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % self._index

    def _sign(self, delta: chat.SignatureDelta) -> bytes:
        signature = _encode(signatures.seal(delta.signature, delta.issuer, DIALECT))
        if delta.redacted:
            return self._into("redacted", b'{"type":"redacted_thinking","data":%b}' % signature) + self._close()
        # the signature of a call without thoughts (Gemini's) needs a block of its own
        said = self._into("thinking", b'{"type":"thinking","thinking":"","signature":""}')
        return said + self._delta(b'{"type":"signature_delta","signature":%b}' % signature) + self._close()

    def _begin_call(self, delta: chat.ToolStart) -> bytes:
        if self._open == "tool" and not self._complete():
            self._waiting[delta.index] = (delta, [])
            return b""
        self._call = delta.index
        block = {"type": "tool_use", "id": delta.id, "name": delta.name, "input": {}}
        return self._into("tool", _encode(block))

    def _complete(self) -> bool:
        """Return whether the arguments of the open call are whole; none yet may mean that all are still to come."""
        return is_object("".join(self._arguments))

    def _write_arguments(self, delta: chat.ToolDelta) -> bytes:
        if delta.index in self._waiting:
            self._waiting[delta.index][1].append(delta.arguments)
            return b""
        if self._open != "tool" or delta.index != self._call:
            raise UnreadableAnswerError("arguments of a tool call that is over")
        self._arguments.append(delta.arguments)
        return self._delta(b'{"type":"input_json_delta","partial_json":%b}' % _encode(delta.arguments))

    def _flush_calls(self) -> bytes:
        """Write the calls that came between the fragments of another."""
        said = b""
        waiting, self._waiting = self._waiting, {}
        for start, arguments in waiting.values():
            said += self._close() + self._begin_call(start)
            said += self._write_arguments(chat.ToolDelta(start.choice, start.index, "".join(arguments)))
        return said

    def finish(self) -> bytes:
        """Return the last events, once."""
        if self._ended:
            return b""
        said = b"" if self._begun else self._begin()
        said += self._flush_calls() + self._close()
        self._ended = True
        finish = self._finish or chat.FinishDelta(0, "stop")
        delta = {"stop_reason": WORDS[finish.finish], "stop_sequence": finish.stop_sequence or None}
        return said + (
            b'event: message_delta\ndata: {"type":"message_delta","delta":%b,"usage":%b}\n\n'
            b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
        ) % (_encode(delta), _encode(write_usage(self._usage)))

    def fail(self, error: chat.Error) -> bytes:
        """Return the event that ends a stream which cannot be completed."""
        self._ended = True
        return b"event: error\ndata: " + write_error(0, error, "")[1] + b"\n\n"
