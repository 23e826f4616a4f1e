"""Qwen, called through the OpenAI-compatible mode of Alibaba Cloud Model Studio in Singapore.

Facts: https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope (base URL, Bearer
key).
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import Provider

PROVIDER: Final = Provider(
    name="qwen",
    base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
    jurisdiction="sg",
    capabilities=("batches", "chat", "embeddings", "files", "images", "json", "tools"),
    probe="",
    prefill="partial",
    lacks={
        "probe": "its documents name no list of models in this mode",
        "windows": "none was looked up; targets name context_window",
        "prices": "they depend on the length of the prompt; providers.NAME.prices has them",
        "limit_fields": "its documents name none",
        "hints": "its refusals have the wordings of all",
        "status_page": "no document of it was found",
    },
)
