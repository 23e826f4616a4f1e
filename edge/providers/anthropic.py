"""What must be known of Anthropic, asked in OpenAI's dialect?

Facts: https://docs.anthropic.com/en/api/openai-sdk (an OpenAI-compatible layer under https://api.anthropic.com/v1/ with
an Anthropic key as Bearer; ``response_format`` is ignored, so no ``json`` here; meant for evaluation, the native API
has more). ``GET /v1/models`` is documented with ``x-api-key`` and ``anthropic-version`` only, so there is no free probe
in this dialect: real requests tell.

An empty account is a 400 whose message begins ``Your credit balance is too low`` (anthropics/claude-code issue 66314,
continuedev/continue issue 5499); 402 billing_error also exists. 529 is overload and stands in the general table.

Prices: https://platform.claude.com/docs/en/models/overview and each model's own page, without cache reads.
"""

from __future__ import annotations

from typing import Final

from edge.terms.actions import ACTION_OUT
from edge.terms.places import Hint, Provider

PROVIDER: Final = Provider(
    name="anthropic",
    base_url="https://api.anthropic.com/v1",
    jurisdiction="us",
    capabilities=("chat", "images", "tools"),
    chat_model="claude-haiku-4-5",
    key_variables=("ANTHROPIC_API_KEY",),
    url_variable="ANTHROPIC_BASE_URL",
    hints=(
        Hint(400, b':"Your credit balance is too low', ACTION_OUT, ACTION_OUT),
        Hint(400, b': "Your credit balance is too low', ACTION_OUT, ACTION_OUT),
    ),
    prices={
        "claude-fable-5-1": (10.0, 50.0),
        "claude-opus-5-5": (4.0, 20.0),
        "claude-opus-5": (5.0, 25.0),
        "claude-opus-4-6": (5.0, 25.0),
        "claude-opus-4-5": (5.0, 25.0),
        "claude-sonnet-5-5": (2.0, 10.0),
        "claude-sonnet-5": (2.0, 10.0),
        "claude-sonnet-4-6": (3.0, 15.0),
        "claude-sonnet-4-5": (3.0, 15.0),
        "claude-haiku-4-5": (1.0, 5.0),
    },
    priced="2026-11-22",
)
