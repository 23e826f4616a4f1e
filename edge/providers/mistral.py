"""Mistral AI, called through its OpenAI-compatible API.

Facts: https://docs.mistral.ai/api (base URL, Bearer key, ``GET /v1/models``). An assistant's last message with
``prefix: true`` is continued; the answer repeats it.
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
)
