"""AWS Signature Version 4, in the query of a request or in its header fields: for control's own requests. Pure.

Workers sign by native/codec/sigv4, whose reference model this is.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, quote

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.terms.snapshot import Target

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
EMPTY: Final = hashlib.sha256(b"").hexdigest()


class AwsKeys(Struct, frozen=True):
    """A pair of keys, temporary ones with a session token; ``expires`` is Unix time, 0: never."""

    access: str
    secret: str
    session: str = ""
    expires: float = 0.0

    def __repr__(self) -> str:
        return f"<AwsKeys {self.access[:4]}…>"


class Call(Struct, frozen=True):
    """What is signed: method, host, path and where it belongs. ``payload`` is the SHA-256 of the body."""

    method: str
    host: str
    path: str
    region: str
    service: str
    payload: str = EMPTY


def presigned(call: Call, keys: AwsKeys, query: Mapping[str, str], now: float, lasts_s: int) -> str:
    """Return the whole query of a URL that carries its signature, valid for ``lasts_s`` seconds."""
    stamp = _stamp(now)
    fields = {
        **query,
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": f"{keys.access}/{_scope(call, stamp)}",
        "X-Amz-Date": stamp,
        "X-Amz-Expires": str(lasts_s),
        "X-Amz-SignedHeaders": "host",
        **({"X-Amz-Security-Token": keys.session} if keys.session else {}),
    }
    return f"{_query(fields)}&X-Amz-Signature={signature_of(call, keys, fields, {'host': call.host}, stamp)}"


def signed_fields(
    call: Call, keys: AwsKeys, query: Mapping[str, str], more: Mapping[str, str], now: float
) -> dict[str, str]:
    """Return the header fields that sign a request, ``more`` among what is signed (lower-case names)."""
    stamp = _stamp(now)
    fields = {**more, "host": call.host, "x-amz-date": stamp}
    if keys.session:
        fields["x-amz-security-token"] = keys.session
    signature = signature_of(call, keys, query, fields, stamp)
    names = ";".join(sorted(fields))
    credential = f"{keys.access}/{_scope(call, stamp)}"
    fields["authorization"] = f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return fields


def signature_of(call: Call, keys: AwsKeys, query: Mapping[str, str], fields: Mapping[str, str], stamp: str) -> str:
    """Return the signature over ``fields``, which have lower-case names and one value each, at the time ``stamp``."""
    names = sorted(fields)
    canonical = "\n".join(
        (
            call.method,
            quote(call.path, safe="/-_.~"),
            _query(query),
            *(f"{name}:{' '.join(fields[name].split())}" for name in names),
            "",
            ";".join(names),
            call.payload,
        )
    )
    text = "\n".join((_ALGORITHM, stamp, _scope(call, stamp), hashlib.sha256(canonical.encode()).hexdigest()))
    key = ("AWS4" + keys.secret).encode()
    for part in (stamp[:8], call.region, call.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def probe_fields(target: Target, path: str, now: float) -> dict[str, str]:
    """Return the header fields of a GET request to a target, which is signed if its requests are.

    Args:
        target: a target.
        path: path and query of the request.
        now: Unix time.
    """
    fields, keys = dict(target.fields), target.signing
    if keys is None or not keys.access:
        return fields
    path, _, query = path.partition("?")
    host = f"[{target.host}]" if ":" in target.host else target.host
    host = host if target.port == (80 if target.tls is None else 443) else f"{host}:{target.port}"
    call = Call("GET", host, path, keys.region, keys.service)
    pair = AwsKeys(keys.access, keys.secret, keys.session)
    signed = signed_fields(call, pair, dict(parse_qsl(query, keep_blank_values=True)), {}, now)
    del signed["host"]  # the client writes it
    return fields | signed


def _query(fields: Mapping[str, str]) -> str:
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in fields.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def _scope(call: Call, stamp: str) -> str:
    return f"{stamp[:8]}/{call.region}/{call.service}/aws4_request"


def _stamp(now: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
