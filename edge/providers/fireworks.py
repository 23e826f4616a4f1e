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
    limit_fields=("x-ratelimit-",),
    lacks={
        "windows": "none was looked up; targets name context_window",
        "prices": "none was looked up; providers.NAME.prices has them",
        "hints": "its refusals have the wordings of all",
        "status_page": "no document of https://status.fireworks.ai was checked",
    },
)
