"""What the error texts of providers mean, beyond their status, in words that many providers share.

A 402, 403, 404 or 429 may be about edge's account, about the configured model, or about one request. The request's own
refusals must not take a target from other callers, and texts about the account or the model act at once. The first
wording that fits counts. A text that no wording knows is judged by its status (``edge.balance.outcomes``).

Texts are those of OpenAI, Azure, Anthropic, Gemini, DeepSeek, xAI, Groq, OpenRouter, Alibaba, vLLM and llama.cpp, as
their documents and public reports show them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.terms.actions import (
    ACTION_CLIENT,
    ACTION_DECLINED,
    ACTION_MISCONFIGURED,
    ACTION_QUARANTINE,
    ACTION_TOO_LONG,
    ACTION_UNCLEAR,
)
from edge.terms.places import Wording

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONTENT: Final = (400, 403, 404, 422)
_LENGTH: Final = (400, 413, 422)


def _each(
    statuses: tuple[int, ...], texts: tuple[str, ...], action: int, wildcard: int | None = None
) -> Iterator[Wording]:
    """Return a wording for each text; words that must all occur are separated by ``...``."""
    for text in texts:
        words = tuple(word.encode() for word in text.split("..."))
        yield Wording(statuses, words, action, action if wildcard is None else wildcard)


def _all() -> Iterator[Wording]:
    # the account
    yield from _each(
        (402,),
        ('"insufficient balance"', ':"insufficient credits', ': "insufficient credits', '"billing_error"'),
        ACTION_QUARANTINE,
    )
    yield from _each(
        (403,),
        ('"account_deactivated"', '"billing_not_active"', '"unsupported_country_region_territory"'),
        ACTION_QUARANTINE,
    )
    yield from _each((429,), ('"insufficient_quota"', '"billing_not_active"'), ACTION_QUARANTINE)
    # the configured model
    yield from _each(
        (403, 404),
        (
            '"model_not_found"', '"deploymentnotfound"',
            ':"the model `...does not exist', ': "the model `...does not exist',
            ':"model: ', ': "model: ',
            ':"models/...is not found for api version', ': "models/...is not found for api version',
        ),
        ACTION_MISCONFIGURED,
        ACTION_CLIENT,
    )  # fmt: skip
    # An account that was closed for what it was used for, and a place from which a provider takes no requests: these
    # resemble refusals of content or of a capability.
    yield from _each(
        (403,),
        (
            "account...suspend", "account...deactivat", "account...disabled", "account...banned", "account...terminat",
            "organization...disabled", "organization...suspend", "your country", "your region",
        ),
        ACTION_UNCLEAR,
        ACTION_CLIENT,
    )  # fmt: skip
    # what another account keeps: Gemini says it so
    yield from _each((403,), ("cachedcontent not found", "cached content not found"), ACTION_DECLINED)
    # what the content may not be: never offered to another target
    yield from _each(
        _CONTENT,
        (
            "content_policy", "content policy", "content policies", "content_filter", "content filter",
            "content management policy", "usage guidelines", "usage policy", "usage policies", "acceptable use",
            "moderation", "flagged", "safety system", "safety guidelines", "safety policy", "safety reasons",
            "prohibited_content", "prohibited content", "prohibited use", "inappropriate content",
            "inappropriate_content", "harmful content", "responsibleaipolicyviolation", "data_inspection_failed",
            "content exists risk", "content violat", "violates our", "violation of our", "violates the terms",
        ),
        ACTION_CLIENT,
    )  # fmt: skip
    # longer than the target's context window
    yield from _each(
        _LENGTH,
        (
            "context_length_exceeded", "context length", "context_length", "context window", "context_window",
            "maximum context", "available context size", "exceed_context_size", "prompt is too long",
            "input is too long", "input token count", "exceeds the maximum number of tokens",
            "reduce the length of the messages", "reduce the length of the input", "range of input length should be",
            "too many input tokens", "maximum prompt length", "longer than the model",
        ),
        ACTION_TOO_LONG,
    )  # fmt: skip
    # this request, at this target
    yield from _each(
        (402,),
        ("max_tokens", "can only afford", "requires more credits", "requested up to", "tokens limit exceeded"),
        ACTION_DECLINED,
    )
    yield from _each(
        (404,),
        (
            "endpoints found that", "vector store", "vector_store", "with id", "previous_response", "previous response",
            "conversation", "file object", "file not found", "no file found", "no such file", "file_id", "batch",
            "thread", "assistant", "container", "cached content", "cachedcontent",
            *(f"support...{what}" for what in (
                "image", "vision", "audio", "video", "pdf", "file", "tool", "function", "modalit", "parameter",
                "reasoning", "json", "response_format", "system message", "streaming",
            )),
        ),
        ACTION_DECLINED,
    )  # fmt: skip
    yield from _each(
        (400, 422),
        (
            "image input", "not support image", "not support vision", "not support audio", "not support video",
            "not support file", "not support pdf", "not support tool", "not support function", "not a multimodal",
            "not support multimodal", "not support system messages", "not support response_format",
            "not support json", "not support structured",
        ),
        ACTION_DECLINED,
    )  # fmt: skip
    yield from _each(
        (413, 429),
        (
            "request too large", "request is too large", "too large for", "must be reduced", "reduce your message",
            "reduce your prompt", "reduce the length", "reduce the size", "per-request limit", "tokens per request",
            "a single request",
        ),
        ACTION_DECLINED,
    )  # fmt: skip


WORDINGS: Final[tuple[Wording, ...]] = tuple(_all())
"""All wordings, in the order in which they are tried."""
