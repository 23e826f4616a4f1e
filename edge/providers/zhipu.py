"""Zhipu AI (GLM), called through its OpenAI-compatible API.

Facts: https://docs.bigmodel.cn/cn/guide/develop/openai/introduction (base URL, Bearer key).

Context windows: github.com/anomalyco/models.dev, providers/zhipuai and models/zhipuai as of 2026-07-02.
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
    windows={
        "glm-5.2": 1_000_000,
        **dict.fromkeys(("glm-5.1", "glm-5v-turbo"), 200_000),
        **dict.fromkeys(("glm-5", "glm-4.7", "glm-4.6"), 204_800),
        **dict.fromkeys(("glm-4.5", "glm-4.5-air"), 131_072),
        "glm-4.6v": 128_000,
    },
    max_outputs={
        **dict.fromkeys(("glm-5.2", "glm-5.1", "glm-5v-turbo", "glm-5", "glm-4.7", "glm-4.6"), 131_072),
        **dict.fromkeys(("glm-4.5", "glm-4.5-air"), 98_304),
        "glm-4.6v": 32_768,
    },
    lacks={
        "prices": "this address bills in yuan; providers.NAME.prices has them in dollars",
        "probe": "its documents name no list of models",
        "limit_fields": "its documents name none",
        "hints": "its refusals have the wordings of all",
        "status_page": "no document of it was found",
    },
)
