"""Checks of ``providers.NAME.auth``: what each type needs, and what has no effect with it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from edge.config import addresses
from edge.config.check_network import readable
from edge.config.effective import REGION, region_of
from edge.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.problems import Path
    from edge.config.schema import Config, Provider
    from edge.config.schema_provider_auth import ProviderAuth

_TAKES: Final[dict[str, frozenset[str]]] = {
    "bearer": frozenset(),
    "header": frozenset({"header"}),
    "azure_ad": frozenset({"token_url", "client_id", "client_secret", "tenant", "scope", "token_file", "ca"}),
    "google": frozenset({"scope", "credentials", "ca"}),
    "aws_sigv4": frozenset({"token_file", "region", "service", "role", "profile", "ca"}),
    "bedrock_key": frozenset({"token_file", "region", "role", "profile", "ca"}),
    "oauth2": frozenset({"token_url", "client_id", "client_secret", "scope", "audience", "token_file", "ca"}),
}
_FIELD: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TEXT: Final = re.compile(r"[!-~]*")
_SERVICE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_RELAYED: Final = frozenset({"batches", "conversations", "files", "fine_tuning", "vector_stores"})
"""Bodies for these are relayed as they come, and a signature covers the whole body."""
_OURS: Final = frozenset({"host", "content-length", "content-type", "connection", "transfer-encoding", "te", "upgrade"})


def provider_auth(config: Config) -> Iterator[Problem]:
    """Check how edge authenticates to each provider."""
    for name, provider in config.providers.items():
        if provider.auth is not None:
            yield from _one(("providers", name), provider, provider.auth)


def _one(path: Path, provider: Provider, auth: ProviderAuth) -> Iterator[Problem]:
    place: Path = (*path, "auth")
    yield from _texts(place, auth)
    if auth.fetched and provider.api_key:
        yield Problem((*path, "api_key"), f"it has no effect beside auth {auth.type}, which fetches one; remove it")
    elif not auth.fetched and not provider.api_key:
        yield Problem((*path, "api_key"), f"api_key is missing, which auth {auth.type} sends", severity="warning")
    if auth.type == "header" and (not _FIELD.fullmatch(auth.header) or auth.header.lower() in _OURS):
        yield Problem((*place, "header"), "write the name of the field that carries api_key, such as api-key")
    if auth.fetched and provider.base_url.startswith("http://") and _is_far(provider.base_url):
        yield Problem((*path, "base_url"), "its token would be sent unencrypted; write https")
    yield from _endpoint(place, auth)
    if auth.is_aws:
        yield from _aws(path, provider, auth)


def _aws(path: Path, provider: Provider, auth: ProviderAuth) -> Iterator[Problem]:
    place: Path = (*path, "auth")
    told = region_of(provider.base_url)
    if auth.region and not REGION.fullmatch(auth.region):
        yield Problem((*place, "region"), f"{auth.region!r} is not a region of AWS; write one such as eu-west-1")
    elif told and auth.region and told != auth.region:
        sentence = f"base_url is in {told}, which takes no signature for {auth.region}; write one of them"
        yield Problem((*place, "region"), sentence)
    if not auth.signs:
        return
    if auth.service and not _SERVICE.fullmatch(auth.service):
        yield Problem((*place, "service"), f"{auth.service!r} is not a service of AWS; write one such as bedrock")
    for name in provider.headers:
        if name.lower().startswith("x-amz-") or name.lower() == "authorization":
            yield Problem((*path, "headers", name), "aws_sigv4 writes this field itself; remove it")
    relayed = sorted(_RELAYED.intersection(provider.capabilities or ()))
    if relayed:
        sentence = f"{', '.join(relayed)} cannot be signed, because their bodies are relayed as they come; remove them"
        yield Problem((*path, "capabilities"), sentence)


def _texts(place: Path, auth: ProviderAuth) -> Iterator[Problem]:
    for field in auth.__struct_fields__:
        if field != "type" and getattr(auth, field) and field not in _TAKES[auth.type]:
            yield Problem((*place, field), f"it has no effect with type {auth.type}; remove it")
    for field in ("client_id", "tenant", "scope", "audience", "role", "profile"):
        if not _TEXT.fullmatch(getattr(auth, field).replace(" ", "")):
            yield Problem((*place, field), "it has characters that a token endpoint does not take")
    for field in ("token_file", "credentials", "ca"):
        yield from readable((*place, field), getattr(auth, field))
    if auth.token_file is not None and auth.client_secret:
        yield Problem((*place, "token_file"), "client_secret and token_file prove the same; write one of them")


def _endpoint(place: Path, auth: ProviderAuth) -> Iterator[Problem]:
    if auth.type == "oauth2":
        for field in ("token_url", "client_id"):
            if not getattr(auth, field):
                yield Problem((*place, field), f"{field} is missing: oauth2 cannot know it")
        if not auth.client_secret and auth.token_file is None:
            yield Problem((*place, "client_secret"), "client_secret is missing, or token_file with an assertion")
    if auth.type == "azure_ad" and auth.client_secret and not (auth.client_id and auth.tenant):
        yield Problem((*place, "client_id"), "a client_secret needs client_id and tenant")
    if not auth.token_url:
        return
    try:
        url = addresses.parse_link(auth.token_url)
    except ValueError as error:
        yield Problem((*place, "token_url"), str(error).replace("write it as api_key", "remove it"))
        return
    why = addresses.forbidden(url.host)
    if why:
        yield Problem((*place, "token_url"), f"{url.host} must not be called: {why}")
    elif not url.tls and not addresses.is_loopback(url.host):
        yield Problem((*place, "token_url"), "whoever stands between gets the client's secret; write https")


def _is_far(text: str) -> bool:
    try:
        return not addresses.is_private(addresses.parse_base_url(text).host)
    except ValueError:  # reported where base_url is checked
        return False
