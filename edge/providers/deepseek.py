"""DeepSeek, called through its OpenAI-compatible API.

Facts: https://api-docs.deepseek.com (OpenAI-compatible under https://api.deepseek.com, also as ``/v1``; Bearer key;
``GET /models``; error codes 400, 401, 402 insufficient balance, 422, 429, 500, 503 overloaded). The V4 announcement of
2026-04-24 retires deepseek-chat and deepseek-reasoner on 2026-07-24 15:59 UTC in favour of deepseek-v4-flash.

An unknown model is reported as a 400 whose message is exactly ``Model Not Exist``, not as a 404 (seen in
langbot-app/LangBot issue 1643 and deepwn/addi issue 13).

Prices: https://api-docs.deepseek.com/quick_start/pricing, those of peak hours, with cache hits; off-peak prices are
half. A context window has 1M tokens, an answer at most 384K (same page). deepseek-v4-flash is served and billed as
deepseek-flash.
"""

from __future__ import annotations

from typing import Final

from edge.terms.actions import ACTION_CLIENT, ACTION_MISCONFIGURED
from edge.terms.places import Hint, Provider

_CHAT: Final = ("deepseek-flash", "deepseek-v4-flash", "deepseek-v4-pro")
PROVIDER: Final = Provider(
    name="deepseek",
    base_url="https://api.deepseek.com/v1",
    jurisdiction="cn",
    capabilities=("chat", "json", "tools"),
    probe="/models",
    chat_model="deepseek-v4-flash",
    key_variables=("DEEPSEEK_API_KEY",),
    url_variable="DEEPSEEK_BASE_URL",
    hints=(Hint(400, b'"Model Not Exist"', ACTION_MISCONFIGURED, ACTION_CLIENT),),
    retired=(("deepseek-chat", "deepseek-v4-flash"), ("deepseek-reasoner", "deepseek-v4-flash")),
    prices={
        "deepseek-flash": (0.3, 1.2, 0.006),
        "deepseek-v4-flash": (0.3, 1.2, 0.006),
        "deepseek-v4-pro": (1.32, 3.96, 0.044),
    },
    priced="2026-11-22",
    status_page="https://status.deepseek.com/api/status-page/6410630422455/summary/active",
    windows=dict.fromkeys(_CHAT, 1_048_576),
    max_outputs=dict.fromkeys(_CHAT, 393_216),
    prefill="prefix",
    lacks={
        "limit_fields": "it tells no limits in fields (https://api-docs.deepseek.com/quick_start/rate_limit)",
    },
)
