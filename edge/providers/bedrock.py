"""Amazon Bedrock, in OpenAI's dialect and, for Claude, in Anthropic's.

Facts: https://docs.aws.amazon.com/bedrock/latest/userguide/endpoints.html (``bedrock-runtime`` has Chat Completions and
Responses below ``/openai/v1`` and Messages below ``/anthropic``, in each region a host of its own);
https://docs.aws.amazon.com/bedrock/latest/userguide/inference-chat-completions.html and inference-messages-api.html
(signed with AWS credentials, or with a Bedrock API key as Bearer). No request of theirs is free, so there is no probe.

Errors: https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html. The code stands in the field
``x-amzn-ErrorType``; what it says of the keys holds for every service of AWS (native/codec/sigv4). ThrottlingException
and ModelNotReadyException are 429, ServiceUnavailableException is 503, ModelErrorException 424, ModelTimeoutException
408: the table of statuses has them. A ValidationException (400) is the caller's, unless it is about the model that the
configuration names.

Prices differ from region to region and are written in the configuration. The law is that of the region's country; a
model whose name begins with ``global.`` or ``apac.`` is computed in regions of several countries
(https://docs.aws.amazon.com/bedrock/latest/userguide/cross-region-inference.html), and has none.
"""

from __future__ import annotations

from typing import Final

from edge.terms.actions import ACTION_CLIENT, ACTION_MISCONFIGURED
from edge.terms.places import Hint, Provider

LAWS: Final = {
    **dict.fromkeys(("us-east-1", "us-east-2", "us-west-1", "us-west-2", "us-gov-east-1", "us-gov-west-1"), "us"),
    **dict.fromkeys(("eu-central-1", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-3"), "eu"),
    **dict.fromkeys(("ca-central-1", "ca-west-1"), "ca"),
    **dict.fromkeys(("ap-northeast-1", "ap-northeast-3"), "jp"),
    **dict.fromkeys(("ap-south-1", "ap-south-2"), "in"),
    **dict.fromkeys(("ap-southeast-2", "ap-southeast-4"), "au"),
    "af-south-1": "za",
    "ap-east-1": "hk",
    "ap-east-2": "tw",
    "ap-northeast-2": "kr",
    "ap-southeast-1": "sg",
    "ap-southeast-3": "id",
    "ap-southeast-5": "my",
    "ap-southeast-6": "nz",
    "ap-southeast-7": "th",
    "eu-central-2": "ch",
    "eusc-de-east-1": "eu",
    "eu-west-2": "gb",
    "il-central-1": "il",
    "me-central-1": "ae",
    "me-south-1": "bh",
    "mx-central-1": "mx",
    "sa-east-1": "br",
}
"""The law by region: https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html."""

_BEARER: Final = ("authorization", "Bearer ")
_OF_THE_MODEL: Final = tuple(
    Hint(400, before + words, ACTION_MISCONFIGURED, ACTION_CLIENT)
    for before in (b':"', b': "')
    for words in (b"The provided model identifier is invalid", b"Invocation of model ID ")
)
"""A quotation mark before the words: a caller cannot have them echoed so."""

_LACKS: Final = {
    "base_url": "it has the region in it",
    "jurisdiction": "it is that of the region",
    "windows": "models and their profiles differ by region; targets name context_window",
    "prices": "they differ by region",
    "probe": "no request is free there",
    "limit_fields": "no field tells a limit",
    "status_page": "health.aws.amazon.com has no document of one service and region that edge reads",
}

PROVIDER: Final = Provider(
    name="bedrock",
    base_url="",
    regional_url="https://bedrock-runtime.{region}.{domain}/openai/v1",
    laws=LAWS,
    several_laws=("global.", "apac."),
    credential=_BEARER,
    capabilities=("chat", "images", "json", "responses", "tools"),
    probe="",
    hints=_OF_THE_MODEL,
    lacks=_LACKS,
)

ANTHROPIC: Final = Provider(
    name="bedrock-anthropic",
    base_url="",
    regional_url="https://bedrock-runtime.{region}.{domain}/anthropic/v1",
    laws=LAWS,
    several_laws=("global.", "apac."),
    dialect="anthropic",
    credential=_BEARER,
    capabilities=("chat", "images", "json", "tools"),
    probe="",
    hints=_OF_THE_MODEL,
    media="anthropic",
    lacks=_LACKS,
)
