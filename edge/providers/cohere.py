"""Cohere, called through its OpenAI-compatible API.

Facts: https://docs.cohere.com/docs/compatibility-api (base URL, Bearer key).

Prices and context windows: github.com/anomalyco/models.dev, providers/cohere and models/cohere as of 2026-07-02.
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import Provider

PROVIDER: Final = Provider(
    name="cohere",
    base_url="https://api.cohere.ai/compatibility/v1",
    jurisdiction="ca",
    capabilities=("chat", "embeddings", "json", "tools"),
    probe="",
    prices={
        "command-a-plus-05-2026": (2.5, 10.0),
        "command-a-03-2025": (2.5, 10.0),
        "command-a-reasoning-08-2025": (2.5, 10.0),
        "command-a-vision-07-2025": (2.5, 10.0),
        "command-r-plus-08-2024": (2.5, 10.0),
        "command-r-08-2024": (0.15, 0.6),
        "command-r7b-12-2024": (0.0375, 0.15),
    },
    priced="2026-07-02",
    windows={
        **dict.fromkeys(("command-a-03-2025", "command-a-reasoning-08-2025"), 256_000),
        **dict.fromkeys(("command-a-plus-05-2026", "command-a-vision-07-2025"), 128_000),
        **dict.fromkeys(("command-r-plus-08-2024", "command-r-08-2024", "command-r7b-12-2024"), 128_000),
    },
    max_outputs={
        "command-a-plus-05-2026": 64_000,
        "command-a-reasoning-08-2025": 32_000,
        **dict.fromkeys(("command-a-03-2025", "command-a-vision-07-2025"), 8_000),
        **dict.fromkeys(("command-r-plus-08-2024", "command-r-08-2024", "command-r7b-12-2024"), 4_000),
    },
    lacks={
        "probe": "its documents name no list of models under this base URL",
        "limit_fields": "its documents name none",
        "hints": "its refusals have the wordings of all",
        "status_page": "no document of https://status.cohere.com was checked",
    },
)
