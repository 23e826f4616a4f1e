"""What must be known of OpenAI?

Facts: https://platform.openai.com/docs/api-reference (base URL, Bearer key, ``GET /v1/models``); model names after the
deprecations page of 2026-04-22, which names gpt-4.1-mini as the successor of the small models it retires.

A 429 with code ``insufficient_quota`` is a bill, not a rate: waiting does not help (the API's error guide lists it
beside the rate limit; langchain-ai/langchainjs issue 1929 shows what retrying it does). A 403 with
``model_not_found`` is a model this key may not use.
"""

from __future__ import annotations

from typing import Final

from edge.terms.actions import ACTION_CLIENT, ACTION_MISCONFIGURED, ACTION_OUT
from edge.terms.places import Hint, Provider

PROVIDER: Final = Provider(
    name="openai",
    base_url="https://api.openai.com/v1",
    jurisdiction="us",
    capabilities=("chat", "completions", "embeddings", "images", "json", "responses", "tools"),
    probe="/models",
    chat_model="gpt-4.1-mini",
    embed_model="text-embedding-3-small",
    key_variables=("OPENAI_API_KEY",),
    url_variable="OPENAI_BASE_URL",
    hints=(
        Hint(429, b'"insufficient_quota"', ACTION_OUT, ACTION_OUT),
        Hint(403, b'"model_not_found"', ACTION_MISCONFIGURED, ACTION_CLIENT),
    ),
)
