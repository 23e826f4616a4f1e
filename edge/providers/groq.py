"""Groq, called through its OpenAI-compatible API.

Facts: https://console.groq.com/docs/openai (base URL, Bearer key, ``GET /openai/v1/models``).

Prices and context windows: github.com/anomalyco/models.dev, providers/groq as of 2026-07-02; qwen/qwen3.8-27b is in a
later file of it, which cites https://groq.com/pricing and https://console.groq.com/docs/models (read there on
2026-08-29). Sound is billed by the hour, so transcriptions have no price here.
"""

from __future__ import annotations

from typing import Final

from edge.terms.places import Provider

_OF_131K: Final = (
    "openai/gpt-oss-120b",
    "openai/gpt-oss-20b",
    "openai/gpt-oss-safeguard-20b",
    "llama-3.3-70b-versatile",
    "llama-3.1-8b-instant",
    "meta-llama/llama-4-scout-17b-16e-instruct",
    "qwen/qwen3-32b",
)
PROVIDER: Final = Provider(
    name="groq",
    base_url="https://api.groq.com/openai/v1",
    jurisdiction="us",
    capabilities=("batches", "chat", "files", "images", "json", "speech", "tools", "transcription", "translation"),
    probe="/models",
    limit_fields=("x-ratelimit-",),
    prices={
        "openai/gpt-oss-120b": (0.15, 0.6, 0.075),
        "openai/gpt-oss-20b": (0.075, 0.3, 0.0375),
        "openai/gpt-oss-safeguard-20b": (0.075, 0.3),
        "llama-3.3-70b-versatile": (0.59, 0.79),
        "llama-3.1-8b-instant": (0.05, 0.08),
        "meta-llama/llama-4-scout-17b-16e-instruct": (0.11, 0.34),
        "qwen/qwen3-32b": (0.29, 0.59),
        "qwen/qwen3.8-27b": (0.8, 4.0, 0.4),
    },
    priced="2026-07-02",
    windows={
        **dict.fromkeys(_OF_131K, 131_072),
        "qwen/qwen3.8-27b": 131_042,
    },
    max_outputs={
        **dict.fromkeys(("openai/gpt-oss-120b", "openai/gpt-oss-20b", "openai/gpt-oss-safeguard-20b"), 65_536),
        "llama-3.3-70b-versatile": 32_768,
        "llama-3.1-8b-instant": 131_072,
        "meta-llama/llama-4-scout-17b-16e-instruct": 8_192,
        "qwen/qwen3-32b": 40_960,
        "qwen/qwen3.8-27b": 16_384,
    },
    lacks={
        "hints": "its refusals have the wordings of all",
        "status_page": "no document of https://groqstatus.com was checked",
    },
)
