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
)
