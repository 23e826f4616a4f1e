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
)
