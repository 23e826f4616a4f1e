"""xAI, called through its OpenAI-compatible API.

Facts: https://docs.x.ai/docs/api-reference (base URL, Bearer key, ``GET /v1/models``).
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import Provider

PROVIDER: Final = Provider(
    name="xai",
    base_url="https://api.x.ai/v1",
    status_page="https://status.x.ai/feed.xml",
    jurisdiction="us",
    capabilities=("chat", "image", "images", "json", "responses", "tools"),
    probe="/models",
    limit_fields=("x-ratelimit-",),
    lacks={
        "windows": "none was looked up; targets name context_window",
        "prices": "none was looked up; providers.NAME.prices has them",
        "hints": "its refusals have the wordings of all",
    },
)
