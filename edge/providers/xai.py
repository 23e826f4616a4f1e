"""xAI, called through its OpenAI-compatible API.

Facts: https://docs.x.ai/docs/api-reference (base URL, Bearer key, ``GET /v1/models``).

Prices and context windows: github.com/anomalyco/models.dev, providers/xai as of 2026-07-02; grok-4.6 and grok-4.7 are
in later files of it, which cite https://docs.x.ai/developers/pricing and each model's page (grok-4.7: 2026-09-21). The
prices are those for prompts over 200,000 tokens, which are twice as high, so that a budget is not overspent. Reasoning
is billed as output; pictures that a model makes are billed each, so those models have no price here.
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import Provider

_OF_A_MILLION: Final = (
    "grok-4.3",
    "grok-4.20-0309-reasoning",
    "grok-4.20-0309-non-reasoning",
    "grok-4.20-multi-agent-0309",
)
PROVIDER: Final = Provider(
    name="xai",
    base_url="https://api.x.ai/v1",
    status_page="https://status.x.ai/feed.xml",
    jurisdiction="us",
    capabilities=("chat", "image", "images", "json", "responses", "tools"),
    probe="/models",
    limit_fields=("x-ratelimit-",),
    prices={
        "grok-4.7": (4.0, 12.0, 1.0),
        "grok-4.6": (4.0, 12.0, 1.0),
        "grok-4.5": (4.0, 12.0, 1.0),
        "grok-4.3": (2.5, 5.0, 0.4),
        "grok-4.20-0309-reasoning": (2.5, 5.0, 0.4),
        "grok-4.20-0309-non-reasoning": (2.5, 5.0, 0.4),
        "grok-4.20-multi-agent-0309": (2.5, 5.0, 0.4),
        "grok-build-0.1": (2.0, 4.0, 0.4),
    },
    priced="2026-07-02",
    windows={
        **dict.fromkeys(("grok-4.7", "grok-4.6", "grok-4.5"), 500_000),
        **dict.fromkeys(_OF_A_MILLION, 1_000_000),
        "grok-build-0.1": 256_000,
    },
    max_outputs={
        **dict.fromkeys(("grok-4.7", "grok-4.6", "grok-4.5"), 500_000),
        **dict.fromkeys(_OF_A_MILLION, 30_000),
        "grok-build-0.1": 256_000,
    },
    lacks={
        "hints": "its refusals have the wordings of all",
    },
)
