"""Google's Gemini API.

Facts: https://ai.google.dev/api/generate-content (generateContent under
https://generativelanguage.googleapis.com/v1beta with the key in ``x-goog-api-key``; ``GET /models``).
gemini-3.1-flash-lite is the small stable model (generally available since 2026-05-07, not shut down before
2027-05-07).

An invalid key is reported as a 400 with reason ``API_KEY_INVALID`` (cequence-io/openai-scala-client issue 109), and an
unsupported location of edge as a 400 with ``User location is not supported for the API use.``
(FoundationAgents/OpenManus issue 803, which also shows the error wrapped in an array). Both concern edge, not the
client.

Prices: https://ai.google.dev/gemini-api/docs/pricing, paid tier, text. For gemini-2.5-pro and gemini-3.1-pro-preview
they are those for prompts over 200,000 tokens, so that a budget is not overspent. A cached prompt costs a tenth;
what a cache costs by the hour is not counted. Sound in a prompt costs more than text in the Flash models
(``input_audio`` in github.com/anomalyco/models.dev, providers/google, as of 2026-07-02); cached sound is counted as
cached text. A prompt has at most 1,048,576 tokens, an answer 65,536 (each model's page, compared on 2026-12-01 with
the same files). Thoughts are billed as output, and pictures and video in a prompt as text (the page of prices).
"""

from __future__ import annotations

from typing import Final

from edge.terms.actions import ACTION_QUARANTINE
from edge.terms.places import Hint, Provider

_CHAT: Final = (
    "gemini-3.1-pro-preview",
    "gemini-3.1-flash-lite",
    "gemini-2.5-pro",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
)
PROVIDER: Final = Provider(
    name="gemini",
    base_url="https://generativelanguage.googleapis.com/v1beta",
    dialect="gemini",
    jurisdiction="us",
    capabilities=("batches", "chat", "embeddings", "files", "images", "json", "tools"),
    probe="/models",
    chat_model="gemini-3.1-flash-lite",
    embed_model="gemini-embedding-001",
    key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
    url_variable="GEMINI_BASE_URL",
    hints=(
        Hint(400, b'"reason":"API_KEY_INVALID"', ACTION_QUARANTINE, ACTION_QUARANTINE),
        Hint(400, b'"reason": "API_KEY_INVALID"', ACTION_QUARANTINE, ACTION_QUARANTINE),
        Hint(400, b'"API key not valid. Please pass a valid API key."', ACTION_QUARANTINE, ACTION_QUARANTINE),
        Hint(400, b'"User location is not supported for the API use."', ACTION_QUARANTINE, ACTION_QUARANTINE),
    ),
    prices={
        "gemini-3.1-pro-preview": (4.0, 18.0, 0.4),
        "gemini-3.1-flash-lite": (0.25, 1.5, 0.025),
        "gemini-2.5-pro": (2.5, 15.0, 0.25),
        "gemini-2.5-flash": (0.3, 2.5, 0.03),
        "gemini-2.5-flash-lite": (0.1, 0.4, 0.01),
        "gemini-embedding-001": (0.15, 0.0),
    },
    spoken={"gemini-3.1-flash-lite": 0.5, "gemini-2.5-flash": 1.0, "gemini-2.5-flash-lite": 0.3},
    priced="2026-11-22",
    status_page="https://status.cloud.google.com/incidents.json#Z0FZJAMvEB4j3NbCJs6B",
    windows=dict.fromkeys(_CHAT, 1_048_576),
    max_outputs=dict.fromkeys(_CHAT, 65_536),
    media="gemini",
    lacks={
        "limit_fields": "its 429 says in RetryInfo when to come back; no field tells a limit",
    },
)
