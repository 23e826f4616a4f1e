"""Together AI, called through its OpenAI-compatible API.

Facts: https://docs.together.ai/docs/openai-api-compatibility (base URL, Bearer key, ``GET /v1/models``).
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
    lacks={
        "windows": "none was looked up; targets name context_window",
        "prices": "none was looked up; providers.NAME.prices has them",
        "hints": "its refusals have the wordings of all",
        "status_page": "no document of https://status.together.ai was checked",
    },
)
