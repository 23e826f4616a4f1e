"""Fetching of a provider's token, by the type of its ``auth``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.credentials import aws, azure, google, oauth2
from edge.credentials.exchange import CredentialError, Exchange

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from edge.config.schema_provider_auth import ProviderAuth
    from edge.credentials.exchange import Grant

_TYPES: Final[dict[str, Callable[[Exchange, ProviderAuth], Awaitable[Grant]]]] = {
    "azure_ad": azure.fetch,
    "google": google.fetch,
    "aws_sigv4": aws.fetch,
    "bedrock_key": aws.fetch,
    "oauth2": oauth2.fetch,
}


async def fetch(auth: ProviderAuth, environ: Mapping[str, str], now: float) -> Grant:
    """Return a token that has not expired.

    Args:
        auth: of a provider, of a type whose credential is fetched.
        environ: environment variables.
        now: Unix time.

    Raises:
        CredentialError: it cannot be had.
    """
    grant = await _TYPES[auth.type](Exchange(environ, now, auth.ca), auth)
    if grant.expires <= now:
        raise CredentialError("the token has expired already; look at the clocks")
    return grant
