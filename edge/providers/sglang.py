"""SGLang on machines of one's own.

Facts: https://docs.sglang.ai/basic_usage/openai_api.html (OpenAI's paths under ``/v1``; a key only with --api-key).
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import OF_ONE_S_OWN, Provider

PROVIDER: Final = Provider(
    name="sglang",
    base_url="",
    capabilities=("chat", "completions", "embeddings", "images", "json", "rerank", "tools"),
    probe="/models",
    needs_key=False,
    prefill="final",
    lacks=OF_ONE_S_OWN,
)
