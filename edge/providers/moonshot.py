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
)
