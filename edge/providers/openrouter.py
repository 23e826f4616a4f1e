"""OpenRouter, which asks providers of its own choice.

Facts: https://openrouter.ai/docs/api-reference/overview (base URL, Bearer key, ``GET /api/v1/models``).
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import Provider

PROVIDER: Final = Provider(
    name="openrouter",
    base_url="https://openrouter.ai/api/v1",
    status_page="https://status.openrouter.ai/incidents.rss",
    jurisdiction="us",
    capabilities=("chat", "completions", "images", "json", "tools"),
    probe="/models",
    limit_fields=("x-ratelimit-",),
    lacks={
        "windows": "they are those of the provider that it chooses",
        "prices": "they are those of the provider that it chooses",
        "hints": "its refusals have the wordings of all",
    },
)
