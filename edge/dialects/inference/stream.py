"""Translation of a provider's event stream into edge.v1.ChatChunk messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge.dialects.inference import schema
from edge.dialects.inference.errors import AnswerUnreadableError
from edge.dialects.inference.extra import fill
from edge.dialects.inference.write import (
    ROLE_NUMBERS,
    answered,
    decoded,
    fill_call,
    fill_usage,
    place_of,
    set_finish,
    whole,
)
from edge.wire.edge.v1 import inference_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Mapping

_DONE: Final = b"[DONE]"
# An event is buffered until it is complete. A larger one would be useless: gRPC clients refuse messages over 4 MiB.
_LARGEST: Final = 4 << 20


def writer(facts: Mapping[str, Any]) -> ChunkWriter:
    """Return a translator for one stream; ``facts`` as for :func:`edge.dialects.inference.write.write`."""
    return ChunkWriter(facts)


class ChunkWriter:
    """Translates one event stream into edge.v1.ChatChunk messages.

    Providers repeat names, roles and their own fields in every event. Each is sent once, and again when it changes.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self._facts: Mapping[str, Any] | None = facts
        self._parts: list[bytes] = []  # of a line that is not complete
        self._held = 0
        self._after_cr = False
        self._data: list[bytes] = []
        self._named: tuple[str | None, str | None, float | None] = ("", "", None)
        self._added: dict[str, Any] = {}
        self._roles: set[int] = set()

    def push_events(self, data: bytes) -> list[bytes]:
        """Return the messages that ``data`` completes; the stream may be split at any byte.

        Raises:
            AnswerUnreadableError: an event is not a chunk of a chat completion, or is larger than 4 MiB.
        """
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        self._held += len(data)
        if self._held > _LARGEST:
            raise AnswerUnreadableError(f"an event is larger than {_LARGEST} bytes")
        self._after_cr = data.endswith(b"\r")
        if b"\n" not in data and b"\r" not in data:
            self._parts.append(data)
            return []
        data = b"".join((*self._parts, data))
        self._parts.clear()
        lines = data.splitlines(keepends=True)
        if lines and not lines[-1].endswith((b"\n", b"\r")):
            self._parts.append(lines.pop())
        messages: list[bytes] = []
        for line in lines:
            text = line.rstrip(b"\r\n")
            if text.startswith(b"data:"):
                self._data.append(text[5:])
            elif not text and self._data:
                event = b"\n".join(self._data)
                self._data = []
                messages += self.push(event)
        self._held = sum(map(len, (*self._parts, *self._data)))
        return messages

    def push(self, data: bytes) -> list[bytes]:
        """Return the messages for one event's data: one, or none when the event adds nothing.

        Raises:
            AnswerUnreadableError: the event is not a chunk of a chat completion.
        """
        data = data.strip()
        if data == _DONE:
            return []
        raw, known = decoded(data)
        if known.error is not None and not known.choices:
            return []  # the status of the call reports the error
        chunk = wire.ChatChunk()
        self._add_names(chunk, raw, known)
        for position, (choice, known_choice) in enumerate(
            zip(raw.get("choices") or (), known.choices or (), strict=True)
        ):
            self._add_choice(chunk, choice, known_choice, position)
        fill_usage(chunk, raw, known)
        if self._facts is not None:
            chunk.answered.CopyFrom(answered(self._facts))
            self._facts = None
        said = bytes(chunk.SerializeToString())
        return [said] if said else []

    def _add_names(self, chunk: wire.ChatChunk, raw: dict[str, Any], known: schema.Completion) -> None:
        named = (known.id, known.model, known.created)
        if named != self._named:
            self._named = named
            chunk.id, chunk.model, chunk.created = known.id or "", known.model or "", whole(known.created)
        added = schema.rest(raw, schema.Completion)
        if added != self._added:
            self._added = added
            fill(chunk.extra, added)

    def _add_choice(self, chunk: wire.ChatChunk, raw: dict[str, Any], known: schema.Choice, position: int) -> None:
        delta = wire.ChoiceDelta()
        index = place_of(known.index, position)
        set_finish(delta, known.finish_reason)
        fill(delta.extra, schema.rest(raw, schema.Choice))
        if known.delta is not None:
            self._add_delta(delta, raw["delta"], known.delta, index)
        if delta.ByteSize():
            delta.index = index
            chunk.choices.append(delta)

    def _add_delta(self, delta: wire.ChoiceDelta, raw: dict[str, Any], known: schema.Message, index: int) -> None:
        if known.role is not None and index not in self._roles:
            self._roles.add(index)
            delta.role = ROLE_NUMBERS.get(known.role, wire.ROLE_UNSPECIFIED)  # type: ignore[assignment]
        delta.text = _text(known.content)
        delta.refusal = known.refusal or ""
        delta.reasoning = known.reasoning_content or known.reasoning or ""
        fill(delta.extra, schema.rest(raw, schema.Message))
        for position, (call, known_call) in enumerate(
            zip(raw.get("tool_calls") or (), known.tool_calls or (), strict=True)
        ):
            place = delta.tool_calls.add(index=place_of(known_call.index, position))
            fill_call(place, call, known_call)


def _text(content: str | list[Any] | None) -> str:
    """Return the text of a delta; a few providers send a list of parts."""
    if content is None or isinstance(content, str):
        return content or ""
    texts: list[str] = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) else part
        if not isinstance(text, str):
            raise AnswerUnreadableError("a part of a chunk's content is not text")
        texts.append(text)
    return "".join(texts)
