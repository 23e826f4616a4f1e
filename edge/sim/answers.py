"""Bodies of simulated responses in OpenAI's formats.

The functions are pure: the same request, seed and id give the same bytes. A response is either complete (``whole``) or
a stream of server-sent events in three parts: ``opening`` (role and preamble, no content), ``content`` (one event per
token, built when it is sent, so that thousands of slow streams need no memory) and ``closing`` (finish reason, usage,
``[DONE]``).
Formats: OpenAI's API reference for chat completions, completions, embeddings and responses.
"""

from __future__ import annotations

import base64
import struct
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from edge.sim.asked import START

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.sim.asked import Ask

WORDS = [
    "the",
    "a",
    "calm",
    "quick",
    "river",
    "carries",
    "small",
    "boats",
    "past",
    "old",
    "stone",
    "bridges",
    "while",
    "lamps",
    "along",
    "both",
    "banks",
    "wait",
    "for",
    "evening",
    "and",
    "someone",
    "counts",
    "slowly",
    "every",
    "light",
    "that",
    "answers",
]
DONE = b"data: [DONE]\n\n"
THOUGHT = "Let me see."  # what a model shows that reasons
_MARK = "\x00"  # placeholder for a token while the frame of an event is built; never occurs in a token


def dumps(value: Any) -> bytes:
    """Encode a value as compact JSON."""
    return msgspec.json.encode(value)


def event(value: Any, name: str = "") -> bytes:
    """Return a server-sent event."""
    return (f"event: {name}\n".encode() if name else b"") + b"data: " + dumps(value) + b"\n\n"


def error_body(message: str, kind: str, *, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """Return an error in OpenAI's format."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def vllm_error(message: str, status: int) -> dict[str, Any]:
    """Return an error in vLLM's format, whose object has no ``error`` key."""
    return {"object": "error", "message": message, "type": "InternalServerError", "param": None, "code": status}


class Answer:
    """A response to a chat request; subclasses implement the other operations."""

    def __init__(self, ask: Ask, name: str, serial: str, created: int) -> None:
        self.ask = ask
        self.name = name
        self.serial = serial
        self.created = created

    @property
    def content_type(self) -> str:
        """The type of a whole body."""
        return "application/json"

    # ---- content, in any format

    def tokens(self) -> Iterator[str]:
        """Yield the text token by token, without those that the request has already."""
        if self.ask.first:
            yield self.ask.first
        yield from islice(self._tokens(), self.ask.skip, None)

    def _tokens(self) -> Iterator[str]:
        """Yield the whole text; the first tokens name the provider."""
        if self.ask.echo is not None:
            yield self.ask.echo
            return
        if self.ask.call is not None:
            return
        if self.ask.json is not None:
            yield self.ask.json
            return
        count, seed = self.ask.pace.tokens, self.ask.pace.seed
        start = [START, " from", f" {self.name}", ":"][:count]
        yield from start
        for position in range(len(start), count):
            yield " " + WORDS[(seed + position * (1 + seed % 7)) % len(WORDS)]

    def text(self) -> str:
        """Return the complete text."""
        return "".join(self.tokens())

    def output_tokens(self) -> int:
        """Return the number of billed output tokens."""
        short = self.ask.echo is not None or self.ask.call is not None or self.ask.json is not None
        return 1 if short else self.ask.pace.tokens - self.ask.skip

    def usage(self) -> dict[str, Any]:
        """Return the billed tokens."""
        prompt, output = self.ask.prompt_tokens, self.output_tokens()
        return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}

    # ---- the format of one operation

    def whole(self) -> bytes:
        """Return the response as one JSON body."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text() or None, "refusal": None}
        if self.ask.thinks:
            message["reasoning_content"] = THOUGHT
        if self.ask.call is not None:
            message["tool_calls"] = [self._tool_call(self.ask.call.arguments)]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish()}
        return dumps({**self._frame("chat.completion"), "choices": [choice], "usage": self.usage()})

    def opening(self) -> list[bytes]:
        """Return the events before any content."""
        return [self._delta({"role": "assistant", "content": "" if self.ask.call is None else None})]

    def content(self) -> Iterator[bytes]:
        """Yield the events that carry content."""
        if self.ask.thinks:
            yield self._delta({"reasoning_content": THOUGHT})
        if self.ask.call is not None:
            yield self._delta({"tool_calls": [{"index": 0, **self._tool_call("")}]})
            for position in range(0, len(self.ask.call.arguments), 8):
                piece = self.ask.call.arguments[position : position + 8]
                yield self._delta({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
            return
        yield from self._framed(self._delta({"content": _MARK}))

    def closing(self) -> list[bytes]:
        """Return the events after the content, up to the end marker."""
        last = [self._delta({}, self._finish())]
        if self.ask.include_usage:
            last.append(event({**self._frame("chat.completion.chunk"), "choices": [], "usage": self.usage()}))
        return [*last, DONE]

    def failure(self, error: dict[str, Any]) -> bytes:
        """Return an error as an event within a stream."""
        return event(error)

    # ---- pieces

    def _framed(self, frame: bytes) -> Iterator[bytes]:
        before, _, after = frame.rpartition(dumps(_MARK)[1:-1])
        for token in self.tokens():
            yield before + dumps(token)[1:-1] + after

    def _finish(self) -> str:
        return "stop" if self.ask.call is None else "tool_calls"

    def _tool_call(self, arguments: str) -> dict[str, Any]:
        name = self.ask.call.name if self.ask.call is not None else ""
        return {"id": f"call_{self.serial}", "type": "function", "function": {"name": name, "arguments": arguments}}

    def _frame(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.serial}",
            "object": kind,
            "created": self.created,
            "model": self.ask.model,
            "system_fingerprint": self.name,
        }

    def _delta(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self.ask.include_usage else {}
        return event({**self._frame("chat.completion.chunk"), "choices": [choice], **usage})


class Completion(Answer):
    """A response of the older text completions: no roles, ``text`` instead of ``delta``."""

    def whole(self) -> bytes:
        """Return the response as one JSON body."""
        choice = {"index": 0, "text": self.text(), "logprobs": None, "finish_reason": "stop"}
        return dumps({**self._frame("text_completion"), "choices": [choice], "usage": self.usage()})

    def opening(self) -> list[bytes]:
        """Return nothing: there is no role to announce."""
        return []

    def content(self) -> Iterator[bytes]:
        """Yield the events that carry content."""
        yield from self._framed(self._piece(_MARK))

    def closing(self) -> list[bytes]:
        """Return the events after the content, up to the end marker."""
        last = [self._piece("", "stop")]
        if self.ask.include_usage:
            last.append(event({**self._frame("text_completion"), "choices": [], "usage": self.usage()}))
        return [*last, DONE]

    def _piece(self, text: str, finish: str | None = None) -> bytes:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self.ask.include_usage else {}
        return event({**self._frame("text_completion"), "choices": [choice], **usage})


class Embeddings(Answer):
    """Embeddings with deterministic values; never streamed."""

    def whole(self) -> bytes:
        """Return the response as one JSON body."""
        prompt = {"prompt_tokens": self.ask.prompt_tokens, "total_tokens": self.ask.prompt_tokens}
        data = [{"object": "embedding", "index": i, "embedding": self.vector(i)} for i in range(self.ask.inputs)]
        echo = {} if self.ask.echo is None else {"sim_echo": self.ask.echo}
        return dumps({"object": "list", "data": data, "model": self.ask.model, "usage": prompt, **echo})

    def vector(self, index: int) -> list[float] | str:
        """Return one vector, in the form that was asked for."""
        chance = Random(self.ask.pace.seed + index)
        values = [round(chance.uniform(-1, 1), 6) for _ in range(self.ask.dimensions)]
        if not self.ask.base64:
            return values
        return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


class Responses(Answer):
    """A response of the Responses API: numbered, named events, and no ``[DONE]``."""

    def __init__(self, ask: Ask, name: str, serial: str, created: int) -> None:
        super().__init__(ask, name, serial, created)
        self._number = 0

    def usage(self) -> dict[str, Any]:
        """Return the billed tokens."""
        prompt, output = self.ask.prompt_tokens, self.output_tokens()
        return {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + output,
        }

    def whole(self) -> bytes:
        """Return the response as one JSON body."""
        return dumps(self._response("completed", [self._item()]))

    def opening(self) -> list[bytes]:
        """Return the preamble, which a provider sends before it knows whether it can answer."""
        started = self._response("in_progress", [])
        first = [
            self._event("response.created", {"response": started}),
            self._event("response.in_progress", {"response": started}),
            self._event("response.output_item.added", {"output_index": 0, "item": self._item(done=False)}),
        ]
        if self.ask.call is None:
            part = {"item_id": self._item_id(), "output_index": 0, "content_index": 0, "part": self._part("")}
            first.append(self._event("response.content_part.added", part))
        return first

    def content(self) -> Iterator[bytes]:
        """Yield the events that carry content."""
        where: dict[str, Any] = {"item_id": self._item_id(), "output_index": 0}
        if self.ask.call is not None:
            kind = "custom_tool_call_input" if self.ask.call.custom else "function_call_arguments"
            for position in range(0, len(self.ask.call.arguments), 64):
                delta = {**where, "delta": self.ask.call.arguments[position : position + 64]}
                yield self._event(f"response.{kind}.delta", delta)
            return
        for token in self.tokens():
            yield self._event(
                "response.output_text.delta", {**where, "content_index": 0, "delta": token, "logprobs": []}
            )

    def closing(self) -> list[bytes]:
        """Return the events after the content."""
        where: dict[str, Any] = {"item_id": self._item_id(), "output_index": 0}
        last = []
        if self.ask.call is not None and self.ask.call.custom:
            done = {**where, "input": self.ask.call.arguments}
            last.append(self._event("response.custom_tool_call_input.done", done))
        elif self.ask.call is not None:
            done = {**where, "name": self.ask.call.name, "arguments": self.ask.call.arguments}
            last.append(self._event("response.function_call_arguments.done", done))
        else:
            text = self.text()
            last.append(
                self._event("response.output_text.done", {**where, "content_index": 0, "text": text, "logprobs": []})
            )
            part = {**where, "content_index": 0, "part": self._part(text)}
            last.append(self._event("response.content_part.done", part))
        last.append(self._event("response.output_item.done", {"output_index": 0, "item": self._item()}))
        last.append(self._event("response.completed", {"response": self._response("completed", [self._item()])}))
        return last

    def failure(self, error: dict[str, Any]) -> bytes:
        """Return an error in the format of this API: a separate event with a flat object."""
        inner = error.get("error", error)
        return self._event("error", {"code": inner.get("code"), "message": inner.get("message"), "param": None})

    def _event(self, kind: str, rest: dict[str, Any]) -> bytes:
        self._number += 1
        return event({"type": kind, "sequence_number": self._number - 1, **rest}, kind)

    def _item_id(self) -> str:
        if self.ask.call is None:
            return f"msg_{self.serial}"
        return f"{'ctc' if self.ask.call.custom else 'fc'}_{self.serial}"

    def _part(self, text: str) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}

    def _item(self, *, done: bool = True) -> dict[str, Any]:
        status = "completed" if done else "in_progress"
        call = self.ask.call
        if call is not None:
            arguments = call.arguments if done else ""
            named = {"call_id": f"call_{self.serial}", "name": call.name}
            if call.custom:
                named["input"] = arguments
                return {"id": self._item_id(), "type": "custom_tool_call", "status": status, **named}
            named["arguments"] = arguments
            return {"id": self._item_id(), "type": "function_call", "status": status, **named}
        parts = [self._part(self.text())] if done else []
        return {"id": self._item_id(), "type": "message", "status": status, "role": "assistant", "content": parts}

    def _response(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"resp_{self.serial}",
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "model": self.ask.model,
            "output": output,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "temperature": 1.0,
            "top_p": 1.0,
            "metadata": {"answered_by": self.name},
            "usage": self.usage() if status == "completed" else None,
        }
