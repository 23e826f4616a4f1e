"""OAuth 2.0 client credentials (RFC 6749, section 4.4), by a secret or by a signed assertion (RFC 7523)."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from edge.credentials.exchange import granted, secret_file

if TYPE_CHECKING:
    from edge.config.schema_provider_auth import ProviderAuth
    from edge.credentials.exchange import Exchange, Grant

ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


async def fetch(exchange: Exchange, auth: ProviderAuth) -> Grant:
    """Return a token for a client.

    Raises:
        CredentialError: it cannot be had.
    """
    fields = {"grant_type": "client_credentials"}
    fields |= {name: value for name, value in (("scope", auth.scope), ("audience", auth.audience)) if value}
    headers = {}
    if auth.token_file is not None:
        assertion = secret_file(auth.token_file, "the assertion")
        fields |= {"client_id": auth.client_id, "client_assertion_type": ASSERTION, "client_assertion": assertion}
    else:
        # Section 2.3.1: both are encoded as in a form before they are put together.
        pair = f"{quote(auth.client_id, safe='')}:{quote(auth.client_secret, safe='')}"
        headers["authorization"] = "Basic " + b64encode(pair.encode()).decode()
    said = await exchange.form(auth.token_url, fields, headers)
    return granted(said, exchange.now, "the token endpoint")
