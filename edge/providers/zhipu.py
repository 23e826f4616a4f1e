"""Zhipu AI (GLM), called through its OpenAI-compatible API.

Facts: https://docs.bigmodel.cn/cn/guide/develop/openai/introduction (base URL, Bearer key).
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import Provider

PROVIDER: Final = Provider(
    name="zhipu",
    base_url="https://open.bigmodel.cn/api/paas/v4",
    jurisdiction="cn",
    capabilities=("batches", "chat", "embeddings", "files", "image", "images", "json", "tools"),
    probe="",
    lacks={
        "probe": "its documents name no list of models",
        "windows": "none was looked up; targets name context_window",
        "prices": "they are in another currency; providers.NAME.prices has them",
        "limit_fields": "its documents name none",
        "hints": "its refusals have the wordings of all",
        "status_page": "no document of it was found",
    },
)
