"""vLLM on machines of one's own.

Facts: https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html (OpenAI's paths under ``/v1``; a key only
with --api-key; ``continue_final_message`` continues an assistant's last message).
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import OF_ONE_S_OWN, Provider

PROVIDER: Final = Provider(
    name="vllm",
    base_url="",
    capabilities=(
        "chat",
        "completions",
        "embeddings",
        "images",
        "json",
        "prefill",
        "rerank",
        "responses",
        "tools",
        "transcription",
        "translation",
    ),
    probe="/models",
    needs_key=False,
    prefill="final",
    lacks=OF_ONE_S_OWN,
)
