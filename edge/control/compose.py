"""Compilation of a configuration into a Snapshot, with the tables and policies of the packages it depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import structs

from edge.balance import outcomes, policy
from edge.config import effective
from edge.config.addresses import is_loopback, parse_address
from edge.config.check import check
from edge.config.fields import Secret
from edge.config.load import from_environment, read
from edge.config.problems import Document, errors
from edge.config.shared_keys import shares_keys
from edge.errors import ConfigInvalidError
from edge.providers import IN_ENVIRONMENT, KNOWN
from edge.providers.wordings import WORDINGS
from edge.routing import identity
from edge.routing.planner import plan
from edge.routing.weights import weighed

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from edge.config.schema import Config
    from edge.terms.credentials import ProviderToken
    from edge.terms.places import Endpoint, Peer
    from edge.terms.snapshot import Listener, SigningKeys, Snapshot, Target

# If one of these changes, the id means another target, and what was learned about the old one does not apply.
_IDENTITY: Final = ("kind", "provider", "model", "host", "port", "base_path", "tls", "protocol", "fields", "signing")


def checked(document: Document) -> Config:
    """Return the configuration of a document if it is valid; showing the warnings is up to the caller.

    Raises:
        ConfigInvalidError: with every error and its position.
    """
    found = errors(check(document, KNOWN))
    if found:
        raise ConfigInvalidError([problem.text(document.source) for problem in found])
    return document.config


def load_checked(path: str | os.PathLike[str]) -> Config:
    """Return the configuration in a file if it is valid.

    Raises:
        ConfigInvalidError: with every error and its position.
    """
    return checked(read(path))


def from_keys(environ: Mapping[str, str]) -> Config | None:
    """Return a configuration for the providers whose keys are in the environment; None if there are none.

    Raises:
        ConfigInvalidError: the environment holds an invalid value.
    """
    config = from_environment(environ, IN_ENVIRONMENT)
    return None if config is None else checked(Document(config, source="the environment"))


def compile_config(
    config: Config,
    *,
    now: float,
    previous: Snapshot | None = None,
    capacity: tuple[int, int] | None = None,
    allowance_capacity: int | None = None,
    peers: Sequence[Peer] = (),
    found: Mapping[str, Sequence[Endpoint]] | None = None,
    signing: Mapping[str, SigningKeys] | None = None,
    tokens: Mapping[str, ProviderToken] | None = None,
    weights: Mapping[str, float] | None = None,
    described: Mapping[str, tuple[bytes, ...]] | None = None,
) -> Snapshot:
    """Compile a checked configuration into the next Snapshot.

    Args:
        config: a checked configuration.
        now: Unix time, seconds.
        previous: the Snapshot it replaces, whose version is incremented and whose shared-state records are kept.
        capacity: number of records for targets and routes in the shared state; None: there is no shared state yet.
        allowance_capacity: number of records for keys and credentials; None: there is no shared state yet.
        peers: edges of other regions in addition to those in the configuration.
        found: the addresses that sources of discovery name; None: those of ``previous``.
        signing: the signing keys of issuers, by source; None: those of ``previous``.
        tokens: tokens of providers whose credential is fetched; None: those of ``previous``.
        weights: what operators have set, by target id; None: those of ``previous``.
        described: what gRPC services say of themselves, by name; None: that of ``previous``.

    Raises:
        ConfigInvalidError: the node's shared state is too small for this configuration.
    """
    if signing is None:
        signing = previous.signing if previous is not None else {}
    if tokens is None:
        tokens = previous.tokens if previous is not None else {}
    tokens = _usable(config, tokens, now)
    issuers = identity.issuers(config)
    sources = {issuer.source for issuer in issuers}
    snapshot = plan(
        _with_tokens(config, tokens),
        known=KNOWN,
        outcomes=outcomes.TABLES,
        breaker=policy.breaker,
        version=previous.version + 1 if previous else 1,
        now=now,
        slots=previous.slots if previous else None,
        capacity=capacity,
        allowance_capacity=allowance_capacity,
        peers=peers,
        wordings=WORDINGS,
        found=found if found is not None or previous is None else previous.found,
    )
    if weights is None:
        weights = previous.weights if previous is not None else {}
    snapshot = _with_keys(weighed(snapshot, weights), tokens)
    signing = {source: keys for source, keys in signing.items() if source in sources}
    if described is None:
        described = previous.described if previous is not None else {}
    named = {match.grpc.partition("/")[0] for match in snapshot.services}
    return structs.replace(
        snapshot,
        issuers=issuers,
        signing=signing,
        tokens=tokens,
        demands_keys=_demands_keys(config),
        described={name: files for name, files in described.items() if name in named},
    )


def _usable(config: Config, tokens: Mapping[str, ProviderToken], now: float) -> dict[str, ProviderToken]:
    """Return the tokens that the configuration asks for and that have not expired."""
    if not tokens:
        return {}
    auths = effective.auths(config, KNOWN)
    return {
        name: token
        for name, token in tokens.items()
        if name in auths and token.expires > now and token.wanted == auths[name].identity
    }


def _with_tokens(config: Config, tokens: Mapping[str, ProviderToken]) -> Config:
    """Return the configuration with each token in place of its provider's key."""
    if not tokens:
        return config
    providers = {
        name: structs.replace(provider, api_key=Secret(tokens[name].token)) if name in tokens else provider
        for name, provider in config.providers.items()
    }
    return structs.replace(config, providers=providers)


def _with_keys(snapshot: Snapshot, tokens: Mapping[str, ProviderToken]) -> Snapshot:
    """Return the Snapshot with the keys that sign the requests to its targets."""
    keys = {name: token.signing for name, token in tokens.items() if token.signing is not None}
    if not keys:
        return snapshot
    targets = tuple(
        target if target.signing is None else structs.replace(target, signing=keys.get(target.provider, target.signing))
        for target in snapshot.targets
    )
    return structs.replace(snapshot, targets=targets)


def _demands_keys(config: Config) -> bool:
    """Return whether callers need a key even while the cluster has none: others than this machine may call."""
    return shares_keys(config) and not all(is_loopback(parse_address(listen.address)[0]) for listen in config.listen)


def at_addresses(snapshot: Snapshot, held: tuple[Listener, ...]) -> Snapshot:
    """Return the Snapshot with the listeners that this node holds, and the present content of their certificates."""
    written = dict(zip(held, snapshot.listeners, strict=False))  # the order is the same: a reload changes none
    listeners = tuple(structs.replace(one, tls=written[one].tls) if one in written and one.tls else one for one in held)
    return structs.replace(snapshot, listeners=listeners)


def _identity(target: Target) -> list[object]:
    tls = target.tls if target.tls is None else structs.replace(target.tls, content="")  # a renewed certificate
    # a token that is renewed is no other credential; whether there is one matters
    fields = [(name, "" if name == target.renewed else value) for name, value in target.fields]
    signing = target.signing and (target.signing.region, target.signing.service, bool(target.signing.access))
    seen = {"tls": tls, "fields": fields, "signing": signing}
    return [seen[name] if name in seen else getattr(target, name) for name in _IDENTITY]


def moved_targets(snapshot: Snapshot, previous: Snapshot) -> set[str]:
    """Return the ids that mean another target than before."""
    known = {target.id: target for target in previous.targets}
    return {
        target.id
        for target in snapshot.targets
        if target.id in known and _identity(known[target.id]) != _identity(target)
    }
