"""Anthropic.

Facts: https://docs.anthropic.com/en/api/messages (messages under https://api.anthropic.com/v1, key in ``x-api-key``,
``anthropic-version`` required). ``GET /v1/models`` requires ``anthropic-version`` too, which a probe does not send, so
there is no free probe: only real requests show whether the provider is healthy.

An exhausted account is reported as a 400 whose message begins with ``Your credit balance is too low``
(anthropics/claude-code issue 66314, continuedev/continue issue 5499); 402 billing_error also exists. 529 means overload
and is in the general table.

Prices: https://platform.claude.com/docs/en/models/overview and each model's own page; a cache read costs a tenth of the
prompt. The most tokens of an answer, and the context window, stand on the same pages.
"""

from __future__ import annotations

from typing import Final

from edge.terms.actions import ACTION_QUARANTINE
from edge.terms.places import Hint, Provider

PROVIDER: Final = Provider(
    name="anthropic",
    base_url="https://api.anthropic.com/v1",
    dialect="anthropic",
    jurisdiction="us",
    capabilities=("batches", "chat", "files", "images", "json", "tools"),
    chat_model="claude-haiku-4-5",
    key_variables=("ANTHROPIC_API_KEY",),
    url_variable="ANTHROPIC_BASE_URL",
    hints=(
        Hint(400, b':"Your credit balance is too low', ACTION_QUARANTINE, ACTION_QUARANTINE),
        Hint(400, b': "Your credit balance is too low', ACTION_QUARANTINE, ACTION_QUARANTINE),
    ),
    prices={
        "claude-fable-5-1": (10.0, 50.0, 1.0),
        "claude-opus-5-5": (4.0, 20.0, 0.4),
        "claude-opus-5": (5.0, 25.0, 0.5),
        "claude-opus-4-6": (5.0, 25.0, 0.5),
        "claude-opus-4-5": (5.0, 25.0, 0.5),
        "claude-sonnet-5-5": (2.0, 10.0, 0.2),
        "claude-sonnet-5": (2.0, 10.0, 0.2),
        "claude-sonnet-4-6": (3.0, 15.0, 0.3),
        "claude-sonnet-4-5": (3.0, 15.0, 0.3),
        "claude-haiku-4-5": (1.0, 5.0, 0.1),
    },
    priced="2026-11-22",
    status_page="https://status.claude.com/api/v2/summary.json",
    windows={
        **dict.fromkeys(("claude-fable-5-1", "claude-opus-5-5", "claude-opus-5", "claude-opus-4-6"), 1_000_000),
        **dict.fromkeys(("claude-sonnet-5-5", "claude-sonnet-5", "claude-sonnet-4-6"), 1_000_000),
        **dict.fromkeys(("claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5"), 200_000),
    },
    max_outputs={
        **dict.fromkeys(("claude-fable-5-1", "claude-opus-5-5", "claude-opus-5", "claude-opus-4-6"), 128_000),
        **dict.fromkeys(("claude-sonnet-5-5", "claude-sonnet-5", "claude-sonnet-4-6"), 128_000),
        **dict.fromkeys(("claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5"), 64_000),
    },
    media="anthropic",
)
