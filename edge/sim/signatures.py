"""Checks the signatures of AWS that a simulated provider asks for, and refuses as AWS does.

Refusals: https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html; the code stands in the field
``x-amzn-ErrorType``, and the sentence in the body.
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import re
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from msgspec import Struct

from edge.credentials.sigv4 import AwsKeys, Call, signature_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

TOLERANCE_S: Final = 300
_FIELD: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/, ]+)/(\d{8})/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request, "
    r"SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})"
)


class Identity(Struct, frozen=True):
    """Keys that a simulated provider knows, and until when (Unix time; 0: they have no end)."""

    access: str
    secret: str
    session: str = ""
    expires: float = 0.0
    region: str = "eu-west-1"
    service: str = "bedrock"


class Refused(Struct, frozen=True):
    """AWS's code of a refusal, and its sentence."""

    code: str
    message: str


def unsigned(request: web.Request, body: bytes, known: Sequence[Identity], now: float) -> Refused | None:
    """Return why a request is refused; None: it is signed as it should be.

    Args:
        request: the request.
        body: its whole body.
        known: who may ask.
        now: Unix time, as the provider sees it.
    """
    found = _FIELD.fullmatch(request.headers.get("authorization", ""))
    if found is None:
        return Refused("MissingAuthenticationTokenException", "Missing Authentication Token")
    session = request.headers.get("x-amz-security-token", "")
    who = next((one for one in known if (one.access, one.session) == (found[1], session)), None)
    if who is None:
        return Refused("UnrecognizedClientException", "The security token included in the request is invalid.")
    if who.expires and who.expires <= now:
        return Refused("ExpiredTokenException", "The security token included in the request is expired")
    stamp = request.headers.get("x-amz-date", "")
    return (
        _out_of_scope(request, found, who, stamp)
        or _of_another_time(stamp, now)
        or _false(request, body, found, who, stamp)
    )


def _out_of_scope(request: web.Request, found: re.Match[str], who: Identity, stamp: str) -> Refused | None:
    names = {name.lower() for name in request.headers}
    needed = {"host", "x-amz-date"} | {name for name in names if name.startswith("x-amz-") or name == "content-type"}
    if needed <= set(found[5].split(";")) and (stamp[:8], who.region, who.service) == found.group(2, 3, 4):
        return None
    return Refused("InvalidSignatureException", "Credential should be scoped to a valid region and service.")


def _of_another_time(stamp: str, now: float) -> Refused | None:
    try:
        away_s = calendar.timegm(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) - now
    except ValueError:
        return Refused("IncompleteSignatureException", "Date must be in ISO-8601 'basic format'.")
    if away_s < -TOLERANCE_S:
        return Refused("InvalidSignatureException", f"Signature expired: {stamp} is now earlier than what is taken")
    if away_s > TOLERANCE_S:
        return Refused("InvalidSignatureException", f"Signature not yet current: {stamp} is still later than now")
    return None


def _false(request: web.Request, body: bytes, found: re.Match[str], who: Identity, stamp: str) -> Refused | None:
    path, _, query = request.raw_path.partition("?")
    call = Call(request.method, request.host, path, who.region, who.service, hashlib.sha256(body).hexdigest())
    fields = {name: request.headers.get(name, "") for name in found[5].split(";")}
    pairs = dict(parse_qsl(query, keep_blank_values=True))
    keys = AwsKeys(who.access, who.secret, who.session)
    if hmac.compare_digest(signature_of(call, keys, pairs, fields, stamp), found[6]):
        return None
    return Refused(
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        "Key and signing method. Consult the service documentation for details.",
    )
