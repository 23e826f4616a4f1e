"""Checks of the section ``auth``: issuers of tokens, and the keys that their callers use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import structs

from edge.config import addresses, words
from edge.config.check_incidents import link
from edge.config.check_network import tls_files
from edge.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.problems import Document, Path
    from edge.config.schema import Config
    from edge.config.schema_auth import Jwt

DISCOVERY: Final = "/.well-known/openid-configuration"
"""Where an issuer says where its signing keys are (OpenID Connect Discovery 1.0, section 4)."""

_LONGEST: Final = 200


def source_of(jwt: Jwt) -> str:
    """Return the URL that an issuer's signing keys are asked at, or that says where."""
    return jwt.jwks or jwt.issuer.rstrip("/") + DISCOVERY


def auth(document: Document, config: Config) -> Iterator[Problem]:
    """Check each issuer, and all against each other."""
    seen: set[tuple[str, str]] = set()
    names = {key.name for key in config.keys}
    for index, jwt in enumerate(config.auth.jwt):
        path: Path = ("auth", "jwt", index)
        if (jwt.issuer, jwt.audience) in seen:
            yield Problem(path, "another entry has this issuer and this audience; join them")
        seen.add((jwt.issuer, jwt.audience))
        yield from _texts(path, jwt)
        yield from _source(path, jwt)
        yield from tls_files(path, None, None, "ca", jwt.ca)
        if jwt.key and jwt.key not in names:
            hint = words.nearest(jwt.key, sorted(names)) or "; write it in keys, where it needs no sha256"
            yield Problem((*path, "key"), f"there is no key {jwt.key}{hint}")
    issuers = {jwt.issuer: jwt.prefix for jwt in config.auth.jwt}
    if len(set(issuers.values())) < len(issuers):
        sentence = "two issuers have the same prefix, so each can name the other's callers; give each one of its own"
        yield Problem(("auth", "jwt"), sentence, severity="warning")
    if config.auth.jwt and not (config.keys or document.written("keys", 0)):
        sentence = "there are no keys, so every token is refused; write one for each caller, or one for all (key)"
        yield Problem(("auth", "jwt"), sentence, severity="warning")


def _texts(path: Path, jwt: Jwt) -> Iterator[Problem]:
    for name in ("issuer", "audience", "name", "groups"):
        text = getattr(jwt, name)
        if not text or not text.isprintable() or len(text) > _LONGEST:
            yield Problem((*path, name), f"write 1 to {_LONGEST} printable characters")
    if jwt.prefix and (not jwt.prefix.isprintable() or len(jwt.prefix) > _LONGEST):
        yield Problem((*path, "prefix"), f"write up to {_LONGEST} printable characters")


def _source(path: Path, jwt: Jwt) -> Iterator[Problem]:
    place: Path = (*path, "jwks") if jwt.jwks else (*path, "issuer")
    if not jwt.jwks and not re.match(r"https?://", jwt.issuer):
        yield Problem((*path, "jwks"), "the issuer is no URL, so it cannot say where its keys are; write jwks")
        return
    found = [problem for problem in link(place, source_of(jwt)) if problem.severity == "error"]
    for problem in found:
        yield structs.replace(problem, sentence=problem.sentence.replace("write it as api_key", "remove it"))
    if found:
        return
    url = addresses.parse_link(source_of(jwt))
    if not url.tls and not addresses.is_loopback(url.host):
        severe = not addresses.is_private(url.host)
        sentence = "whoever stands between could replace the keys and be every caller; write https"
        yield Problem(place, sentence, severity="error" if severe else "warning")
