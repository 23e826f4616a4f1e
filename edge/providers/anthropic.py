"""What must be known of Anthropic, asked in OpenAI's dialect?

Facts: https://docs.anthropic.com/en/api/openai-sdk (an OpenAI-compatible layer under https://api.anthropic.com/v1/ with
an Anthropic key as Bearer; ``response_format`` is ignored, so no ``json`` here; meant for evaluation, the native API
has more). ``GET /v1/models`` is documented with ``x-api-key`` and ``anthropic-version`` only, so there is no free probe
in this dialect: real requests tell.

An empty account is a 400 whose message begins ``Your credit balance is too low`` (anthropics/claude-code issue 66314,
continuedev/continue issue 5499); 402 billing_error also exists. 529 is overload and stands in the general table.
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
)
