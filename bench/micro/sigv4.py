"""Measures signing a request for AWS: ``python -m bench.micro.sigv4 [--json]``.

Each attempt to a signed target is signed once: the body is hashed, the canonical request is written and hashed, and the
signature computed with the key of the day, which is kept. Beside it stands botocore, AWS's own library for Python.
"""

from __future__ import annotations

import time
from functools import partial

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bench.micro.measure import Row, main, per_call
from native.codec.sigv4 import Signer

ACCESS, SECRET, SESSION = "ASIAEXAMPLE", "s" * 40, "t" * 900
HOST, PATH = "bedrock-runtime.eu-west-1.amazonaws.com", "/openai/v1/chat/completions"
FIELDS = [
    (b"content-type", b"application/json"),
    (b"accept", b"application/json"),
    (b"user-agent", b"OpenAI/Python 2.0"),
    (b"traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
]
SIZES = {"400 B": 400, "4 KiB": 4096, "64 KiB": 65536, "1 MiB": 1 << 20}


def by_botocore(auth: botocore.auth.SigV4Auth, body: bytes) -> None:
    """Sign a request as AWS's SDK does."""
    request = AWSRequest("POST", f"https://{HOST}{PATH}", data=body, headers={"content-type": "application/json"})
    auth.add_auth(request)


def rows() -> list[Row]:
    """Measure by the size of the body, with temporary keys, whose session token is signed too."""
    signer = Signer("eu-west-1", "bedrock", ACCESS, SECRET, SESSION)
    auth = botocore.auth.SigV4Auth(Credentials(ACCESS, SECRET, SESSION), "bedrock", "eu-west-1")
    now_s = int(time.time())
    measured = []
    for name, size in SIZES.items():
        body = b"x" * size
        ours = partial(signer.signed, b"POST", PATH.encode(), HOST.encode(), FIELDS, body, now_s)
        beside = per_call(partial(by_botocore, auth, body))
        measured.append(Row(f"body of {name}", per_call(ours), size, "botocore", beside))
    return measured


if __name__ == "__main__":
    main("sigv4", rows)
