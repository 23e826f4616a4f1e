"""Anthropic.

Facts: https://docs.anthropic.com/en/api/messages (messages under https://api.anthropic.com/v1, key in ``x-api-key``,
``anthropic-version`` required, in ``GET /v1/models`` too).

An exhausted account is reported as a 400 whose message begins with ``Your credit balance is too low``
(anthropics/claude-code issue 66314, continuedev/continue issue 5499); 402 billing_error also exists. 529 means overload
and is in the general table.

Prices: https://platform.claude.com/docs/en/models/overview and each model's own page, as are the most tokens of an
answer and the context window. A cache read costs a tenth of the prompt, of Opus 5.5 a twentieth and of Fable 5.1 a
fortieth (https://platform.claude.com/docs/en/about-claude/pricing). Those of Haiku 5.5 are those for prompts over
100,000 tokens, so that a budget is not overspent; up to there they are a fifth. Thoughts are billed as output, and
pictures as text.
"""

from __future__ import annotations

from typing import Final

from edge.terms.actions import ACTION_QUARANTINE
from edge.terms.places import Hint, Provider

_LONG: Final = (
    "claude-fable-5-1",
    "claude-fable-5",
    "claude-opus-5-5",
    "claude-opus-5",
    "claude-opus-4-8",
    "claude-opus-4-7",
    "claude-opus-4-6",
    "claude-sonnet-5-5",
    "claude-sonnet-5",
    "claude-sonnet-4-6",
    "claude-haiku-5-5",
)
_SHORT: Final = ("claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5")
PROVIDER: Final = Provider(
    name="anthropic",
    base_url="https://api.anthropic.com/v1",
    dialect="anthropic",
    jurisdiction="us",
    capabilities=("batches", "chat", "files", "images", "json", "tools"),
    probe="/models",
    chat_model="claude-haiku-4-5",
    key_variables=("ANTHROPIC_API_KEY",),
    url_variable="ANTHROPIC_BASE_URL",
    hints=(
        Hint(400, b':"Your credit balance is too low', ACTION_QUARANTINE, ACTION_QUARANTINE),
        Hint(400, b': "Your credit balance is too low', ACTION_QUARANTINE, ACTION_QUARANTINE),
    ),
    prices={
        "claude-fable-5-1": (10.0, 50.0, 0.25),
        "claude-fable-5": (10.0, 50.0, 1.0),
        "claude-opus-5-5": (4.0, 20.0, 0.2),
        "claude-opus-5": (5.0, 25.0, 0.5),
        "claude-opus-4-8": (5.0, 25.0, 0.5),
        "claude-opus-4-7": (5.0, 25.0, 0.5),
        "claude-opus-4-6": (5.0, 25.0, 0.5),
        "claude-opus-4-5": (5.0, 25.0, 0.5),
        "claude-sonnet-5-5": (2.0, 10.0, 0.2),
        "claude-sonnet-5": (2.0, 10.0, 0.2),
        "claude-sonnet-4-6": (3.0, 15.0, 0.3),
        "claude-sonnet-4-5": (3.0, 15.0, 0.3),
        "claude-haiku-5-5": (0.5, 2.5, 0.05),
        "claude-haiku-4-5": (1.0, 5.0, 0.1),
    },
    priced="2026-12-01",
    status_page="https://status.claude.com/api/v2/summary.json",
    windows={**dict.fromkeys(_LONG, 1_000_000), **dict.fromkeys(_SHORT, 200_000)},
    max_outputs={**dict.fromkeys(_LONG, 128_000), **dict.fromkeys(_SHORT, 64_000)},
    media="anthropic",
    limit_fields=("anthropic-ratelimit-",),
)
