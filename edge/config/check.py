"""Validation of a configuration: every problem at once, each with its place and its remedy.

The reader has checked each value by itself. Here values are checked against each other and against the machine; the
only files that are opened are those that the configuration names. Requirements are never relaxed: a target that does
not meet one is an error now, not a surprise during an outage.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from msgspec import structs

from edge.config import (
    check_affinity,
    check_auth,
    check_cluster,
    check_crowding,
    check_discovery,
    check_incidents,
    check_keys,
    check_network,
    check_peers,
    check_shadow,
    check_telemetry,
    effective,
    words,
)
from edge.config.check_provider_auth import provider_auth
from edge.config.problems import Path, Problem
from edge.config.schema import MOST_MEMBERS
from edge.config.schema_targets import ModelTarget
from edge.config.units import NS_PER_S, format_duration, format_size
from edge.terms.places import CAPABILITIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from edge.config.problems import Document
    from edge.config.schema import Config, Match, Model, Service
    from edge.config.schema_policy import Breaker, Timeouts
    from edge.config.schema_targets import ServiceTarget
    from edge.terms import places

LONGEST_NAME: Final = 200
# Names of targets appear in response headers and, unescaped, in the JSON sent upstream.
_TARGET: Final = re.compile(r"[!#-\[\]-~]+")
_PATH: Final = re.compile(r"/[!$&-;=@-\[\]_a-z~]*")
_CALL: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(/[A-Za-z_]\w*)?", re.ASCII)
# Paths of the models' API and of edge itself. A service without a host may only match other paths.
_OWN_PATHS: Final = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/moderations",
    "/v1/rerank",
    "/v2/rerank",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/images/variations",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/models",
    "/healthz",
)
_STATUS_PATH: Final = "/edge/status"


def check(document: Document, known: Mapping[str, places.Provider]) -> list[Problem]:
    """Return the problems that the reader found and those found here, in the order of the file.

    Args:
        document: the configuration as read.
        known: known providers by name (``edge.providers.KNOWN``).
    """
    config = effective.whole(document.config, known)
    listed, known = known, effective.named(config, known)
    found = [
        *check_network.listeners(document, config),
        *check_network.providers(document, config, known, listed),
        *check_keys.providers(config),
        *check_keys.keys(document, config, known),
        *check_auth.auth(document, config),
        *provider_auth(config),
        *check_peers.peers(config),
        *check_cluster.cluster(config),
        *check_discovery.discovery(config),
        *_whole(document, config),
        *_rules(document, config),
        *check_telemetry.telemetry(config.telemetry),
        *check_crowding.crowding(document, config),
        *check_incidents.incidents(config),
    ]
    for name, model in config.models.items():
        found += _model(document, config, known, name, model)
    for name, service in config.services.items():
        found += _service(document, config, name, service)
    found += _matches(config)
    placed = {document.as_written(_in_file(document, problem)) for problem in found}
    return sorted(
        {*document.problems, *placed},
        key=lambda problem: (problem.line, [str(part) for part in problem.path], problem.sentence),
    )


def _in_file(document: Document, problem: Problem) -> Problem:
    """Return a problem with its path and line in the file."""
    path = document.place(problem.path)
    return structs.replace(problem, path=path, line=document.line(path))


def _whole(document: Document, config: Config) -> Iterator[Problem]:
    for name, value in (("region", config.node.region), ("name", config.node.name)):
        if not re.fullmatch(r"[!-~]([ -~]*[!-~])?", value) or len(value) > LONGEST_NAME:
            yield Problem(("node", name), f"{value!r} cannot stand in a header; use letters, digits and hyphens")
    unread = any(not problem.path for problem in document.problems)
    if not (unread or config.models or document.written("models") or document.written("services")):
        yield Problem((), "there is nothing to route; add models or services")
    if config.limits.max_buffered < config.limits.body:
        sentence = f"less than body, {format_size(config.limits.body)}: such a body would never fit; raise max_buffered"
        yield Problem(("limits", "max_buffered"), sentence)
    elif config.limits.max_buffered < 2 * config.limits.body and (
        config.keys or check_network.serves_strangers(config)
    ):
        who = "a key" if config.keys else "a client's address"
        sentence = (
            f"less than twice body, {format_size(config.limits.body)}: {who} holds at most half, so such a body would "
            "never fit; raise max_buffered"
        )
        yield Problem(("limits", "max_buffered"), sentence)
    for name in sorted(config.models.keys() & config.services.keys()):
        yield Problem(("services", name), f"a model is also called {name}, and metrics would mix them; rename one")
    for name in sorted(config.providers.keys() & config.services.keys()):
        yield Problem(("services", name), f"a provider is also called {name}, and targets would mix them; rename one")


def _rules(document: Document, config: Config) -> Iterator[Problem]:
    """Check deadlines and breakers where they are written, but not again where they are inherited."""
    yield from _deadlines(document, ("defaults", "timeouts"), config.defaults.timeouts)
    yield from _breaker(("defaults", "breaker"), config.defaults.breaker)
    owners: list[tuple[Path, Model | Service]] = [(("models", name), model) for name, model in config.models.items()]
    owners += [(("services", name), service) for name, service in config.services.items()]
    for path, owner in owners:
        if document.written(*path, "timeouts"):
            yield from _deadlines(document, (*path, "timeouts"), owner.timeouts)
        if document.written(*path, "breaker"):
            yield from _breaker((*path, "breaker"), owner.breaker)


def _deadlines(document: Document, path: Path, timeouts: Timeouts) -> Iterator[Problem]:
    """Check the deadlines that are written here: a default that total cuts short is nobody's mistake."""
    names = ("connect", "first_byte", "first_token", "stream_idle")
    longer = [
        name for name in names if document.written(*path, name) and (getattr(timeouts, name) or 0) > timeouts.total
    ]
    if longer:
        said = ", ".join(f"{name} {format_duration(getattr(timeouts, name))}" for name in longer)
        total = format_duration(timeouts.total)
        sentence = f"total {total} ends an exchange before {said}: a silent target is never replaced by another"
        yield Problem(path, sentence, severity="warning")


def _breaker(path: Path, breaker: Breaker) -> Iterator[Problem]:
    if breaker.open_duration_max < breaker.open_duration:
        least, most = format_duration(breaker.open_duration), format_duration(breaker.open_duration_max)
        sentence = f"{most} is less than open_duration, {least}"
        yield Problem((*path, "open_duration_max"), sentence)
    if breaker.window % NS_PER_S:
        yield Problem((*path, "window"), f"{format_duration(breaker.window)} is not whole seconds; write 1s to 10s")


def _model(
    document: Document, config: Config, known: Mapping[str, places.Provider], name: str, model: Model
) -> Iterator[Problem]:
    path: Path = ("models", name)
    provider = name.partition("/")[0]
    if not name.isprintable() or name != name.strip() or not 0 < len(name) <= LONGEST_NAME:
        yield Problem(path, f"a model's name is 1 to {LONGEST_NAME} printable characters without blanks at its ends")
    if "/" in name and document.written("providers", provider):
        sentence = f"{provider} is a provider, so {name} asks it directly; give the alias a name without {provider}/"
        yield Problem(path, sentence)
    if name.count("*") > 1:
        yield Problem(path, "a pattern has one *, which stands for any text; write one alias for each")
    yield from _members(document, path, model.targets)
    yield from check_affinity.choice(config, known, path, model)
    yield from check_affinity.hedge(config, path, model)
    for capability in model.require.capabilities:
        if capability not in CAPABILITIES:
            yield Problem((*path, "require", "capabilities"), check_network.unknown_capability(capability))
    for index, member in enumerate(model.targets):
        yield from _target(document, config, known, path=(*path, "targets", index), member=member, model=model)
    if model.shadow is not None:
        copied = ModelTarget(model.shadow.target)
        yield from _target(document, config, known, path=(*path, "shadow", "target"), member=copied, model=model)
        yield from check_shadow.of_model(config, path, model)


def _target(
    document: Document,
    config: Config,
    known: Mapping[str, places.Provider],
    *,
    path: Path,
    member: ModelTarget,
    model: Model,
) -> Iterator[Problem]:
    name, slash, upstream = member.target.partition("/")
    pattern = "*" in str(path[1])
    if upstream == "*" and not pattern:
        sentence = f"{member.target} leaves the model to the client, so the alias has to be a pattern, such as gpt-*"
        yield Problem(path, sentence)
        return
    if not (slash and name and upstream) or not _TARGET.fullmatch(member.target):
        yield Problem(path, f"{member.target!r} is not a target; write provider/model, such as openai/gpt-4.1-mini")
        return
    if not document.written("providers", name) and name not in config.providers:
        if name in known:
            yield Problem(path, f"the provider {name} is not configured; write providers: {{{name}: {{api_key: ...}}}}")
        else:
            yield Problem(path, f"unknown provider {name}" + _which(name, config.providers))
        return
    provider = config.providers.get(name)
    if provider is None:
        return  # the reader has reported what is wrong with it
    successor = dict(known[name].retired).get(upstream) if name in known else None
    if successor:
        sentence = f"{name} has retired {upstream}; write {name}/{successor}"
        yield Problem(path, sentence, severity="warning")
    allowed = model.require.jurisdiction
    here = effective.law(provider, known.get(name), upstream)
    if allowed and here not in allowed:
        law = f"is in jurisdiction {here}" if here else "has no known jurisdiction"
        yield Problem(path, f"{name} {law}, and this model requires {' or '.join(allowed)}; remove the target")
    offered = provider.capabilities or ()
    lacking = [wanted for wanted in model.require.capabilities if wanted in CAPABILITIES and wanted not in offered]
    if lacking:
        sentence = f"{name} does not offer {', '.join(lacking)}, which this model requires; remove the target"
        yield Problem(path, sentence + f", or write it in providers.{name}.capabilities if it does")


def _service(document: Document, config: Config, name: str, service: Service) -> Iterator[Problem]:
    path: Path = ("services", name)
    if not check_network.NAME.fullmatch(name):
        yield Problem(path, "a service's name consists of up to 63 letters, digits, dots, hyphens and underscores")
    yield from _members(document, path, service.targets, found=bool(service.discover))
    for index, member in enumerate(service.targets):
        yield from check_network.service_target(config, (*path, "targets", index), member.target)
    yield from check_shadow.of_service(config, path, service)
    if service.tls is not None:
        yield from check_network.upstream_tls((*path, "tls"), service.tls)
    own = _OWN_PATHS if config.models else ()
    yield from _match((*path, "match"), service.match, (*own, *([_STATUS_PATH] if config.public_status else [])))
    if service.match.grpc and service.protocol == "http1":
        yield Problem((*path, "protocol"), "gRPC requires HTTP/2: write protocol: h2c, or omit protocol")


def _match(path: Path, match: Match, own_paths: Sequence[str]) -> Iterator[Problem]:
    if match.grpc:
        if match.path:
            yield Problem((*path, "path"), "path and grpc exclude each other; grpc already determines the path")
        if not _CALL.fullmatch(match.grpc):
            sentence = f"{match.grpc!r} is not a gRPC service; write package.Service or package.Service/Method"
            yield Problem((*path, "grpc"), sentence)
    elif not match.host and not match.path:
        yield Problem(path, "host or path is missing; write path: / to match all requests that nothing else matches")
    if match.host and not check_network.HOST.fullmatch(match.host):
        yield Problem((*path, "host"), f"{match.host!r} is not a host name; write it without scheme and port")
    if match.path and (not _PATH.fullmatch(match.path) or "/." in match.path or "//" in match.path):
        sentence = f"{match.path!r} is not a path prefix; write one such as /api, without %, ?, #, // and /."
        yield Problem((*path, "path"), sentence)
    hidden = [own for own in own_paths if match.path.startswith(own)]
    if hidden and not match.host:
        owner = "edge (public_status)" if hidden[0] == _STATUS_PATH else "the models"
        yield Problem((*path, "path"), f"{hidden[0]} belongs to {owner}; add a host to distinguish the service")


def _matches(config: Config) -> Iterator[Problem]:
    first: dict[tuple[str, str], str] = {}
    for name, service in config.services.items():
        asked = (service.match.host.lower().rstrip("."), service.match.path or service.match.grpc)
        if asked in first:
            yield Problem(("services", name, "match"), f"it matches the same requests as services.{first[asked]}")
        first.setdefault(asked, name)


def _members(
    document: Document, path: Path, members: Sequence[ModelTarget | ServiceTarget], *, found: bool = False
) -> Iterator[Problem]:
    path = (*path, "targets")
    if not (members or found or document.written(*path, 0)):
        yield Problem(path, "a pool needs at least one target")
    if len(members) > MOST_MEMBERS:
        yield Problem(path, f"{len(members)} targets are too many; a pool has at most {MOST_MEMBERS}")
    seen: set[str] = set()
    for index, member in enumerate(members):
        if member.target in seen:
            yield Problem((*path, index), f"{member.target} is listed twice; list it once, with a higher weight")
        seen.add(member.target)
        if member.canary is not None and not any(
            other.tier == member.tier and other.target != member.target for other in members
        ):
            yield Problem((*path, index, "canary"), "no other target of its tier is there to compare it with; add one")


def _which(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    return words.nearest(name, names) or (f"; configured are {', '.join(names)}" if names else "; none is configured")
