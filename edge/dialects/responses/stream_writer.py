"""Writes the event streams of responses. Each event has a number, and each item its index in the output."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import msgspec

from edge.dialects import custom_tools
from edge.dialects.openai.errors import write_error
from edge.dialects.responses.write import (
    call_item,
    complete,
    envelope,
    message_item,
    named,
    reasoning_item,
    response_id,
    text_part,
)
from edge.terms import chat

if TYPE_CHECKING:
    from collections.abc import Sequence

_encode: Final = msgspec.json.Encoder().encode


class _Open:
    """An item that is being written."""

    def __init__(self, kind: str, index: int, identifier: str) -> None:
        self.kind = kind
        self.index = index
        self.id = identifier
        self.pieces: list[str] = []
        self.content: list[dict[str, Any]] = []  # finished parts of a message
        self.part = ""  # the open part of a message: text or refusal
        self.call: chat.ToolStart | None = None
        self.text: custom_tools.TextReader | None = None  # of a call of a tool that takes one text


class Writer:
    """Writes one stream."""

    def __init__(self, request: chat.Request, identifier: str, now: float) -> None:
        self._request = request
        self._custom = custom_tools.names_of(request)
        self._identifier = identifier
        self._now = math.floor(now)
        self._said: dict[str, Any] = {}
        self._number = 0
        self._items: dict[int, dict[str, Any]] = {}
        self._count = 0
        self._open: _Open | None = None  # a message or thoughts
        self._calls: dict[int, _Open] = {}
        self._finish: chat.Finish = "stop"
        self._usage = chat.Usage()
        self._ended = False

    def go_on(self, response: dict[str, Any], item: str, index: int, shown: str, number: int) -> None:
        """Go on with a response that was sent so far: its message ``item``, at ``index``, has begun with ``shown``."""
        self._said = response
        self._number = number
        self._count = index + 1
        self._open = _Open("message", index, item)
        self._open.part = "text"
        self._open.pieces.append(shown)

    def write(self, deltas: Sequence[chat.Delta]) -> bytes:
        """Return the events for what was said."""
        return b"".join([self._write(delta) for delta in deltas])

    def _write(self, delta: chat.Delta) -> bytes:
        if isinstance(delta, chat.TextDelta):
            said = self._message("text")
            return said + self._delta("response.output_text.delta", delta.text, b',"logprobs":[]')
        if isinstance(delta, chat.ToolDelta):
            return self._arguments(delta)
        if isinstance(delta, chat.ReasoningDelta):
            return self._thoughts() + self._summary(delta.text)
        if isinstance(delta, chat.ToolStart):
            return self._begin_call(delta)
        return self._write_rare(delta)

    def _write_rare(self, delta: chat.Delta) -> bytes:
        if isinstance(delta, chat.Start):
            return self._begin(delta.id, delta.model, delta.created)
        if isinstance(delta, chat.RefusalDelta):
            return self._message("refusal") + self._delta("response.refusal.delta", delta.text)
        if isinstance(delta, chat.SignatureDelta):
            return self._sign(delta)
        if isinstance(delta, chat.FinishDelta):
            self._finish = delta.finish
        elif isinstance(delta, chat.UsageDelta):
            self._usage = delta.usage
        elif isinstance(delta, chat.Failure):
            return self.fail(delta.error)
        elif isinstance(delta, chat.End):
            return self.finish()
        return b""

    def _event(self, kind: str, body: bytes) -> bytes:
        """Return one event; ``body`` holds its own members, without braces."""
        number = self._number
        self._number += 1
        name = kind.encode()
        return b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b}\n\n' % (name, name, number, body)

    def _fields(self, kind: str, **fields: Any) -> bytes:
        return self._event(kind, _encode(fields)[1:-1])

    def _begin(self, identifier: str = "", model: str = "", created: int = 0) -> bytes:
        identifier = response_id(identifier or self._identifier)
        self._identifier = identifier.removeprefix("resp_")
        self._said = envelope(self._request, identifier, model, created or self._now)
        return self._fields("response.created", response=self._said) + self._fields(
            "response.in_progress", response=self._said
        )

    def _add(self, kind: str, front: str) -> tuple[bytes, _Open]:
        """Return the events before a new item, and the item."""
        said = self._close()
        if not self._said:
            said = self._begin()
        index = self._count
        self._count += 1
        return said, _Open(kind, index, f"{front}_{self._identifier}_{index}")

    def _message(self, part: str) -> bytes:
        """Open a message with a part of this kind, unless it is open."""
        said = b""
        item = self._open
        if item is None or item.kind != "message":
            said, item = self._add("message", "msg")
            self._open = item
            begun = {**message_item(item.id, []), "status": "in_progress"}
            said += self._fields("response.output_item.added", output_index=item.index, item=begun)
        if item.part != part:
            said += self._close_part(item)
            item.part = part
            empty = text_part("") if part == "text" else {"type": "refusal", "refusal": ""}
            said += self._fields(
                "response.content_part.added",
                item_id=item.id,
                output_index=item.index,
                content_index=len(item.content),
                part=empty,
            )
        return said

    def _delta(self, kind: str, text: str, more: bytes = b"") -> bytes:
        item = self._open
        assert item is not None  # noqa: S101 - _message has opened it
        item.pieces.append(text)
        return self._event(
            kind,
            b'"item_id":"%b","output_index":%d,"content_index":%d,"delta":%b%b'
            % (item.id.encode(), item.index, len(item.content), _encode(text), more),
        )

    def _close_part(self, item: _Open) -> bytes:
        if not item.part:
            return b""
        text = "".join(item.pieces)
        item.pieces = []
        place: dict[str, Any] = {
            "item_id": item.id,
            "output_index": item.index,
            "content_index": len(item.content),
        }
        if item.part == "text":
            part = text_part(text)
            said = self._fields("response.output_text.done", **place, text=text, logprobs=[])
        else:
            part = {"type": "refusal", "refusal": text}
            said = self._fields("response.refusal.done", **place, refusal=text)
        said += self._fields("response.content_part.done", **place, part=part)
        item.content.append(part)
        item.part = ""
        return said

    def _thoughts(self) -> bytes:
        item = self._open
        if item is not None and item.kind == "reasoning":
            return b""
        said, item = self._add("reasoning", "rs")
        self._open = item
        begun = reasoning_item(item.id, "", "", "")
        said += self._fields("response.output_item.added", output_index=item.index, item=begun)
        return said

    def _summary(self, text: str) -> bytes:
        item = self._open
        assert item is not None  # noqa: S101 - _thoughts has opened it
        said = b""
        place: dict[str, Any] = {"item_id": item.id, "output_index": item.index, "summary_index": 0}
        if not item.pieces:
            said = self._fields(
                "response.reasoning_summary_part.added", **place, part={"type": "summary_text", "text": ""}
            )
        item.pieces.append(text)
        return said + self._fields("response.reasoning_summary_text.delta", **place, delta=text)

    def _sign(self, delta: chat.SignatureDelta) -> bytes:
        said = self._thoughts()
        return said + self._close(delta.signature, delta.issuer, redacted=delta.redacted)

    def _close(self, signature: str = "", issuer: str = "", *, redacted: bool = False) -> bytes:
        """Close the open message or thoughts."""
        item = self._open
        if item is None:
            return b""
        self._open = None
        if item.kind == "message":
            said = self._close_part(item)
            done = message_item(item.id, item.content)
        else:
            said = b""
            text = "".join(item.pieces)
            if item.pieces:
                place: dict[str, Any] = {"item_id": item.id, "output_index": item.index, "summary_index": 0}
                part = {"type": "summary_text", "text": text}
                said = self._fields("response.reasoning_summary_text.done", **place, text=text)
                said += self._fields("response.reasoning_summary_part.done", **place, part=part)
            done = reasoning_item(item.id, text, signature, issuer, redacted=redacted)
        self._items[item.index] = done
        return said + self._fields("response.output_item.done", output_index=item.index, item=done)

    def _begin_call(self, delta: chat.ToolStart) -> bytes:
        custom = delta.name in self._custom
        said, item = self._add("call", "ctc" if custom else "fc")
        item.call = delta
        item.text = custom_tools.TextReader() if custom else None
        self._calls[delta.index] = item
        begun = call_item(item.id, chat.ToolCall(delta.id, delta.name, "", custom=custom), "in_progress")
        return said + self._fields("response.output_item.added", output_index=item.index, item=begun)

    def _arguments(self, delta: chat.ToolDelta) -> bytes:
        item = self._calls[delta.index]
        if item.text is not None:
            return self._call_delta("custom_tool_call_input", item, item.text.push(delta.arguments))
        return self._call_delta("function_call_arguments", item, delta.arguments)

    def _call_delta(self, kind: str, item: _Open, text: str) -> bytes:
        if not text:
            return b""
        item.pieces.append(text)
        return self._event(
            f"response.{kind}.delta",
            b'"item_id":"%b","output_index":%d,"delta":%b' % (item.id.encode(), item.index, _encode(text)),
        )

    def _close_calls(self) -> bytes:
        said = b""
        for item in self._calls.values():
            assert item.call is not None  # noqa: S101 - _begin_call has set it
            if item.text is not None:
                said += self._close_custom(item, item.call, item.text)
                continue
            arguments = "".join(item.pieces) or "{}"
            done = call_item(item.id, chat.ToolCall(item.call.id, item.call.name, arguments))
            self._items[item.index] = done
            said += self._fields(
                "response.function_call_arguments.done",
                item_id=item.id,
                output_index=item.index,
                name=named(item.call.name)["name"],
                arguments=arguments,
            )
            said += self._fields("response.output_item.done", output_index=item.index, item=done)
        self._calls = {}
        return said

    def _close_custom(self, item: _Open, call: chat.ToolStart, reader: custom_tools.TextReader) -> bytes:
        kind = "custom_tool_call_input"
        said = self._call_delta(kind, item, reader.finish())
        text = "".join(item.pieces)
        done = call_item(item.id, chat.ToolCall(call.id, call.name, custom_tools.arguments_of(text), custom=True))
        self._items[item.index] = done
        said += self._fields(f"response.{kind}.done", item_id=item.id, output_index=item.index, input=text)
        return said + self._fields("response.output_item.done", output_index=item.index, item=done)

    def finish(self) -> bytes:
        """Return the last events, once."""
        if self._ended:
            return b""
        said = b"" if self._said else self._begin()
        said += self._close() + self._close_calls()
        self._ended = True
        self._said["output"] = [self._items[index] for index in sorted(self._items)]
        complete(self._said, self._finish, self._usage)
        return said + self._fields(f"response.{self._said['status']}", response=self._said)

    def fail(self, error: chat.Error) -> bytes:
        """Return the events that end a stream which cannot be completed."""
        self._ended = True
        said = b"" if self._said else self._begin()
        told = msgspec.json.decode(write_error(0, error, "")[1])["error"]
        failure = {"code": told["code"] or "server_error", "message": told["message"], "param": told["param"]}
        said += self._fields("error", **failure)
        self._said["status"] = "failed"
        self._said["error"] = {"code": failure["code"], "message": failure["message"]}
        return said + self._fields("response.failed", response=self._said)
