"""OpenRouter, which asks providers of its own choice.

Facts: https://openrouter.ai/docs/api-reference/overview (base URL, Bearer key, ``GET /api/v1/models``).

Prices and context windows: github.com/anomalyco/models.dev, providers/openrouter and models as of 2026-07-02, of models
that one maker serves at one price; where prompts over 200,000 tokens cost more, they are those. What several providers
serve costs what the one costs that OpenRouter chooses: such models have no price here.
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import Provider

_OF_CLAUDE: Final = ("anthropic/claude-opus-4.8", "anthropic/claude-sonnet-5", "anthropic/claude-sonnet-4.6")
PROVIDER: Final = Provider(
    name="openrouter",
    base_url="https://openrouter.ai/api/v1",
    status_page="https://status.openrouter.ai/incidents.rss",
    jurisdiction="us",
    capabilities=("chat", "completions", "images", "json", "tools"),
    probe="/models",
    limit_fields=("x-ratelimit-",),
    prices={
        "anthropic/claude-opus-4.8": (5.0, 25.0, 0.5),
        "anthropic/claude-sonnet-5": (2.0, 10.0, 0.2),
        "anthropic/claude-sonnet-4.6": (6.0, 22.5, 0.6),
        "anthropic/claude-haiku-4.5": (1.0, 5.0, 0.1),
        "openai/gpt-5.4": (2.5, 15.0, 0.25),
        "openai/gpt-5.1": (1.25, 10.0, 0.13),
        "openai/gpt-5-mini": (0.25, 2.0, 0.025),
        "openai/gpt-4.1-mini": (0.4, 1.6, 0.1),
        "google/gemini-3.1-pro-preview": (4.0, 18.0, 0.4),
        "google/gemini-2.5-flash": (0.3, 2.5, 0.03),
        "x-ai/grok-4.3": (2.5, 5.0, 0.4),
    },
    priced="2026-07-02",
    windows={
        **dict.fromkeys(_OF_CLAUDE, 1_000_000),
        "anthropic/claude-haiku-4.5": 200_000,
        "openai/gpt-5.4": 1_050_000,
        **dict.fromkeys(("openai/gpt-5.1", "openai/gpt-5-mini"), 400_000),
        "openai/gpt-4.1-mini": 1_047_576,
        **dict.fromkeys(("google/gemini-3.1-pro-preview", "google/gemini-2.5-flash"), 1_048_576),
        "x-ai/grok-4.3": 1_000_000,
    },
    max_outputs={
        **dict.fromkeys(_OF_CLAUDE, 128_000),
        "anthropic/claude-haiku-4.5": 64_000,
        **dict.fromkeys(("openai/gpt-5.4", "openai/gpt-5.1", "openai/gpt-5-mini"), 128_000),
        "openai/gpt-4.1-mini": 32_768,
        "google/gemini-3.1-pro-preview": 65_536,
        "google/gemini-2.5-flash": 65_535,
        "x-ai/grok-4.3": 1_000_000,
    },
    lacks={
        "hints": "its refusals have the wordings of all",
    },
)
