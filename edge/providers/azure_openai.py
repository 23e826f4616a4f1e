"""OpenAI's models on Azure: each resource has a host of its own, and a model is asked by the name of its deployment.

Facts: https://learn.microsoft.com/azure/ai-foundry/openai/reference (key in ``api-key``; with an ``api-version`` the
paths are ``/openai/deployments/NAME/chat/completions?api-version=...``, and ``/openai/files`` and the like without a
deployment) and https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle (``/openai/v1`` needs no
version and takes the deployment as ``model``). Prices depend on the contract, and the law on the resource's region, so
both are written in the configuration.
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import Provider

PROVIDER: Final = Provider(
    name="azure-openai",
    base_url="",
    credential=("api-key", ""),
    root="/openai",
    capabilities=(
        "batches",
        "chat",
        "completions",
        "embeddings",
        "files",
        "fine_tuning",
        "image",
        "images",
        "json",
        "responses",
        "speech",
        "tools",
        "transcription",
        "translation",
        "vector_stores",
    ),
    probe="/models",
    limit_fields=("x-ratelimit-",),
    lacks={
        "base_url": "each resource has a host of its own",
        "jurisdiction": "it is that of the region of the resource",
        "windows": "models have the names of deployments",
        "prices": "they depend on the contract",
        "hints": "its refusals have the wordings of all",
        "status_page": "https://azure.status.microsoft has no document that edge reads",
    },
)
