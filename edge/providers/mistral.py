"""Mistral AI, called through its OpenAI-compatible API.

Facts: https://docs.mistral.ai/api (base URL, Bearer key, ``GET /v1/models``).
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import Provider

PROVIDER: Final = Provider(
    name="mistral",
    base_url="https://api.mistral.ai/v1",
    jurisdiction="eu",
    capabilities=("chat", "embeddings", "images", "json", "tools"),
    probe="/models",
)
