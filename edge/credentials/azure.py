"""Tokens of Microsoft Entra ID: by a client's secret, by a federated token (workload identity), or by managed identity.

The variables are those that Azure sets in pods and in App Service; what the file says comes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

import msgspec

from edge.config.addresses import is_loopback, parse_link
from edge.credentials.exchange import CredentialError, granted, secret_file
from edge.credentials.oauth2 import ASSERTION

if TYPE_CHECKING:
    from edge.config.schema_provider_auth import ProviderAuth
    from edge.credentials.exchange import Exchange, Grant

AUTHORITY: Final = "https://login.microsoftonline.com"
SCOPE: Final = "https://cognitiveservices.azure.com/.default"
MACHINE = "http://169.254.169.254/metadata/identity/oauth2/token"
"""The Instance Metadata Service, which machines alone can reach, at its own address."""


async def fetch(exchange: Exchange, auth: ProviderAuth) -> Grant:
    """Return a token for Azure.

    Raises:
        CredentialError: it cannot be had.
    """
    environ, scope = exchange.environ, auth.scope or SCOPE
    client = auth.client_id or environ.get("AZURE_CLIENT_ID", "")
    tenant = auth.tenant or environ.get("AZURE_TENANT_ID", "")
    file = auth.token_file or environ.get("AZURE_FEDERATED_TOKEN_FILE", "")
    if auth.client_secret or file:
        if not client or not tenant:
            raise CredentialError("Azure needs tenant and client_id (AZURE_TENANT_ID, AZURE_CLIENT_ID)")
        fields = {"grant_type": "client_credentials", "client_id": client, "scope": scope}
        if auth.client_secret:
            fields["client_secret"] = auth.client_secret
        else:
            assertion = secret_file(file, "the federated token")
            fields |= {"client_assertion_type": ASSERTION, "client_assertion": assertion}
        authority = environ.get("AZURE_AUTHORITY_HOST", AUTHORITY).rstrip("/")
        url = auth.token_url or f"{authority}/{quote(tenant, safe='')}/oauth2/v2.0/token"
        return granted(await exchange.form(url, fields), exchange.now, "Microsoft Entra ID")
    return await _managed(exchange, scope.removesuffix("/.default"), client)


async def _managed(exchange: Exchange, resource: str, client: str) -> Grant:
    """Return a token of the managed identity of this machine, or of this app of App Service."""
    url, headers, version = MACHINE, {"Metadata": "true"}, "2018-02-01"
    endpoint = exchange.environ.get("IDENTITY_ENDPOINT", "")
    if endpoint:
        host = parse_link(endpoint).host
        if not is_loopback(host) and host not in ("169.254.129.1", "169.254.130.1", "169.254.131.2"):
            raise CredentialError("IDENTITY_ENDPOINT is not an address of this machine")
        url, version = endpoint, "2019-08-01"
        headers = {"X-IDENTITY-HEADER": exchange.environ.get("IDENTITY_HEADER", "")}
    query = {"api-version": version, "resource": resource, **({"client_id": client} if client else {})}
    body = await exchange.machine("GET", f"{url}?{urlencode(query)}", headers)
    try:
        said = msgspec.json.decode(body)
    except msgspec.MsgspecError as error:
        raise CredentialError("the managed identity does not answer with JSON") from error
    if isinstance(said, dict) and "expires_in" not in said and "expires_on" in said:  # App Service
        try:
            said["expires_in"] = float(said["expires_on"]) - exchange.now
        except (TypeError, ValueError) as error:
            raise CredentialError("the managed identity does not say when its token expires") from error
    return granted(said, exchange.now, "the managed identity")
