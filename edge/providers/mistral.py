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
    limit_fields=("ratelimitbysize-", "x-ratelimit-"),
    lacks={
        "windows": "none was looked up; targets name context_window",
        "prices": "none was looked up; providers.NAME.prices has them",
        "hints": "its refusals have the wordings of all",
        "status_page": "https://status.mistral.ai has no document that edge reads",
    },
)
