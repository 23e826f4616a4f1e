"""Moonshot AI (Kimi), called through its OpenAI-compatible API.

Facts: https://platform.moonshot.ai/docs/api/chat (base URL, Bearer key, ``GET /v1/models``);
https://platform.moonshot.ai/docs/guide/use-partial-mode-feature-of-kimi-api (``partial: true`` continues a message).

Prices and context windows: github.com/anomalyco/models.dev, providers/moonshotai as of 2026-07-02; kimi-k3 is in a
later file of it, which cites https://platform.kimi.ai/docs/pricing/chat-k3 (read there on 2026-07-17). They are those
of api.moonshot.ai in US dollars; accounts of api.moonshot.cn pay in yuan and write providers.NAME.prices. The models of
kimi-k2 before 2.5 were retired on 2026-05-25.
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
    prices={
        "kimi-k3": (3.0, 15.0, 0.3),
        "kimi-k2.7-code": (0.95, 4.0, 0.19),
        "kimi-k2.7-code-highspeed": (1.9, 8.0, 0.38),
        "kimi-k2.6": (0.95, 4.0, 0.16),
        "kimi-k2.5": (0.6, 3.0, 0.1),
    },
    priced="2026-07-02",
    windows={
        "kimi-k3": 1_048_576,
        **dict.fromkeys(("kimi-k2.7-code", "kimi-k2.7-code-highspeed", "kimi-k2.6", "kimi-k2.5"), 262_144),
    },
    max_outputs={
        "kimi-k3": 1_048_576,
        **dict.fromkeys(("kimi-k2.7-code", "kimi-k2.7-code-highspeed", "kimi-k2.6", "kimi-k2.5"), 262_144),
    },
    lacks={
        "limit_fields": "its documents name none",
        "hints": "its refusals have the wordings of all",
        "status_page": "no document of it was found",
    },
)
