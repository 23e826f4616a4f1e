"""Cohere, called through its OpenAI-compatible API.

Facts: https://docs.cohere.com/docs/compatibility-api (base URL, Bearer key).
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
)
