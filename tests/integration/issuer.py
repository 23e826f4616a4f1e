"""An issuer of tokens for tests: keys, tokens of every kind, and a server of its key set that fails as told."""

from __future__ import annotations

import base64
import json
import time
from typing import Any, Self

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

NAME = "https://id.example"
AUDIENCE = "edge"


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return a new private key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def public(key: Any, kid: str, **more: Any) -> dict[str, Any]:
    """Return the JWK of a private key's public part."""
    if isinstance(key, rsa.RSAPrivateKey):
        jwk = jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        jwk = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        assert isinstance(key, ed25519.Ed25519PrivateKey)
        jwk = jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    jwk.pop("key_ops", None)
    return {**jwk, "kid": kid, "use": "sig", **more}


def part(value: Any) -> str:
    """Return a part of a token: base64url of JSON."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims(**changed: Any) -> dict[str, Any]:
    """Return the claims of a valid token, with these changed; None leaves one out."""
    now = int(time.time())
    said = {"iss": NAME, "aud": AUDIENCE, "sub": "team-a", "iat": now, "exp": now + 600, **changed}
    return {name: value for name, value in said.items() if value is not None}


class Issuer:
    """An issuer with one RSA key, ``one``; others are added by name. ``async with`` serves its key set.

    ``asked`` counts the fetches. ``status`` and ``body`` replace the answer; ``dark`` ends each connection.
    """

    def __init__(self) -> None:
        self.keys: dict[str, Any] = {"one": rsa_key()}
        self.asked = 0
        self.not_modified = 0
        self.dark = False
        self.status = 200
        self.body: bytes | None = None
        self.headers: dict[str, str] = {}
        self.etag = ""
        self.url = ""
        self.port = 0
        self._runner: web.AppRunner | None = None

    def key_set(self) -> bytes:
        """Return the key set."""
        return json.dumps({"keys": [public(key, kid) for kid, key in self.keys.items()]}).encode()

    def token(self, kid: str | None = "one", algorithm: str = "RS256", key: Any = None, **changed: Any) -> str:
        """Return a token, signed with the key of that name, with these claims changed."""
        headers = {} if kid is None else {"kid": kid}
        signing = self.keys[kid or "one"] if key is None else key
        return jwt.encode(claims(**changed), signing, algorithm, headers=headers)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/keys", self._keys)
        app.router.add_get("/.well-known/openid-configuration", self._configuration)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _keys(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.dark:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if self.etag and request.headers.get("If-None-Match") == self.etag:
            self.not_modified += 1
            return web.Response(status=304, headers=self.headers)
        headers = {**self.headers, **({"ETag": self.etag} if self.etag else {})}
        return web.Response(status=self.status, body=self.body or self.key_set(), headers=headers)

    async def _configuration(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})
