"""What a modelled provider writes, in the dialect of its target: the simulated providers' bodies in two pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from edge.sim.answers import Answer, Responses, dumps, error_body
from edge.sim.asked import Ask, Operation, Pace
from edge.sim.vendor_answers import Generate, Messages, error_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.drills.load import Request
    from edge.drills.upstream import Plan
    from edge.terms.snapshot import Target

JSON: Final = (b"content-type", b"application/json")
EVENTS: Final = (b"content-type", b"text/event-stream")
_ERROR_PATHS: Final = {"anthropic": "/v1/messages", "gemini": "/v1beta/models/m:generateContent"}
_OPERATIONS: Final[dict[str, Operation]] = {
    "openai": "chat",
    "responses": "responses",
    "anthropic": "messages",
    "gemini": "generate",
}


def _pieces(answer: Answer) -> Iterator[str]:
    yield "Well"
    if answer.ask.pace.tokens > 1:
        yield " then" * (answer.ask.pace.tokens - 1)


class _Chat(Answer):
    tokens = _pieces


class _Responses(Responses):
    tokens = _pieces


class _Messages(Messages):
    tokens = _pieces


class _Generate(Generate):
    tokens = _pieces


_LANGUAGES: Final[dict[Operation, type[Answer]]] = {
    "chat": _Chat,
    "responses": _Responses,
    "messages": _Messages,
    "generate": _Generate,
}


def written(target: Target, request: Request) -> tuple[bytes, bytes]:
    """Return a good answer: up to the first content, and the rest; a whole answer has nothing in its first part."""
    operation = _OPERATIONS[target.dialect]
    ask = Ask(
        operation=operation,
        path="",
        model=target.model or "drill",
        stream=request.stream,
        include_usage=True,
        pace=Pace(tokens=request.answer),
        prompt_tokens=request.prompt,
        inputs=1,
        dimensions=1,
        base64=False,
    )
    answer = _LANGUAGES[operation](ask, target.provider, f"{request.number:x}", 0)
    if not request.stream:
        return b"", answer.whole()
    content = answer.content()
    first = b"".join([*answer.opening(), next(content)])
    return first, b"".join([*content, *answer.closing()])


def refusal(target: Target, plan: Plan) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the fields and the body of an error."""
    error: dict[str, Any] = error_body(plan.message, plan.code, code=plan.code)
    body = dumps(error_in(_ERROR_PATHS.get(target.dialect, ""), plan.status, error))
    fields = [JSON, (b"content-length", str(len(body)).encode())]
    if plan.retry_after:
        fields.append((b"retry-after", str(plan.retry_after).encode()))
    return fields, body
