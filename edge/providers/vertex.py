"""Google's models on Vertex AI, asked in Gemini's dialect for one project and location.

Facts: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference (generateContent and
streamGenerateContent under ``/v1/projects/PROJECT/locations/LOCATION/publishers/google/models`` of
``https://LOCATION-aiplatform.googleapis.com``, with a bearer token of OAuth). A token lives for an hour, so ``api_key``
names a file that something keeps fresh. No request there is free, so there is no probe; vectors have another API.

Prices, windows and most outputs are those of the same models at Gemini:
https://cloud.google.com/vertex-ai/generative-ai/pricing.
"""

from __future__ import annotations

from typing import Final

from edge.providers.gemini import PROVIDER as GEMINI
from edge.terms.places import Provider

PROVIDER: Final = Provider(
    name="vertex",
    base_url="",
    dialect="gemini",
    credential=("authorization", "Bearer "),
    capabilities=("chat", "images", "json", "tools"),
    probe="",
    prices={model: price for model, price in GEMINI.prices.items() if model in GEMINI.windows},
    spoken=GEMINI.spoken,
    priced=GEMINI.priced,
    status_page=GEMINI.status_page,
    windows=GEMINI.windows,
    max_outputs=GEMINI.max_outputs,
    media="gemini",
    lacks={
        "base_url": "it has the project and the location in it",
        "jurisdiction": "it is that of the location",
        "probe": "no request is free there",
        "limit_fields": "its 429 says in RetryInfo when to come back; no field tells a limit",
        "hints": "its refusals have the wordings of all",
    },
)
