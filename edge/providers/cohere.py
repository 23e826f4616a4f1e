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
    lacks={
        "probe": "its documents name no list of models under this base URL",
        "windows": "none was looked up; targets name context_window",
        "prices": "none was looked up; providers.NAME.prices has them",
        "limit_fields": "its documents name none",
        "hints": "its refusals have the wordings of all",
        "status_page": "no document of https://status.cohere.com was checked",
    },
)
