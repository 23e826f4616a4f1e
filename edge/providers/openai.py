"""OpenAI.

Facts: https://platform.openai.com/docs/api-reference (base URL, Bearer key, ``GET /v1/models``). Model names follow the
deprecations page of 2026-04-22, which names gpt-4.1-mini as the successor of the small models it retires.

A 429 with code ``insufficient_quota`` reports an unpaid bill, not a rate limit, so waiting does not help (the API's
error guide lists it beside the rate limit; langchain-ai/langchainjs issue 1929 shows the effect of retrying it). A 403
with ``model_not_found`` names a model that the key may not use.

Prices: https://developers.openai.com/api/docs/pricing, standard tier. Context windows and the most tokens of an answer:
each model's page under https://developers.openai.com/api/docs/models, compared on 2026-12-01 with providers/openai of
github.com/anomalyco/models.dev (as of 2026-07-02). gpt-5.4 and later cost twice as much from prompts of 272,000 tokens
on, which is not counted. Reasoning is billed as output (https://developers.openai.com/api/docs/guides/reasoning).
Pictures in a prompt are billed as text, and those that gpt-image-1-mini makes as output; its prompt has the price of a
picture, which is more than that of text (https://developers.openai.com/api/docs/models/gpt-image-1-mini, 2026-12-01).
"""

from __future__ import annotations

from typing import Final

from edge.terms.actions import ACTION_CLIENT, ACTION_MISCONFIGURED, ACTION_QUARANTINE
from edge.terms.places import Hint, Provider

PROVIDER: Final = Provider(
    name="openai",
    base_url="https://api.openai.com/v1",
    jurisdiction="us",
    capabilities=(
        "batches",
        "chat",
        "completions",
        "conversations",
        "embeddings",
        "files",
        "fine_tuning",
        "image",
        "images",
        "json",
        "moderation",
        "responses",
        "speech",
        "tools",
        "transcription",
        "translation",
        "vector_stores",
    ),
    probe="/models",
    chat_model="gpt-4.1-mini",
    embed_model="text-embedding-3-small",
    key_variables=("OPENAI_API_KEY",),
    url_variable="OPENAI_BASE_URL",
    hints=(
        Hint(429, b'"insufficient_quota"', ACTION_QUARANTINE, ACTION_QUARANTINE),
        Hint(403, b'"model_not_found"', ACTION_MISCONFIGURED, ACTION_CLIENT),
    ),
    prices={
        "gpt-6.2-sol": (2.0, 10.0, 0.1),
        "gpt-6.1-sol": (2.0, 10.0, 0.1),
        "gpt-5.6-luna": (0.2, 1.2, 0.02),
        "gpt-5.4": (2.5, 15.0, 0.25),
        "gpt-5.1": (1.25, 10.0, 0.125),
        "gpt-5": (1.25, 10.0, 0.125),
        "gpt-5-mini": (0.25, 2.0, 0.025),
        "gpt-5-nano": (0.05, 0.4, 0.005),
        "gpt-4.1": (2.0, 8.0, 0.5),
        "gpt-4.1-mini": (0.4, 1.6, 0.1),
        "gpt-4.1-nano": (0.1, 0.4, 0.025),
        "gpt-4o": (2.5, 10.0, 1.25),
        "gpt-4o-2024-05-13": (5.0, 15.0),
        "gpt-4o-mini": (0.15, 0.6, 0.075),
        "o3": (2.0, 8.0, 0.5),
        "o4-mini": (1.1, 4.4, 0.275),
        "gpt-image-1-mini": (2.5, 8.0, 0.25),
        "text-embedding-3-large": (0.13, 0.0),
        "text-embedding-3-small": (0.02, 0.0),
    },
    priced="2026-12-01",
    status_page="https://status.openai.com/api/v2/summary.json",
    windows={
        **dict.fromkeys(("gpt-6.2-sol", "gpt-6.1-sol", "gpt-5.6-luna", "gpt-5.4"), 1_050_000),
        **dict.fromkeys(("gpt-5.1", "gpt-5", "gpt-5-mini", "gpt-5-nano"), 400_000),
        **dict.fromkeys(("gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano"), 1_047_576),
        **dict.fromkeys(("gpt-4o", "gpt-4o-2024-05-13", "gpt-4o-mini"), 128_000),
        **dict.fromkeys(("o3", "o4-mini"), 200_000),
    },
    max_outputs={
        **dict.fromkeys(("gpt-6.2-sol", "gpt-6.1-sol", "gpt-5.6-luna", "gpt-5.4"), 128_000),
        **dict.fromkeys(("gpt-5.1", "gpt-5", "gpt-5-mini", "gpt-5-nano"), 128_000),
        **dict.fromkeys(("gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano"), 32_768),
        **dict.fromkeys(("gpt-4o", "gpt-4o-mini"), 16_384),
        "gpt-4o-2024-05-13": 4_096,
        **dict.fromkeys(("o3", "o4-mini"), 100_000),
    },
    limit_fields=("x-ratelimit-",),
)
