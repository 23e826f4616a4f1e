"""Moonshot AI (Kimi), called through its OpenAI-compatible API.

Facts: https://platform.moonshot.ai/docs/api/chat (base URL, Bearer key, ``GET /v1/models``);
https://platform.moonshot.ai/docs/guide/use-partial-mode-feature-of-kimi-api (``partial: true`` continues a message).
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import Provider

PROVIDER: Final = Provider(
    name="moonshot",
    base_url="https://api.moonshot.ai/v1",
    jurisdiction="cn",
    capabilities=("chat", "files", "images", "json", "prefill", "tools"),
    probe="/models",
    prefill="partial",
    lacks={
        "windows": "none was looked up; targets name context_window",
        "prices": "they are in another currency for some accounts; providers.NAME.prices has them",
        "limit_fields": "its documents name none",
        "hints": "its refusals have the wordings of all",
        "status_page": "no document of it was found",
    },
)
