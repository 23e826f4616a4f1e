"""llama.cpp's server on machines of one's own.

Facts: https://github.com/ggml-org/llama.cpp/tree/master/tools/server (OpenAI's paths under ``/v1``; a key only with
--api-key).
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import OF_ONE_S_OWN, Provider

PROVIDER: Final = Provider(
    name="llama.cpp",
    base_url="",
    capabilities=("chat", "completions", "embeddings", "images", "json", "prefill", "rerank", "tools"),
    probe="/models",
    needs_key=False,
    lacks=OF_ONE_S_OWN,
)
