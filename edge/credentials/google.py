"""Tokens of Google: by a service account's key, by an external account (workload identity federation), or by metadata.

Application default credentials: the file that ``credentials`` or GOOGLE_APPLICATION_CREDENTIALS names, else the
metadata server, at its own address alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import msgspec

from edge.config.addresses import parse_link
from edge.credentials.exchange import CredentialError, Grant, granted, secret_file

if TYPE_CHECKING:
    from edge.config.schema_provider_auth import ProviderAuth
    from edge.credentials.exchange import Exchange

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
TOKENS: Final = "https://oauth2.googleapis.com/token"
MACHINE = "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token"
"""The metadata server, by its address: a name could lead elsewhere."""

_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"
_JWT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_FLAVOR: Final = ("Metadata-Flavor", "Google")


async def fetch(exchange: Exchange, auth: ProviderAuth) -> Grant:
    """Return a token for Google's APIs.

    Raises:
        CredentialError: it cannot be had.
    """
    scope = auth.scope or SCOPE
    file = auth.credentials or exchange.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    if not file:
        url = f"{MACHINE}?{urlencode({'scopes': scope})}"
        body = await exchange.machine("GET", url, {_FLAVOR[0]: _FLAVOR[1]}, shows=_FLAVOR)
        return granted(_json(body, "the metadata server"), exchange.now, "the metadata server")
    said = _json(secret_file(file, "the credentials").encode(), f"the file {file}")
    kinds = {"service_account": _account, "authorized_user": _user, "external_account": _external}
    kind = kinds.get(said.get("type", ""))
    if kind is None:
        raise CredentialError(f"the file {file} is none of {', '.join(kinds)}")
    try:
        return await kind(exchange, said, scope)
    except KeyError as error:
        raise CredentialError(f"the file {file} lacks {error}") from error


async def _account(exchange: Exchange, said: dict[str, Any], scope: str) -> Grant:
    import jwt  # noqa: PLC0415  # with cryptography it takes 100 ms

    url = _google(said.get("token_uri", TOKENS))
    now = int(exchange.now)
    claims = {"iss": said["client_email"], "scope": scope, "aud": url, "iat": now, "exp": now + 3600}
    try:
        assertion = jwt.encode(claims, said["private_key"], "RS256", headers={"kid": said.get("private_key_id", "")})
    except (ValueError, TypeError, jwt.PyJWTError) as error:
        raise CredentialError("the service account's private_key is not a PEM key") from error
    answer = await exchange.form(url, {"grant_type": _JWT, "assertion": assertion})
    return granted(answer, exchange.now, "Google")


async def _user(exchange: Exchange, said: dict[str, Any], scope: str) -> Grant:
    del scope  # it is that of the refresh token
    fields = {name: said[name] for name in ("client_id", "client_secret", "refresh_token")}
    answer = await exchange.form(_google(said.get("token_uri", TOKENS)), {"grant_type": "refresh_token", **fields})
    return granted(answer, exchange.now, "Google")


async def _external(exchange: Exchange, said: dict[str, Any], scope: str) -> Grant:
    """Exchange a token of another cloud, in a file, for one of Google; perhaps for one of a service account then."""
    source = said["credential_source"]
    if "file" not in source:
        raise CredentialError("of external accounts those with credential_source.file are understood alone")
    subject = secret_file(source["file"], "the subject token")
    form = source.get("format", {})
    if form.get("type") == "json":
        subject = _json(subject.encode(), "the subject token")[form["subject_token_field_name"]]
    account = said.get("service_account_impersonation_url", "")
    fields = {
        "grant_type": _EXCHANGE,
        "audience": said["audience"],
        "scope": SCOPE if account else scope,
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token": subject,
        "subject_token_type": said["subject_token_type"],
    }
    grant = granted(await exchange.form(_google(said["token_url"]), fields), exchange.now, "Google")
    if not account:
        return grant
    headers = {"authorization": f"Bearer {grant.token}"}
    answer = await exchange.json(_google(account), {"scope": [scope]}, headers)
    return Grant(granted(answer, exchange.now, "Google", name="accessToken").token, _time(answer, exchange.now))


def _time(answer: dict[str, Any], now: float) -> float:
    """Return when a token of a service account expires, from RFC 3339."""
    import datetime as dt  # noqa: PLC0415  # for external accounts

    try:
        expires = dt.datetime.fromisoformat(str(answer["expireTime"])).timestamp()
    except (KeyError, ValueError) as error:
        raise CredentialError("Google does not say when the service account's token expires") from error
    if expires <= now:
        raise CredentialError("Google gives out a token that has expired already")
    return expires


def _google(url: Any) -> str:
    """Return a URL that a file of credentials names, if it is one of Google's: the file may come from elsewhere.

    Raises:
        CredentialError: it is not.
    """
    try:
        parts = parse_link(str(url))
    except ValueError as error:
        raise CredentialError(f"the file of credentials names a URL that is none: {error}") from error
    if not is_googles(parts.host, tls=parts.tls):
        raise CredentialError(f"the file of credentials names {parts.host}, which is not one of Google's")
    return str(url)


def is_googles(host: str, *, tls: bool) -> bool:
    """Return whether a host is one of Google's that gives out tokens, asked over TLS."""
    return tls and (host == "accounts.google.com" or host.endswith(".googleapis.com"))


def _json(body: bytes, what: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise CredentialError(f"{what} is not a JSON object") from error
