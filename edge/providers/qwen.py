"""Qwen, called through the OpenAI-compatible mode of Alibaba Cloud Model Studio in Singapore.

Facts: https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope (base URL, Bearer
key).

Prices and context windows of Singapore: github.com/anomalyco/models.dev, providers/alibaba as of 2026-07-02. Prices
that depend on the length of the prompt are those of the longest (over 256,000 tokens), and those that depend on
thinking are those with it, so that a budget is not overspent. qwen3-max, qwen3-coder-plus and qwen3.5-plus depend on
the length too, by steps that were not found, so they have no price here.
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
    prices={
        "qwen3.7-max": (2.5, 7.5, 0.5),
        "qwen3.7-plus": (2.0, 6.0, 0.2),
        "qwen3.6-plus": (2.0, 6.0, 0.2),
        "qwen3.6-max-preview": (1.3, 7.8, 0.13),
        "qwen3.5-397b-a17b": (0.6, 3.6),
        "qwen3-235b-a22b": (0.7, 8.4),
        "qwen3-32b": (0.7, 8.4),
    },
    priced="2026-07-02",
    windows={
        **dict.fromkeys(("qwen3.7-max", "qwen3.7-plus", "qwen3.6-plus", "qwen3.5-plus"), 1_000_000),
        **dict.fromkeys(("qwen3.6-max-preview", "qwen3.5-397b-a17b", "qwen3-max"), 262_144),
        "qwen3-coder-plus": 1_048_576,
        **dict.fromkeys(("qwen3-235b-a22b", "qwen3-32b"), 131_072),
    },
    max_outputs={
        **dict.fromkeys(("qwen3.7-max", "qwen3.7-plus", "qwen3.6-plus", "qwen3.5-plus"), 65_536),
        **dict.fromkeys(("qwen3.6-max-preview", "qwen3.5-397b-a17b", "qwen3-max", "qwen3-coder-plus"), 65_536),
        **dict.fromkeys(("qwen3-235b-a22b", "qwen3-32b"), 16_384),
    },
    lacks={
        "probe": "its documents name no list of models in this mode",
        "limit_fields": "its documents name none",
        "hints": "its refusals have the wordings of all",
        "status_page": "no document of it was found",
    },
)
