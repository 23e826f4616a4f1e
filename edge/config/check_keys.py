"""Checks of client keys and of the limits of keys and providers.

A key itself must never be in the file; what looks like a key is refused without being repeated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from edge.config import check_network, effective, words
from edge.config.problems import Path, Problem, spell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from edge.config.problems import Document
    from edge.config.schema import Config
    from edge.config.schema_keys import Key
    from edge.terms import places

SERVICE: Final = "service:"
"""Prefix of a service's name in ``keys[].models``."""

_SHA256: Final = re.compile(r"[0-9A-Fa-f]{64}")
# Prefixes of real keys: edge's own, and those of well-known providers.
_CLEAR: Final = ("edge-", "sk-", "AIza")
# A URI, or a DNS name without a wildcard: a name has to identify one caller.
_CERTIFIED: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[!-~]+|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_MAKE: Final = "`edge keys new NAME` prints the line"
# The hash of the empty string, which a script writes if its variable was empty.
_EMPTY: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def keys(document: Document, config: Config, known: Mapping[str, places.Provider]) -> Iterator[Problem]:
    """Check each key, and all keys against each other."""
    names: dict[str, int] = {}
    hashes: dict[str, str] = {}
    for index, key in enumerate(config.keys):
        path: Path = ("keys", index)
        if not check_network.NAME.fullmatch(key.name):
            sentence = "a key's name consists of up to 63 letters, digits, dots, hyphens and underscores"
            yield Problem((*path, "name"), sentence)
        elif key.name in names:
            first = spell(document.place(("keys", names[key.name])))
            sentence = f"{key.name} is also the name of {first}; give each key its own name"
            yield Problem((*path, "name"), sentence)
        names.setdefault(key.name, index)
        if key.sha256:
            yield from _sha256((*path, "sha256"), key)
        elif not (key.certificates or _tokens(document, config) or _is_unread(document, (*path, "sha256"))):
            yield Problem(path, f"sha256 is missing: SHA-256 of the key, 64 hex digits; {_MAKE}")
        digest = key.sha256.lower()
        if _SHA256.fullmatch(digest) and digest in hashes:
            sentence = f"it is the same key as {hashes[digest]}; make one for each caller: {_MAKE}"
            yield Problem((*path, "sha256"), sentence)
        hashes.setdefault(digest, key.name)
        yield from _models(document, config, known, path, key)
        yield from _bounds(path, key)
        if key.budget is not None or (key.each is not None and key.each.budget is not None):
            yield from _budget(config, known, path, key)
        yield from _each(path, key)
        yield from _scope(config, (*path, "scope"), key.scope)
    yield from _identities(document, config)


def _is_unread(document: Document, path: Path) -> bool:
    """Return whether the reader has reported a value, so that it is missing for that reason."""
    place = document.place(path)
    return document.written(*place) and any(problem.path == place for problem in document.problems)


def _tokens(document: Document, config: Config) -> bool:
    return bool(config.auth.jwt) or document.written("auth", "jwt", 0)


def _identities(document: Document, config: Config) -> Iterator[Problem]:
    """Check that each name and group in tokens, and each name in certificates, leads to one key."""
    owners: dict[str, dict[str, str]] = {"identities": {key.name: key.name for key in config.keys}}
    owners |= {"groups": {}, "certificates": {}}
    tokens = _tokens(document, config)
    certified = any(check_network.asks_for_certificates(listen) for listen in config.listen)
    for index, key in enumerate(config.keys):
        for field, known in owners.items():
            for place, name in enumerate(getattr(key, field)):
                path: Path = ("keys", index, field, place)
                if field == "certificates" and not _CERTIFIED.fullmatch(name):
                    sentence = f"{name!r} is no name of a certificate; write spiffe://DOMAIN/PATH, or a DNS name"
                    yield Problem(path, sentence)
                elif not name or not name.isprintable():
                    yield Problem(path, "write the text that tokens have, in printable characters")
                elif (same := name.lower() if field == "certificates" and "://" not in name else name) in known:
                    whose = "this key" if known[same] == key.name else f"the key {known[same]}"
                    yield Problem(path, f"{name} leads to {whose} already; write it once")
                else:
                    known[same] = key.name
            if getattr(key, field) and not (certified if field == "certificates" else tokens):
                remedy = "certificate is asked for, so they have no effect; write client_ca in the tls of a listener"
                if field != "certificates":
                    remedy = "token is accepted, so they have no effect; write auth.jwt"
                yield Problem(("keys", index, field), f"no {remedy}", severity="warning")


def providers(config: Config) -> Iterator[Problem]:
    """Check the limits and prices of providers."""
    for name, provider in config.providers.items():
        yield from _scope(config, ("providers", name, "limits", "scope"), provider.limits.scope)
        for model, price in provider.prices.items():
            path: Path = ("providers", name, "prices", model)
            if not model or not model.isprintable() or model.startswith(f"{name}/"):
                yield Problem(path, f"write only the provider's name of the model, without {name}/")
            if not price.known:
                yield Problem(
                    path, "input and output are missing; write US dollars per million tokens, 0 if it is free"
                )


def _sha256(path: Path, key: Key) -> Iterator[Problem]:
    if key.sha256.startswith(_CLEAR):
        yield Problem(
            path,
            "this is a key, not its SHA-256, and anyone who reads the file could use it; make a new one with "
            f"`edge keys new {key.name if check_network.NAME.fullmatch(key.name) else 'NAME'}`, and write the "
            "sha256 that it prints",
        )
    elif not _SHA256.fullmatch(key.sha256):
        said = f"{len(key.sha256)} characters" if len(key.sha256) != 64 else "other characters"  # noqa: PLR2004
        yield Problem(path, f"not the SHA-256 of a key, which has 64 hex digits; this has {said}; {_MAKE}")
    elif key.sha256.lower() == _EMPTY:
        yield Problem(path, f"this is the SHA-256 of an empty text; {_MAKE}")


def _models(
    document: Document, config: Config, known: Mapping[str, places.Provider], path: Path, key: Key
) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, name in enumerate(key.models):
        place: Path = (*path, "models", index)
        if name in seen:
            yield Problem(place, f"{name} is listed twice; remove one")
        seen.add(name)
        sentence = _unknown(document, config, known, name)
        if sentence:
            yield Problem(place, sentence)


def _unknown(  # noqa: PLR0911  # one return per fault
    document: Document, config: Config, known: Mapping[str, places.Provider], name: str
) -> str:
    """Return what is wrong with an entry of a key's models; "" if it exists."""
    if name in config.models or document.written("models", name):
        return ""
    if name.startswith(SERVICE):
        service = name.removeprefix(SERVICE)
        if service in config.services or document.written("services", service):
            return ""
        return f"there is no service {service}" + _likely(service, config.services)
    provider, slash, model = name.partition("/")
    if slash and (provider in config.providers or document.written("providers", provider)):
        return "" if model else f"write {provider}/MODEL, or {provider}/* for all of its models"
    if slash and provider in known:
        return f"the provider {provider} is not configured; write providers: {{{provider}: {{api_key: ...}}}}"
    if slash:
        return f"unknown provider {provider}" + _likely(provider, config.providers)
    if name in config.services:
        return f"{name} is a service; write {SERVICE}{name}"
    if name in config.providers:
        return f"{name} is a provider; write {name}/* for all of its models"
    if name in ("*", "all"):
        return "omit models to allow the key everything"
    asked = [*config.models, *(SERVICE + service for service in config.services)]
    return f"there is no model {name!r}" + _likely(name, asked)


def _likely(name: str, names: Iterable[str]) -> str:
    listed = sorted(names)
    return words.nearest(name, listed) or (f"; known are {', '.join(listed)}" if listed else "; none is configured")


def _each(path: Path, key: Key) -> Iterator[Problem]:
    if key.each is None:
        return
    if key.sha256:
        yield Problem((*path, "each"), "a key with a sha256 is one caller; write each in a key without one")
    together = ("requests_per_minute", "tokens_per_minute", "concurrent", "budget")
    if any(getattr(key, field) for field in together) or key.scope != "node":
        yield Problem((*path, "each"), f"{', '.join(together)} and scope are not beside it; write limits within each")


def _bounds(path: Path, key: Key) -> Iterator[Problem]:
    for what in ("requests", "tokens"):
        burst, limit = getattr(key, f"{what}_burst"), getattr(key, f"{what}_per_minute")
        if burst and not limit:
            sentence = f"a burst has no effect without {what}_per_minute; write that too, or omit the burst"
            yield Problem((*path, f"{what}_burst"), sentence)


def _scope(config: Config, path: Path, scope: str) -> Iterator[Problem]:
    if scope == "global" and config.cluster.etcd is None:
        sentence = "without cluster.etcd nothing is shared, and each node grants the whole limit"
        yield Problem(path, sentence, severity="warning")


def _budget(config: Config, known: Mapping[str, places.Provider], path: Path, key: Key) -> Iterator[Problem]:
    """Refuse models that the key may use and that have no price, because the budget could not be charged for them.

    What a caller names after ``provider/`` is not known here. A request for a model without a price is refused when it
    comes, so ``provider/*`` is an error only where no model of the provider has a price.
    """
    unpriced = sorted(_unpriced(config, known, key))
    if unpriced:
        shown = ", ".join(unpriced[:3]) + (f" and {len(unpriced) - 3} more" if len(unpriced) > 3 else "")  # noqa: PLR2004
        sentence = (
            f"the price of {shown} is unknown, and a key with a budget may not use what has no price; write it in "
            f"providers.{unpriced[0].partition('/')[0]}.prices (`*` for all models that are not listed, "
            "{input: 0, output: 0} if it is free)"
        )
        yield Problem((*path, "budget"), sentence)


def _unpriced(config: Config, known: Mapping[str, places.Provider], key: Key) -> set[str]:
    asked: set[str] = set()
    for name in key.models or config.models:
        if name in config.models:
            asked |= {member.target for member in config.models[name].targets}
        elif not name.startswith(SERVICE):
            asked.add(name)
    unpriced = set()
    for target in asked:
        name, _, model = target.partition("/")
        provider, facts = config.providers.get(name), known.get(name)
        if provider is None:
            continue
        some = bool(provider.prices) or (facts is not None and bool(facts.prices))
        if not effective.price(provider, facts, model).known and not (model == "*" and some):
            unpriced.add(target)
    return unpriced
