"""AWS Signature Version 4 over a request without a body, in its query or in its header fields. Pure."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    return f"{_query(fields)}&X-Amz-Signature={_signature(call, keys, fields, {'host': call.host}, stamp)}"


def signed_fields(
    call: Call, keys: AwsKeys, query: Mapping[str, str], more: Mapping[str, str], now: float
) -> dict[str, str]:
    """Return the header fields that sign a request, ``more`` among what is signed (lower-case names)."""
    stamp = _stamp(now)
    fields = {**more, "host": call.host, "x-amz-date": stamp}
    if keys.session:
        fields["x-amz-security-token"] = keys.session
    signature = _signature(call, keys, query, fields, stamp)
    names = ";".join(sorted(fields))
    credential = f"{keys.access}/{_scope(call, stamp)}"
    fields["authorization"] = f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return fields


def _signature(call: Call, keys: AwsKeys, query: Mapping[str, str], fields: Mapping[str, str], stamp: str) -> str:
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


def _query(fields: Mapping[str, str]) -> str:
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in fields.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def _scope(call: Call, stamp: str) -> str:
    return f"{stamp[:8]}/{call.region}/{call.service}/aws4_request"


def _stamp(now: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
