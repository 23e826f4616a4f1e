"""Fireworks AI, called through its OpenAI-compatible API.

Facts: https://docs.fireworks.ai/tools-sdks/openai-compatibility (base URL, Bearer key, ``GET /inference/v1/models``).

Prices and context windows of models that need no machine of one's own: github.com/anomalyco/models.dev,
providers/fireworks-ai as of 2026-07-02.
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import Provider

PROVIDER: Final = Provider(
    name="fireworks",
    base_url="https://api.fireworks.ai/inference/v1",
    jurisdiction="us",
    capabilities=("chat", "completions", "embeddings", "images", "json", "rerank", "tools"),
    probe="/models",
    limit_fields=("x-ratelimit-",),
    prices={
        "accounts/fireworks/models/deepseek-v4-pro": (1.74, 3.48, 0.145),
        "accounts/fireworks/models/deepseek-v4-flash": (0.14, 0.28, 0.028),
        "accounts/fireworks/models/kimi-k2p7-code": (0.95, 4.0, 0.19),
        "accounts/fireworks/models/kimi-k2p6": (0.95, 4.0, 0.16),
        "accounts/fireworks/models/glm-5p2": (1.4, 4.4, 0.26),
        "accounts/fireworks/models/glm-5p1": (1.4, 4.4, 0.26),
        "accounts/fireworks/models/minimax-m3": (0.3, 1.2, 0.06),
        "accounts/fireworks/models/qwen3p7-plus": (0.4, 1.6, 0.08),
        "accounts/fireworks/models/gpt-oss-120b": (0.15, 0.6, 0.015),
        "accounts/fireworks/models/gpt-oss-20b": (0.07, 0.3, 0.035),
    },
    priced="2026-07-02",
    windows={
        "accounts/fireworks/models/deepseek-v4-pro": 1_000_000,
        "accounts/fireworks/models/deepseek-v4-flash": 1_000_000,
        "accounts/fireworks/models/kimi-k2p7-code": 262_000,
        "accounts/fireworks/models/kimi-k2p6": 262_000,
        "accounts/fireworks/models/glm-5p2": 1_048_575,
        "accounts/fireworks/models/glm-5p1": 202_800,
        "accounts/fireworks/models/minimax-m3": 512_000,
        "accounts/fireworks/models/qwen3p7-plus": 262_144,
        "accounts/fireworks/models/gpt-oss-120b": 131_072,
        "accounts/fireworks/models/gpt-oss-20b": 131_072,
    },
    max_outputs={
        "accounts/fireworks/models/deepseek-v4-pro": 384_000,
        "accounts/fireworks/models/deepseek-v4-flash": 384_000,
        "accounts/fireworks/models/kimi-k2p7-code": 262_000,
        "accounts/fireworks/models/kimi-k2p6": 262_000,
        "accounts/fireworks/models/glm-5p2": 131_072,
        "accounts/fireworks/models/glm-5p1": 131_072,
        "accounts/fireworks/models/minimax-m3": 512_000,
        "accounts/fireworks/models/qwen3p7-plus": 65_536,
        "accounts/fireworks/models/gpt-oss-120b": 32_768,
        "accounts/fireworks/models/gpt-oss-20b": 32_768,
    },
    lacks={
        "hints": "its refusals have the wordings of all",
        "status_page": "no document of https://status.fireworks.ai was checked",
    },
)
