"""Groq, called through its OpenAI-compatible API.

Facts: https://console.groq.com/docs/openai (base URL, Bearer key, ``GET /openai/v1/models``).
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import Provider

PROVIDER: Final = Provider(
    name="groq",
    base_url="https://api.groq.com/openai/v1",
    jurisdiction="us",
    capabilities=("batches", "chat", "files", "images", "json", "speech", "tools", "transcription", "translation"),
    probe="/models",
    limit_fields=("x-ratelimit-",),
    lacks={
        "windows": "none was looked up; targets name context_window",
        "prices": "none was looked up; providers.NAME.prices has them",
        "hints": "its refusals have the wordings of all",
        "status_page": "no document of https://groqstatus.com was checked",
    },
)
