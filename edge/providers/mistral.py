"""Mistral AI, called through its OpenAI-compatible API.

Facts: https://docs.mistral.ai/api (base URL, Bearer key, ``GET /v1/models``). An assistant's last message with
``prefix: true`` is continued; the answer repeats it.

Prices and context windows: github.com/anomalyco/models.dev, providers/mistral as of 2026-07-02; mistral-medium-3-5,
ministral-8b-2512 and mistral-large-4 are in later files of it, which cite https://docs.mistral.ai (read there on
2026-08-27, 2026-08-27 and 2026-10-06). mistral-large-4 has its list price, of which its preview costs half; its window
was not found. What mistral-medium-latest names has changed: its price is that of the dearer, mistral-medium-2604.
Reasoning is billed as output.
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import Provider

PROVIDER: Final = Provider(
    name="mistral",
    base_url="https://api.mistral.ai/v1",
    jurisdiction="eu",
    capabilities=(
        "chat",
        "embeddings",
        "files",
        "fine_tuning",
        "images",
        "json",
        "moderation",
        "prefill",
        "tools",
        "transcription",
    ),
    probe="/models",
    prefill="prefix",
    limit_fields=("ratelimitbysize-", "x-ratelimit-"),
    prices={
        "mistral-large-4": (1.36, 4.18, 0.14),
        "mistral-large-latest": (0.5, 1.5),
        "mistral-large-2512": (0.5, 1.5),
        "mistral-medium-latest": (1.5, 7.5),
        "mistral-medium-3-5": (1.5, 7.5),
        "mistral-medium-2604": (1.5, 7.5),
        "mistral-small-latest": (0.15, 0.6),
        "mistral-small-2603": (0.15, 0.6),
        "magistral-medium-latest": (2.0, 5.0),
        "codestral-latest": (0.3, 0.9),
        "ministral-8b-2512": (0.15, 0.15, 0.015),
        "mistral-embed": (0.1, 0.0),
    },
    priced="2026-07-02",
    windows={
        **dict.fromkeys(("mistral-large-latest", "mistral-large-2512"), 262_144),
        **dict.fromkeys(("mistral-medium-latest", "mistral-medium-3-5", "mistral-medium-2604"), 262_144),
        **dict.fromkeys(("mistral-small-latest", "mistral-small-2603", "codestral-latest"), 256_000),
        "ministral-8b-2512": 256_000,
        "magistral-medium-latest": 128_000,
    },
    max_outputs={
        **dict.fromkeys(("mistral-large-latest", "mistral-large-2512"), 262_144),
        **dict.fromkeys(("mistral-medium-latest", "mistral-medium-3-5", "mistral-medium-2604"), 262_144),
        **dict.fromkeys(("mistral-small-latest", "mistral-small-2603", "ministral-8b-2512"), 256_000),
        "magistral-medium-latest": 16_384,
        "codestral-latest": 4_096,
    },
    lacks={
        "hints": "its refusals have the wordings of all",
        "status_page": "https://status.mistral.ai has no document that edge reads",
    },
)
