"""Goes on with an answer that broke off: asks another target for the rest, and joins it to what the client was shown.

A target that continues a last message of the assistant is sent what was shown as that message (prefill). Other targets
are asked in a new turn. The rest reaches the client in its own dialect, under the same id, with one end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from msgspec import Raw, structs

from edge import clock
from edge.dialects import known
from edge.dialects.errors import CannotCarryError, CannotResumeError
from edge.dialects.events import EventSplitter
from edge.dialects.responses.resumed import resumed as responses_resumed
from edge.dialects.seam import Seam, anchor_of
from edge.dialects.tool_names import portable
from edge.dialects.written import Written
from edge.terms import chat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.dialects.known import StreamReader, StreamWriter

# Members of the last message, and of the body.
_MARKS: Final[dict[str, tuple[dict[str, Any], dict[str, Any]]]] = {
    "plain": ({}, {}),
    "prefix": ({"prefix": True}, {}),
    "partial": ({"partial": True}, {}),
    "final": ({}, {"continue_final_message": True, "add_generation_prompt": False}),
}
_ASKED: Final = (
    "Your answer above was cut off while it was sent. Send the rest of it. Begin with its last words, exactly as they "
    "stand there, and go on from them: do not start over, and do not mention the interruption. Its last words are:\n"
)
_TURNS: Final = {"openai": "messages", "anthropic": "messages", "gemini": "contents"}
# What a client reads in a stream that a part of another stream would not have.
_SEEN: Final = frozenset(("logprobs", "top_logprobs", "audio", "modalities", "prediction"))
# Characters; a longer text is not sent to yet another target, as native.codec.shown does not keep it.
_MOST_SHOWN: Final = 256 * 1024
_decoder: Final = msgspec.json.Decoder(dict[str, Raw])
_encode: Final = msgspec.json.Encoder().encode


class ShownAnswer(Protocol):
    """What a client has of an answer: see ``native.proxy.hooks.ShownAnswer``."""

    @property
    def client(self) -> str:
        """The client's dialect."""
        ...

    @property
    def body(self) -> bytes:
        """The body of its request."""
        ...

    @property
    def model(self) -> str:
        """The model as the client named it."""
        ...

    @property
    def opening(self) -> bytes:
        """The first events of the stream."""
        ...

    @property
    def text(self) -> bytes:
        """Its text, escaped as in a JSON string."""
        ...

    @property
    def request_id(self) -> str:
        """Edge's id of the request."""
        ...


class Continuation:
    """One answer of which a part was shown. It may break off again, and be continued again.

    Raises:
        CannotResumeError: nobody can go on with it.
    """

    def __init__(self, shown: ShownAnswer, request: chat.Request, writer: StreamWriter | None) -> None:
        _check(request)
        self._client = known.DIALECTS[shown.client]
        self._request = request
        self._shown: str = msgspec.json.decode(b'"' + shown.text + b'"')
        self._request_id = shown.request_id
        self._expect(shown, self._primed(shown.opening) if writer is None else writer, self._client.reader(""))

    def _expect(self, shown: ShownAnswer, writer: StreamWriter, reader: StreamReader) -> None:
        """Set what every continuation has; the shown text is known."""
        self._body = shown.body
        self._request_id = shown.request_id
        self._writer = writer
        self._reader = reader
        self._splitter = EventSplitter()
        self._seam = Seam(self._shown, 0, turn=False)
        self._before = chat.Usage()  # of the earlier parts
        self._usage: chat.Usage | None = None  # of the current one
        self._more: list[str] = []  # of the text, behind what is in _shown
        self._size = len(self._shown)
        self._over = False  # the text is complete, or something else has followed it

    @property
    def may_go_on(self) -> bool:
        """Whether another target could go on, if the current one broke off now."""
        return not self._over

    @property
    def size(self) -> int:
        """Bytes of memory that the text occupies which is kept for yet another target."""
        count = len(self._shown) if self._over else self._size
        return count if self._shown.isascii() else 4 * count

    def forget(self) -> None:
        """Keep no more of the text: there is no room for it, and nobody can go on after the current target."""
        self._over = True
        self._more.clear()

    def _primed(self, opening: bytes) -> StreamWriter:
        """Return a writer that believes to have written what the client was sent as it came."""
        if self._client.name == "responses":
            return responses_resumed(self._request, EventSplitter().push(opening), self._shown)
        writer = self._client.writer(self._request, self._request_id, clock.wall())
        starts = [
            delta
            for name, data in EventSplitter().push(opening)
            for delta in self._client.reader("").read(data, name)
            if isinstance(delta, chat.Start)
        ]
        # An event before the answer itself may lack the id (Azure's results of its filters do).
        start = max(starts, key=lambda one: len(one.id), default=None)
        if start is None:
            raise CannotResumeError("the answer did not say what it is")
        writer.write([start, chat.TextDelta(0, self._shown)])
        return writer

    # --- the request --------------------------------------------------------------------------------------------------
    def body_for(self, dialect: str, model: str, way: str, strict: bool, ask_usage: bool) -> Written:
        """Return path, body and dropped hints for a target; the body of the client's own dialect is only added to.

        Args:
            dialect: of the target.
            model: its name of the model.
            way: how it is told to continue the last message; "" = it is asked for the rest in a new turn.
            strict: no hint may be dropped.
            ask_usage: the usage is wanted, whether the client asks for it or not.

        Raises:
            CannotCarryError: the target's dialect has no words for it.
        """
        if way and dialect == "responses":
            raise CannotCarryError("a last message of the assistant", dialect)
        turns = [chat.Message("assistant", (chat.Text(self._sent(dialect, way)),))]
        if not way:
            turns.append(chat.Message("user", (chat.Text(_ASKED + anchor_of(self._text())),)))
        request = structs.replace(self._request, messages=(*self._request.messages, *turns), prefill=False)
        if dialect == self._client.name and dialect in _TURNS:
            plain = structs.replace(self._request, limits=(), hints=(), messages=(), tools=(), stop=(), prefill=False)
            path = known.DIALECTS[dialect].write_request(plain, model).path
            written = Written(path, self._added(dialect, model, turns, ask_usage=ask_usage), ())
        else:
            written = known.DIALECTS[dialect].write_request(portable(request)[0], model)
        if strict and written.dropped:
            raise CannotCarryError.of_fields(written.dropped, dialect)
        return written._replace(body=_marked(written.body, way)) if way and dialect == "openai" else written

    def _sent(self, dialect: str, way: str) -> str:
        """Return what is sent of the shown text: Anthropic refuses a last message that ends in white space."""
        text = self._text()
        return text.rstrip() if way and dialect == "anthropic" else text

    def _added(self, dialect: str, model: str, turns: list[chat.Message], *, ask_usage: bool) -> bytes:
        """Return the client's body with these turns behind its own, and otherwise as the client wrote it."""
        body: dict[str, Any] = dict(_decoder.decode(self._body))
        name = _TURNS[dialect]
        said: list[Any] = msgspec.json.decode(body[name], type=list[Raw])
        for turn in turns:
            text = "".join(part.text for part in turn.parts if isinstance(part, chat.Text))
            if dialect == "gemini":
                role = "model" if turn.role == "assistant" else "user"
                said.append({"role": role, "parts": [{"text": text}]})
            else:
                said.append({"role": turn.role, "content": text})
        body[name] = said
        if dialect != "gemini":
            body["model"] = model
        if dialect == "openai" and ask_usage:
            body["stream_options"] = {"include_usage": True}
        return _encode(body)

    # --- the answer ---------------------------------------------------------------------------------------------------
    def add_usage(self, prompt_tokens: int, output_tokens: int) -> None:
        """Add what the part used that has just broken off; below 0 = not counted."""
        before = self._before
        self._before = structs.replace(
            before,
            input_tokens=before.input_tokens + max(prompt_tokens, 0),
            output_tokens=before.output_tokens + max(output_tokens, 0),
        )

    def begin(self, dialect: str, way: str) -> None:
        """Expect the stream of a target that was sent :meth:`body_for`."""
        self._usage = None
        self._reader = known.DIALECTS[dialect].reader(self._request_id)
        self._splitter = EventSplitter()
        self._seam = Seam(self._text(), len(self._sent(dialect, way)), turn=not way)

    def push_events(self, data: bytes) -> Iterator[bytes]:
        """Yield the client's events for whole events of the target, which may be cut at any byte.

        Raises:
            CannotJoinError: the answer does not fit to what was shown; no event of it has been yielded.
            UnreadableAnswerError: an event is none of the target's dialect.
        """
        for name, text in self._splitter.push(data):
            for delta in self._reader.read(text, name):
                said = self._writer.write(list(self._joined(delta)))
                if said:
                    yield said

    def finish(self) -> bytes:
        """Return the events that complete the client's stream."""
        said = [self._writer.write(list(self._joined(delta))) for delta in self._reader.end()]
        return b"".join(said) + self._writer.finish()

    def _joined(self, delta: chat.Delta) -> Iterator[chat.Delta]:
        """Yield what the client is told of one delta of the target."""
        if isinstance(delta, chat.TextDelta):
            yield from self._said(self._seam.push(delta.text))
        elif isinstance(delta, chat.Start):
            self._usage = delta.usage if delta.usage.input_tokens else self._usage
        elif isinstance(delta, chat.UsageDelta):
            self._usage = delta.usage
            yield chat.UsageDelta(self._sum())
        elif isinstance(delta, chat.ReasoningDelta | chat.SignatureDelta):
            return  # the text has begun: thoughts do not belong into the middle of it
        else:
            if not isinstance(delta, chat.Failure):
                yield from self._said(self._seam.finish())
            self._over = True
            if isinstance(delta, chat.FinishDelta):
                yield chat.UsageDelta(self._sum())
            yield delta

    def _said(self, text: str) -> Iterator[chat.Delta]:
        if not text:
            return
        self._size += len(text)
        if self._size > _MOST_SHOWN:
            self._over = True
            self._more.clear()
        elif not self._over:
            self._more.append(text)
        yield chat.TextDelta(0, text)

    def _text(self) -> str:
        """Return all that was shown."""
        if self._more:
            self._shown += "".join(self._more)
            self._more.clear()
        return self._shown

    def _sum(self) -> chat.Usage:
        """Return what all parts used."""
        now = chat.Usage() if self._usage is None else self._usage
        return chat.Usage(*(getattr(now, name) + getattr(self._before, name) for name in chat.Usage.__struct_fields__))


def _check(request: chat.Request) -> None:
    """Raise CannotResumeError if the answer to a request cannot consist of two parts."""
    reasons = (
        (request.format is not None, "structured output"),
        (request.n != 1, "several alternatives"),
        (bool(_SEEN.intersection(request.hints)), "log probabilities or sound"),
        (
            request.prefill or not request.messages or request.messages[-1].role == "assistant",
            "an answer that the client has begun itself",
        ),
    )
    for wrong, reason in reasons:
        if wrong:
            raise CannotResumeError(f"{reason} cannot be continued")


def _marked(body: bytes, way: str) -> bytes:
    """Return a body of chat completions that says that its last message is to be continued."""
    of_message, of_body = _MARKS[way]
    if not of_message and not of_body:
        return body
    said: dict[str, Any] = dict(_decoder.decode(body))
    messages: list[Any] = msgspec.json.decode(said["messages"], type=list[Raw])
    messages[-1] = msgspec.json.decode(messages[-1]) | of_message
    return _encode(said | {"messages": messages} | of_body)
