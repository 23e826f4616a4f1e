"""Facts about known providers, one file each: base URL, authentication, capabilities, prices, and what errors mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.providers import (
    anthropic,
    azure_openai,
    bedrock,
    cohere,
    deepseek,
    fireworks,
    gemini,
    groq,
    llama_cpp,
    mistral,
    moonshot,
    ollama,
    openai,
    openrouter,
    qwen,
    sglang,
    together,
    vertex,
    vllm,
    xai,
    zhipu,
)

if TYPE_CHECKING:
    from edge.terms.places import Provider

IN_ENVIRONMENT: Final[dict[str, Provider]] = {
    known.PROVIDER.name: known.PROVIDER for known in (openai, anthropic, deepseek, gemini)
}
"""Providers whose keys are read from the environment when there is no configuration file, in order of preference."""

KNOWN: Final[dict[str, Provider]] = IN_ENVIRONMENT | {
    known.name: known
    for known in (
        azure_openai.PROVIDER,
        bedrock.PROVIDER,
        bedrock.ANTHROPIC,
        vertex.PROVIDER,
        mistral.PROVIDER,
        groq.PROVIDER,
        openrouter.PROVIDER,
        together.PROVIDER,
        fireworks.PROVIDER,
        xai.PROVIDER,
        moonshot.PROVIDER,
        zhipu.PROVIDER,
        qwen.PROVIDER,
        cohere.PROVIDER,
        vllm.PROVIDER,
        sglang.PROVIDER,
        ollama.PROVIDER,
        llama_cpp.PROVIDER,
    )
}
"""All known providers by name, which is also what ``kind`` of a provider in the configuration names."""
