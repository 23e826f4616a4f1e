"""Together AI, called through its OpenAI-compatible API.

Facts: https://docs.together.ai/docs/openai-api-compatibility (base URL, Bearer key, ``GET /v1/models``).

Prices and context windows of models that need no machine of one's own: github.com/anomalyco/models.dev,
providers/togetherai as of 2026-07-02.
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import Provider

PROVIDER: Final = Provider(
    name="together",
    base_url="https://api.together.xyz/v1",
    jurisdiction="us",
    capabilities=(
        "chat",
        "completions",
        "embeddings",
        "image",
        "images",
        "json",
        "rerank",
        "speech",
        "tools",
        "transcription",
        "translation",
    ),
    probe="/models",
    limit_fields=("x-ratelimit-", "x-tokenlimit-"),
    prices={
        "deepseek-ai/DeepSeek-V4-Pro": (1.74, 3.48, 0.2),
        "moonshotai/Kimi-K2.7-Code": (0.95, 4.0, 0.19),
        "moonshotai/Kimi-K2.6": (1.2, 4.5, 0.2),
        "zai-org/GLM-5.2": (1.4, 4.4, 0.26),
        "zai-org/GLM-5.1": (1.4, 4.4),
        "MiniMaxAI/MiniMax-M3": (0.3, 1.2, 0.06),
        "Qwen/Qwen3.7-Max": (1.25, 3.75, 0.13),
        "Qwen/Qwen3.5-397B-A17B": (0.6, 3.6, 0.35),
        "openai/gpt-oss-120b": (0.15, 0.6),
        "openai/gpt-oss-20b": (0.05, 0.2),
        "google/gemma-4-31B-it": (0.39, 0.97),
    },
    priced="2026-07-02",
    windows={
        "deepseek-ai/DeepSeek-V4-Pro": 512_000,
        **dict.fromkeys(("moonshotai/Kimi-K2.7-Code", "moonshotai/Kimi-K2.6", "zai-org/GLM-5.2"), 262_144),
        "zai-org/GLM-5.1": 202_752,
        "MiniMaxAI/MiniMax-M3": 524_288,
        "Qwen/Qwen3.7-Max": 1_000_000,
        **dict.fromkeys(("Qwen/Qwen3.5-397B-A17B", "google/gemma-4-31B-it"), 262_144),
        **dict.fromkeys(("openai/gpt-oss-120b", "openai/gpt-oss-20b"), 131_072),
    },
    max_outputs={
        "deepseek-ai/DeepSeek-V4-Pro": 384_000,
        "moonshotai/Kimi-K2.7-Code": 131_072,
        "moonshotai/Kimi-K2.6": 131_000,
        "zai-org/GLM-5.2": 164_000,
        "zai-org/GLM-5.1": 131_072,
        "MiniMaxAI/MiniMax-M3": 250_000,
        "Qwen/Qwen3.7-Max": 500_000,
        "Qwen/Qwen3.5-397B-A17B": 130_000,
        **dict.fromkeys(("openai/gpt-oss-120b", "openai/gpt-oss-20b"), 131_072),
        "google/gemma-4-31B-it": 131_072,
    },
    lacks={
        "hints": "its refusals have the wordings of all",
        "status_page": "no document of https://status.together.ai was checked",
    },
)
