"""Bodies of simulated responses in the formats of Anthropic and Gemini, with the parts that ``answers`` explains.

Formats: Anthropic's reference of messages, Gemini's of generateContent. They are written here a second time, apart from
``edge.dialects``, so that a mistake there does not meet itself.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge.sim import media_answers
from edge.sim.answers import THOUGHT, Answer, Completion, Embeddings, Responses, dumps, event

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNATURE = "c2lnbmVkIGJ5IGEgc2ltdWxhdGVkIHByb3ZpZGVy"


class Messages(Answer):
    """A response of Anthropic's messages: named events, blocks one after the other."""

    def usage(self) -> dict[str, Any]:
        """Return the billed tokens."""
        return {
            "input_tokens": self.ask.prompt_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": self.output_tokens(),
        }

    def whole(self) -> bytes:
        """Return the response as one JSON body."""
        content: list[dict[str, Any]] = []
        if self.ask.thinks:
            content.append({"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE})
        if self.ask.call is not None:
            content.append({**self._call(), "input": json.loads(self.ask.call.arguments)})
        else:
            content.append({"type": "text", "text": self.text()})
        return dumps({**self._message(content), "stop_reason": self._reason(), "usage": self.usage()})

    def opening(self) -> list[bytes]:
        """Return the preamble, which a provider sends before it knows whether it can answer."""
        message = {**self._message([]), "usage": {**self.usage(), "output_tokens": 1}}
        return [self._event("message_start", message=message), self._event("ping")]

    def content(self) -> Iterator[bytes]:
        """Yield the events that carry content, each block with its bounds."""
        index = 0
        if self.ask.thinks:
            yield self._event(
                "content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""}
            )
            yield self._added(0, type="thinking_delta", thinking=THOUGHT)
            yield self._added(0, type="signature_delta", signature=SIGNATURE)
            yield self._event("content_block_stop", index=0)
            index = 1
        if self.ask.call is not None:
            yield self._event("content_block_start", index=index, content_block={**self._call(), "input": {}})
            for position in range(0, len(self.ask.call.arguments), 8):
                piece = self.ask.call.arguments[position : position + 8]
                yield self._added(index, type="input_json_delta", partial_json=piece)
            return
        yield self._event("content_block_start", index=index, content_block={"type": "text", "text": ""})
        for token in self.tokens():
            yield self._added(index, type="text_delta", text=token)

    def closing(self) -> list[bytes]:
        """Return the events after the content."""
        return [
            self._event("content_block_stop", index=1 if self.ask.thinks else 0),
            self._event(
                "message_delta",
                delta={"stop_reason": self._reason(), "stop_sequence": None},
                usage={"output_tokens": self.output_tokens()},
            ),
            self._event("message_stop"),
        ]

    def failure(self, error: dict[str, Any]) -> bytes:
        """Return an error as an event within a stream."""
        inner = error.get("error", error)
        return self._event("error", error={"type": "overloaded_error", "message": inner.get("message")})

    def _reason(self) -> str:
        return "end_turn" if self.ask.call is None else "tool_use"

    def _call(self) -> dict[str, Any]:
        return {"type": "tool_use", "id": f"toolu_{self.serial}", "name": self.ask.call.name if self.ask.call else ""}

    def _message(self, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": f"msg_{self.serial}",
            "type": "message",
            "role": "assistant",
            "model": self.ask.model,
            "content": content,
            "stop_reason": None,
            "stop_sequence": None,
        }

    def _added(self, index: int, **delta: Any) -> bytes:
        return self._event("content_block_delta", index=index, delta=delta)

    @staticmethod
    def _event(kind: str, **fields: Any) -> bytes:
        return event({"type": kind, **fields}, kind)


class TokenCount(Messages):
    """A response of Anthropic's count_tokens."""

    def whole(self) -> bytes:
        """Return the response as one JSON body."""
        return dumps({"input_tokens": self.ask.prompt_tokens})


class Generate(Answer):
    """A response of Gemini's generateContent: each event is a whole answer with what is new in it."""

    def usage(self) -> dict[str, Any]:
        """Return the billed tokens; those of thoughts come on top."""
        thoughts = 3 if self.ask.thinks else 0
        output = max(self.output_tokens() - thoughts, 0)
        usage = {"promptTokenCount": self.ask.prompt_tokens, "candidatesTokenCount": output}
        if thoughts:
            usage["thoughtsTokenCount"] = thoughts
        return {**usage, "totalTokenCount": self.ask.prompt_tokens + output + thoughts}

    def whole(self) -> bytes:
        """Return the response as one JSON body."""
        parts: list[dict[str, Any]] = [{"text": THOUGHT, "thought": True}] if self.ask.thinks else []
        parts.append(self._call() if self.ask.call is not None else self._signed({"text": self.text()}))
        return dumps({**self._answer(parts, "STOP"), "usageMetadata": self.usage()})

    def opening(self) -> list[bytes]:
        """Return nothing: a stream begins with content."""
        return []

    def content(self) -> Iterator[bytes]:
        """Yield the events that carry content."""
        if self.ask.thinks:
            yield event(self._answer([{"text": THOUGHT, "thought": True}]))
        if self.ask.call is not None:
            yield event(self._answer([self._call()]))
            return
        signed = self.ask.thinks
        for token in self.tokens():
            yield event(self._answer([self._signed({"text": token}) if signed else {"text": token}]))
            signed = False

    def closing(self) -> list[bytes]:
        """Return the last event: the reason and the usage."""
        return [event({**self._answer([{"text": ""}], "STOP"), "usageMetadata": self.usage()})]

    def failure(self, error: dict[str, Any]) -> bytes:
        """Return an error as an event within a stream."""
        inner = error.get("error", error)
        return event({"error": {"code": 503, "message": inner.get("message"), "status": "UNAVAILABLE"}})

    def _signed(self, part: dict[str, Any]) -> dict[str, Any]:
        return {**part, "thoughtSignature": SIGNATURE} if self.ask.thinks else part

    def _call(self) -> dict[str, Any]:
        call = self.ask.call
        if call is None:
            raise RuntimeError("a call that was not asked for")
        return self._signed({"functionCall": {"name": call.name, "args": json.loads(call.arguments)}})

    def _answer(self, parts: list[dict[str, Any]], reason: str | None = None) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if reason is not None:
            candidate["finishReason"] = reason
        return {"candidates": [candidate], "modelVersion": self.ask.model, "responseId": self.serial}


class EmbedContent(Embeddings):
    """A response of Gemini's embedContent."""

    def whole(self) -> bytes:
        """Return the response as one JSON body."""
        return dumps({"embedding": {"values": self.vector(0)}, "usageMetadata": self._prompt_usage()})

    def _prompt_usage(self) -> dict[str, int]:
        return {"promptTokenCount": self.ask.prompt_tokens}


class EmbedContents(EmbedContent):
    """A response of Gemini's batchEmbedContents."""

    def whole(self) -> bytes:
        """Return the response as one JSON body."""
        vectors = [{"values": self.vector(place)} for place in range(self.ask.inputs)]
        return dumps({"embeddings": vectors, "usageMetadata": self._prompt_usage()})


class ContentTokens(Generate):
    """A response of Gemini's countTokens."""

    def whole(self) -> bytes:
        """Return the response as one JSON body."""
        return dumps({"totalTokens": self.ask.prompt_tokens})


def error_in(path: str, status: int, body: dict[str, Any]) -> dict[str, Any]:
    """Return an error in the format of the API that a path belongs to; ``body`` is OpenAI's."""
    message = body.get("error", body).get("message")
    if path.startswith("/v1/messages"):
        kinds = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
                 404: "not_found_error", 429: "rate_limit_error", 529: "overloaded_error"}  # fmt: skip
        return {"type": "error", "error": {"type": kinds.get(status, "api_error"), "message": message}}
    if ":" in path:
        words = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
                 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}  # fmt: skip
        return {"error": {"code": status, "message": message, "status": words.get(status, "INTERNAL")}}
    return body


LANGUAGES: dict[str, type[Answer]] = {
    "chat": Answer,
    "completions": Completion,
    "embeddings": Embeddings,
    "responses": Responses,
    "messages": Messages,
    "count_tokens": TokenCount,
    "generate": Generate,
    "embedContent": EmbedContent,
    "batchEmbedContents": EmbedContents,
    "countTokens": ContentTokens,
    **media_answers.LANGUAGES,
}
"""The format of each operation."""
