"""Reads and writes the event streams of chat completions.

Facts: chunks follow each other as ``data: {...}``. With ``stream_options.include_usage`` a chunk without choices, but
with the usage, comes last, and all others say ``"usage":null``. ``data: [DONE]`` ends the stream.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import msgspec

from edge.dialects import custom_tools, signatures
from edge.dialects.errors import UnreadableAnswerError
from edge.dialects.fields import count
from edge.dialects.openai import schema
from edge.dialects.openai.errors import error_of, write_error
from edge.dialects.openai.read import DIALECT, FINISHES, UNFINISHED, read_usage, thoughts_of
from edge.dialects.openai.write import FINISHES as WORDS
from edge.dialects.openai.write import reasoning_detail, write_usage
from edge.terms import chat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CHUNK: Final = msgspec.json.Decoder(schema.Completion)
_encode: Final = msgspec.json.Encoder().encode
_DONE: Final = b"data: [DONE]\n\n"


class Reader:
    """Reads one stream."""

    def __init__(self, identifier: str) -> None:
        self._identifier = identifier
        self._begun = False
        self._calls: dict[tuple[int, int], str] = {}  # id by choice and index
        self._last: dict[int, int] = {}  # index of the last call by choice

    def read(self, data: bytes, name: bytes = b"") -> list[chat.Delta]:
        """Return what the data of one event says; the event's ``name`` is not used in this dialect.

        Raises:
            UnreadableAnswerError: it is no chunk.
        """
        if data == b"[DONE]":
            return [chat.End()]
        try:
            chunk = _CHUNK.decode(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UnreadableAnswerError(f"an event that is no chunk of a chat completion: {error}") from error
        if chunk.error is not None or chunk.object == "error" or name == b"error":
            return [chat.Failure(error_of(500, data))]
        deltas: list[chat.Delta] = []
        if not self._begun:
            self._begun = True
            deltas.append(
                chat.Start(chunk.id or f"chatcmpl-{self._identifier}", chunk.model or "", count(chunk.created))
            )
        for place, choice in enumerate(chunk.choices or ()):
            index = place if choice.index is None else choice.index
            if choice.delta is not None:
                self._read_delta(choice.delta, index, deltas)
            if choice.finish_reason:
                deltas.append(self._finish(choice.finish_reason, index))
        if chunk.usage is not None:
            deltas.append(chat.UsageDelta(read_usage(chunk.usage)))
        return deltas

    def _finish(self, word: str, index: int) -> chat.Delta:
        if word in UNFINISHED:
            return chat.Failure(chat.Error("overloaded", f"The provider stopped: {word}."))
        finish = FINISHES.get(word, "stop")
        return chat.FinishDelta(index, "tool_calls" if finish == "stop" and index in self._last else finish)

    def _read_delta(self, delta: schema.Message, index: int, deltas: list[chat.Delta]) -> None:
        thoughts = delta.reasoning_content or delta.reasoning
        if thoughts:
            deltas.append(chat.ReasoningDelta(index, thoughts))
        for detail in delta.reasoning_details or ():
            kept = detail.data or detail.signature
            if kept:
                signature, issuer = signatures.unseal(kept, DIALECT)
                deltas.append(chat.SignatureDelta(index, signature, issuer))
        if isinstance(delta.content, str):
            if delta.content:
                deltas.append(chat.TextDelta(index, delta.content))
        elif delta.content:
            deltas += _parts(delta.content, index)
        if delta.refusal:
            deltas.append(chat.RefusalDelta(index, delta.refusal))
        for call in delta.tool_calls or ():
            self._read_call(call, index, deltas)

    def _read_call(self, call: schema.ToolCall, choice: int, deltas: list[chat.Delta]) -> None:
        """Read a fragment. Some servers leave out the index, and begin each call by its id."""
        last = self._last.get(choice, -1)
        index = call.index
        if index is None:
            index = last + 1 if call.id and call.id != self._calls.get((choice, last)) else max(last, 0)
        function = call.function
        if (choice, index) not in self._calls:
            name = "" if function is None else function.name or ""
            if not name:
                raise UnreadableAnswerError("a tool call that begins without a name")
            identifier = call.id or f"call_{self._identifier}_{choice}_{index}"
            self._calls[choice, index] = identifier
            self._last[choice] = index
            deltas.append(chat.ToolStart(choice, index, identifier, name))
        if function is not None and function.arguments:
            deltas.append(chat.ToolDelta(choice, index, function.arguments))

    def end(self) -> list[chat.Delta]:
        """Return what the end of the stream says: nothing that ``[DONE]`` or a finish_reason has not said."""
        return []


def _parts(parts: Sequence[schema.ContentPart], index: int) -> Iterator[chat.Delta]:
    """Read text in parts, as Mistral's models write it where they think."""
    for part in parts:
        if part.type == "thinking":
            yield chat.ReasoningDelta(index, thoughts_of(part))
        elif part.text:
            yield chat.TextDelta(index, part.text)


class Writer:
    """Writes one stream."""

    def __init__(self, request: chat.Request, identifier: str, now: float) -> None:
        self._request = request
        self._custom = custom_tools.names_of(request)
        self._texts: dict[tuple[int, int], custom_tools.TextReader] = {}  # of their calls, by choice and index
        self._head: dict[str, Any] = {
            "id": f"chatcmpl-{identifier}",
            "object": "chat.completion.chunk",
            "created": math.floor(now),
            "model": request.model,
        }
        self._front = b""
        self._tail = b',"usage":null}\n\n' if request.include_usage else b"}\n\n"
        self._roles: set[int] = set()
        self._finished: set[int] = set()
        self._usage: chat.Usage | None = None
        self._thoughts: dict[int, list[str]] = {}
        self._ended = False
        self._set_front()

    def _set_front(self) -> None:
        self._front = b"data: " + _encode(self._head)[:-1] + b',"choices":[{"index":'

    def write(self, deltas: Sequence[chat.Delta]) -> bytes:
        """Return the events for what was said."""
        return b"".join([self._write(delta) for delta in deltas])

    def _write(self, delta: chat.Delta) -> bytes:
        if isinstance(delta, chat.TextDelta):
            return self._chunk(delta.choice, b'{"content":%b}' % _encode(delta.text))
        if isinstance(delta, chat.ToolDelta):
            reader = self._texts.get((delta.choice, delta.index)) if self._custom else None
            if reader is not None:
                return self._input(delta.choice, delta.index, reader.push(delta.arguments))
            arguments = _encode(delta.arguments)
            return self._chunk(
                delta.choice, b'{"tool_calls":[{"index":%d,"function":{"arguments":%b}}]}' % (delta.index, arguments)
            )
        if isinstance(delta, chat.ReasoningDelta):
            self._thoughts.setdefault(delta.choice, []).append(delta.text)
            return self._chunk(delta.choice, b'{"reasoning_content":%b}' % _encode(delta.text))
        return self._write_rare(delta)

    def _write_rare(self, delta: chat.Delta) -> bytes:
        if isinstance(delta, chat.Start):
            self._head["id"] = delta.id or self._head["id"]
            self._head["model"] = delta.model or self._head["model"]
            self._head["created"] = delta.created or self._head["created"]
            self._usage = delta.usage
            self._set_front()
            return b"" if self._request.n > 1 else self._chunk(0, b"")
        if isinstance(delta, chat.ToolStart):
            return self._begin_call(delta)
        if isinstance(delta, chat.FinishDelta):
            return self._finish_choice(delta)
        if isinstance(delta, chat.RefusalDelta):
            return self._chunk(delta.choice, b'{"refusal":%b}' % _encode(delta.text))
        if isinstance(delta, chat.SignatureDelta):
            text = "".join(self._thoughts.pop(delta.choice, ()))
            detail = reasoning_detail(text, delta.signature, delta.issuer, delta.redacted)
            return self._chunk(delta.choice, _encode({"reasoning_details": [detail]}))
        return self._write_end(delta)

    def _begin_call(self, delta: chat.ToolStart) -> bytes:
        call: dict[str, Any] = {"index": delta.index, "id": delta.id}
        if delta.name in self._custom:
            self._texts[delta.choice, delta.index] = custom_tools.TextReader()
            call |= {"type": "custom", "custom": {"name": delta.name, "input": ""}}
        else:
            call |= {"type": "function", "function": {"name": delta.name, "arguments": ""}}
        return self._chunk(delta.choice, _encode({"tool_calls": [call]}))

    def _finish_choice(self, delta: chat.FinishDelta) -> bytes:
        if delta.choice in self._finished:
            return b""  # some servers say it twice
        self._finished.add(delta.choice)
        rest = [
            self._input(choice, index, reader.finish())
            for (choice, index), reader in self._texts.items()
            if choice == delta.choice
        ]
        return b"".join(rest) + self._chunk(delta.choice, b"{}", _encode(WORDS[delta.finish]))

    def _input(self, choice: int, index: int, text: str) -> bytes:
        """Return a piece of the text that a custom tool takes."""
        if not text:
            return b""
        return self._chunk(choice, b'{"tool_calls":[{"index":%d,"custom":{"input":%b}}]}' % (index, _encode(text)))

    def _write_end(self, delta: chat.Delta) -> bytes:
        if isinstance(delta, chat.UsageDelta):
            self._usage = delta.usage
        elif isinstance(delta, chat.Failure):
            return self.fail(delta.error)
        elif isinstance(delta, chat.End):
            return self.finish()
        return b""

    def _chunk(self, choice: int, delta: bytes, finish: bytes = b"null") -> bytes:
        said = b""
        if choice not in self._roles:
            self._roles.add(choice)
            said = self._event(choice, b'{"role":"assistant","content":"","refusal":null}', b"null")
        return said + self._event(choice, delta, finish) if delta else said

    def _event(self, choice: int, delta: bytes, finish: bytes) -> bytes:
        return b'%b%d,"delta":%b,"logprobs":null,"finish_reason":%b}]%b' % (
            self._front,
            choice,
            delta,
            finish,
            self._tail,
        )

    def finish(self) -> bytes:
        """Return the last events, once."""
        if self._ended:
            return b""
        self._ended = True
        if not self._request.include_usage or self._usage is None:
            return _DONE
        return b"data: " + _encode({**self._head, "choices": [], "usage": write_usage(self._usage)}) + b"\n\n" + _DONE

    def fail(self, error: chat.Error) -> bytes:
        """Return the event that ends a stream which cannot be completed; ``[DONE]`` does not follow."""
        self._ended = True
        return b"data: " + write_error(500, error, "")[1] + b"\n\n"
