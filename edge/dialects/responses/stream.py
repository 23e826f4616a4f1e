"""Reads the event streams of responses; :mod:`edge.dialects.responses.stream_writer` writes them.

Facts: ``response.created`` and ``response.in_progress`` come first, then each item as ``response.output_item.added``,
the deltas of its parts and ``response.output_item.done``, then ``response.completed``, ``.incomplete`` or ``.failed``.
Items may interleave: each event names the ``output_index``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from edge.dialects import custom_tools, signatures
from edge.dialects.error_kinds import text_of
from edge.dialects.errors import UnreadableAnswerError
from edge.dialects.fields import count
from edge.dialects.openai.errors import error_of
from edge.dialects.responses import schema
from edge.dialects.responses.read import DIALECT, finish_of, read_usage
from edge.dialects.responses.stream_writer import Writer
from edge.terms import chat

if TYPE_CHECKING:
    from edge.dialects.responses.schema import Event, Item

__all__ = ["Reader", "Writer"]

_EVENT: Final = msgspec.json.Decoder(schema.Event)
_TYPED: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_THOUGHTS: Final = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
_CALLS: Final = ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta")
_ITEMS: Final = ("function_call", "custom_tool_call")
_INPUT: Final = '{"input":"'
_ENDS: Final = ("response.completed", "response.incomplete", "response.failed")


class Reader:
    """Reads one stream."""

    def __init__(self, identifier: str) -> None:
        self._identifier = identifier
        self._calls: dict[int, int] = {}  # index among the calls by index of the item
        self._told: set[int] = set()  # items whose deltas have come
        self._summary: dict[int, int] = {}  # part of the thoughts by index of the item

    def read(self, data: bytes, name: bytes = b"") -> list[chat.Delta]:
        """Return what the data of one event says.

        Raises:
            UnreadableAnswerError: it is no event of a response.
        """
        del name
        if data == b"[DONE]":
            return []
        try:
            event = _EVENT.decode(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UnreadableAnswerError(f"an event that is none of a response: {error}") from error
        place = event.output_index
        if event.type == "response.output_text.delta":
            self._told.add(place)
            return [chat.TextDelta(0, event.delta)] if event.delta else []
        return self._read_other(event, place, data)

    def _read_other(self, event: Event, place: int, data: bytes) -> list[chat.Delta]:
        kind = event.type
        if kind in _CALLS:
            return self._read_call(event, place, text=kind == _CALLS[1])
        if kind in _THOUGHTS:
            return self._read_thoughts(event, place)
        if kind == "response.refusal.delta":
            self._told.add(place)
            return [chat.RefusalDelta(0, event.delta)] if event.delta else []
        if kind == "response.output_item.added" and event.item is not None:
            return self._begin_item(event.item, place)
        if kind == "response.output_item.done" and event.item is not None:
            return self._end_item(event.item, place)
        return self._read_rare(event, data)

    def _read_rare(self, event: Event, data: bytes) -> list[chat.Delta]:
        if event.type == "response.created" and event.response is not None:
            said = event.response
            return [chat.Start(said.id or f"resp_{self._identifier}", said.model, count(said.created_at))]
        if event.type == "error":
            return [chat.Failure(chat.Error("internal", text_of(event.message) or "error", code=text_of(event.code)))]
        if event.type in _ENDS and event.response is not None:
            if event.type == "response.failed":
                return [chat.Failure(error_of(500, bytes(_TYPED.decode(data)["response"])))]
            finish = chat.FinishDelta(0, finish_of(event.response, bool(self._calls)))
            return [chat.UsageDelta(read_usage(event.response.usage)), finish, chat.End()]
        return []

    def _read_call(self, event: Event, place: int, *, text: bool) -> list[chat.Delta]:
        """Read a piece of arguments, or of the text that a custom tool takes, for which arguments stand."""
        call = self._calls.get(place)
        if call is None:
            raise UnreadableAnswerError("arguments of an item that is no call")
        piece = event.delta or ""
        if text:
            piece = ("" if place in self._told else _INPUT) + msgspec.json.encode(piece).decode()[1:-1]
        self._told.add(place)
        return [chat.ToolDelta(0, call, piece)] if piece else []

    def _read_thoughts(self, event: Event, place: int) -> list[chat.Delta]:
        part = event.summary_index or 0
        gap = "\n\n" if part != self._summary.setdefault(place, part) else ""
        self._summary[place] = part
        self._told.add(place)
        return [chat.ReasoningDelta(0, gap + event.delta)] if event.delta else []

    def _begin_item(self, item: Item, place: int) -> list[chat.Delta]:
        if item.type not in _ITEMS:
            return []
        call = len(self._calls)
        self._calls[place] = call
        return [chat.ToolStart(0, call, item.call_id or f"call_{self._identifier}_{call}", item.name or "")]

    def _end_item(self, item: Item, place: int) -> list[chat.Delta]:
        """Read what a whole item adds: signatures, and everything where a server sends no deltas."""
        deltas: list[chat.Delta] = []
        told = place in self._told
        if item.type in _ITEMS:
            return self._end_call(item, place, told=told)
        if item.type == "message" and not told and isinstance(item.content, list):
            deltas += [chat.TextDelta(0, part.text) for part in item.content if part.text]
            deltas += [chat.RefusalDelta(0, part.refusal) for part in item.content if part.refusal]
        elif item.type == "reasoning":
            if not told:
                shown = item.summary or item.content
                parts = shown if isinstance(shown, list) else []
                deltas += [chat.ReasoningDelta(0, part.text) for part in parts if part.text]
            if item.encrypted_content:
                signature, issuer = signatures.unseal(item.encrypted_content, DIALECT)
                if issuer == DIALECT:
                    signature = f"{item.id or ''}:{signature}"
                deltas.append(chat.SignatureDelta(0, signature, issuer))
        return deltas

    def _end_call(self, item: Item, place: int, *, told: bool) -> list[chat.Delta]:
        deltas = [] if place in self._calls else self._begin_item(item, place)
        if item.type == "custom_tool_call":
            rest = '"}' if told else custom_tools.arguments_of(item.input or "")
        else:
            rest = "" if told else item.arguments or ""
        return [*deltas, chat.ToolDelta(0, self._calls[place], rest)] if rest else deltas

    def end(self) -> list[chat.Delta]:
        """Return what the end of the stream says: nothing that ``response.completed`` has not said."""
        return []
