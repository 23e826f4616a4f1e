"""Fireworks AI, called through its OpenAI-compatible API.

Facts: https://docs.fireworks.ai/tools-sdks/openai-compatibility (base URL, Bearer key, ``GET /inference/v1/models``).
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
)
