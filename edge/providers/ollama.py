"""Ollama on machines of one's own.

Facts: https://docs.ollama.com/api/openai-compatibility (OpenAI's paths under ``/v1``; no key).
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import OF_ONE_S_OWN, Provider

PROVIDER: Final = Provider(
    name="ollama",
    base_url="",
    capabilities=("chat", "completions", "embeddings", "images", "json", "tools"),
    probe="/models",
    needs_key=False,
    lacks=OF_ONE_S_OWN,
)
