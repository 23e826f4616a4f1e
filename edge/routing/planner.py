"""Compiler from Config to Snapshot, as a pure function.

The configuration must have passed ``edge.config.check``. What other packages know is passed in: the known providers,
the outcome tables and the breaker policy (see ``edge.control.compose``, which connects them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from msgspec import structs

from edge.config import addresses, effective, schema, schema_policy, schema_targets
from edge.config.check_discovery import sources
from edge.config.compiled import compiled
from edge.config.schema import MOST_MEMBERS
from edge.routing import allowances, reach, spread, upstreams
from edge.routing import slots as shared_state
from edge.terms import snapshot as plan_of
from edge.terms.copies import Shadow
from edge.terms.snapshot import Member, Route, ServiceMatch, Snapshot, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge.config.schema_peers import Peers
    from edge.config.schema_policy import Breaker, Timeouts
    from edge.terms.places import Endpoint, Peer, Provider, Wording

    Kind = Literal["model", "service"]
    Rules = schema.Model | schema.Service | schema.Defaults
    BreakerPolicy = Callable[[Breaker, Timeouts, Kind], plan_of.Breaker]

WILDCARD_MODEL: Final = "*"
FOUND_URL: Final = "http://localhost/v1"
"""How a provider with ``discover`` and without ``base_url`` is asked; what is found replaces host and port."""

STORED: Final = "*/*"
"""The name of the route of all providers; no alias can have it, because a pattern has one star."""

SHADOW: Final = "shadow"
SHADOW_ROUTE: Final = "shadow**"
"""How the ids of targets for copies begin, and the names of their routes, which no alias can have either."""

REGION_TIER: Final = 1000
"""Comes after every tier that a configuration can name: other regions serve a request when no local target can."""


def plan(
    config: schema.Config,
    *,
    known: Mapping[str, Provider],
    outcomes: Mapping[str, bytes],
    breaker: BreakerPolicy,
    version: int,
    now: float,
    slots: Mapping[str, int] | None = None,
    capacity: tuple[int, int] | None = None,
    allowance_capacity: int | None = None,
    peers: Sequence[Peer] = (),
    wordings: Sequence[Wording] = (),
    found: Mapping[str, Sequence[Endpoint]] | None = None,
) -> Snapshot:
    """Compile a checked configuration.

    Args:
        config: the configuration.
        known: known providers by name (``edge.providers.KNOWN``).
        outcomes: tables of action codes by name (``edge.balance.outcomes.TABLES``).
        breaker: makes a route's breaker (``edge.balance.policy.breaker``).
        version: version of the Snapshot; higher than the previous one.
        now: Unix time in seconds.
        slots: ``slots`` of the previous Snapshot; names in it keep their records in the shared state.
        capacity: number of target records and route records in the shared state; None at the first start.
        allowance_capacity: number of key and credential records in the shared state; None at the first start.
        peers: edges of other regions that are known besides the configured ones; those of this region are ignored.
        wordings: what the error texts of all providers mean (``edge.providers.wordings.WORDINGS``).
        found: what sources of discovery have named, by URL; other sources than those of ``config`` are ignored.

    Raises:
        ConfigInvalidError: there are more targets, routes, or keys and credentials than records in the shared state.
    """
    targets, routes = capacity or (None, None)
    most = shared_state.Most(targets, routes, allowance_capacity)
    planner = _Planner(config, known, outcomes, breaker, peers, found=found or {})
    snapshot = planner.snapshot(version, now, slots or {}, most)
    return structs.replace(snapshot, wordings=tuple(structs.astuple(wording) for wording in wordings))


def capacities(snapshot: Snapshot, config: schema.Config | None = None) -> tuple[int, int]:
    """Return how many target records and route records to create for this Snapshot and for later, larger ones.

    ``config`` has the pools whose members are discovered: each may become full, and half of it change at once.
    """
    targets = max((target.slot for target in snapshot.targets), default=0)
    routes = max((route.slot for route in snapshot.routes), default=0)
    return shared_state.room(targets + _discovered(config) * MOST_MEMBERS), shared_state.room(routes)


def _discovered(config: schema.Config | None) -> int:
    """Return the number of pools whose members are discovered, each model of a provider with ``discover`` being one."""
    if config is None:
        return 0
    asked = {at.target for model in config.models.values() for at in model.targets}
    named = [*asked, *(f"{name}/{WILDCARD_MODEL}" for name in config.providers)]
    models = sum(bool(config.providers[name.partition("/")[0]].discover) for name in named)
    return models + sum(bool(service.discover) for service in config.services.values())


def allowance_capacity(snapshot: Snapshot) -> int:
    """Return how many key and credential records to create for this Snapshot and for later, larger ones."""
    return shared_state.room(max((held.slot for held in allowances.held(snapshot)), default=0))


class _Planner:
    """Collects targets and routes in order; an index never changes once it is assigned."""

    def __init__(
        self,
        config: schema.Config,
        known: Mapping[str, Provider],
        outcomes: Mapping[str, bytes],
        breaker: BreakerPolicy,
        peers: Sequence[Peer],
        *,
        found: Mapping[str, Sequence[Endpoint]],
    ) -> None:
        self._config = config
        self._found = {url: tuple(found.get(url, ())) for url in sources(config)}
        self._like: dict[str, Target] = {}  # a target of each service and model, from which found ones differ little
        self._asked: dict[str, None] = {}  # provider/model of every member, in order
        self._peers = reach.peers(config, peers)
        self._known = effective.named(config, known)
        self._providers = {
            name: effective.provider(name, provider, self._known) for name, provider in config.providers.items()
        }
        self._credentials = [name for name, provider in self._providers.items() if allowances.is_bounded(provider)]
        self._breaker = breaker
        self._outcomes = dict(outcomes)
        self._hints: dict[str, tuple[tuple[int, bytes, int], ...]] = {}
        self._targets: dict[str, Target] = {}
        self._index: dict[str, int] = {}
        self._routes: list[Route] = []

    def snapshot(self, version: int, now: float, previous: Mapping[str, int], most: shared_state.Most) -> Snapshot:
        config = self._config
        models = {name: self._alias(name, model) for name, model in config.models.items()}
        models |= self._direct(models)
        providers = {name: self._wildcard(name) for name in config.providers}
        services = tuple(self._service(name, service) for name, service in config.services.items())
        stored = self._stored()
        slots = shared_state.assign_all(
            previous,
            most,
            targets=self._targets,
            routes=[route.name for route in self._routes],
            allowances=[shared_state.KEY + key.name for key in config.keys]
            + [shared_state.CREDENTIAL + name for name in self._credentials],
        )
        return Snapshot(
            version=version,
            created=now,
            region=config.node.region,
            node=config.node.name,
            listeners=tuple(reach.listener(listen) for listen in config.listen),
            targets=tuple(structs.replace(target, slot=slots[target.id]) for target in self._targets.values()),
            routes=tuple(structs.replace(route, slot=slots[shared_state.ROUTE + route.name]) for route in self._routes),
            models=models,
            providers=providers,
            services=services,
            peers=None if config.peers is None else reach.believed(config.peers),
            limits=compiled(config.limits, plan_of.Limits),
            outcomes=self._outcomes,
            keys=tuple(allowances.key(key, slots[shared_state.KEY + key.name]) for key in config.keys),
            credentials=tuple(
                allowances.credential(name, self._providers[name].limits, slots[shared_state.CREDENTIAL + name])
                for name in self._credentials
            ),
            hints=self._hints,
            found=self._found,
            slots=slots,
            tracing=compiled(config.telemetry, plan_of.Tracing, every_request=config.log.access == "all"),
            public_status=config.public_status,
            stored=stored,
        )

    def _alias(self, name: str, model: schema.Model) -> int:
        shadow = None if model.shadow is None else self._model_shadow(name, model, model.shadow)
        return self._route(name, "model", self._members(model.targets), model, shadow=shadow)

    def _model_shadow(self, name: str, model: schema.Model, shadow: schema_policy.Shadow) -> Shadow:
        target = self._new_model(f"{SHADOW}:{name}:{shadow.target}", shadow.target)
        return self._shadow(f"model/{name}", "model", target, model, shadow)

    def _service_shadow(self, name: str, service: schema.Service, shadow: schema_policy.ServiceShadow) -> Shadow:
        target = self._new_address(f"{SHADOW}:{name}:{shadow.target}", name, service, shadow.target)
        return self._shadow(f"service/{name}", "service", target, service, shadow)

    def _shadow(
        self,
        name: str,
        kind: Kind,
        target: Target,
        rules: Rules,
        shadow: schema_policy.Shadow | schema_policy.ServiceShadow,
    ) -> Shadow:
        """Return the copies of a route. Their target has a record and connections of its own, and is never probed."""
        index = self._add(structs.replace(target, probe_path=None, health=None))
        route = self._route(SHADOW_ROUTE + name, kind, (Member(index, 1, 1.0),), rules)
        self._routes[route] = upstreams.for_copies(self._routes[route])
        return compiled(shadow, Shadow, route=route)

    def _members(self, written: Sequence[schema_targets.ModelTarget]) -> tuple[Member, ...]:
        """Return the members of a pool of models; a target of a provider with ``discover`` becomes many."""
        discovering = sum(self._is_found(at.target) for at in written)
        most = (MOST_MEMBERS - len(written) + discovering) // max(discovering, 1)
        members = []  # ((tier as written, tier among what was found), member)
        for at in written:
            self._asked[at.target] = None
            window = at.context_window or self._window(at.target)
            if not self._is_found(at.target):
                members.append(((at.tier, 1), reach.member(at, target=self._model(at.target), window=window)))
                continue
            places = self._places(self._config.providers[at.target.partition("/")[0]].discover, most)
            total = sum(place.endpoint.weight for place in places)
            for place in places:
                target = self._model(at.target, place.endpoint)
                weight = at.weight * place.endpoint.weight / total
                members.append(((at.tier, place.tier), reach.member(at, target=target, weight=weight, window=window)))
        if all(tier[1] == 1 for tier, _ in members):
            return tuple(member for _, member in members)
        ranks = {tier: rank for rank, tier in enumerate(sorted({tier for tier, _ in members}), start=1)}
        return tuple(structs.replace(member, tier=ranks[tier]) for tier, member in members)

    def _is_found(self, target_id: str) -> bool:
        return bool(self._config.providers[target_id.partition("/")[0]].discover)

    def _places(self, source: str, most: int) -> list[spread.Place]:
        node = self._config.node
        return spread.places(self._found[source], most=most, zone=node.zone, node=f"{node.region}/{node.name}")

    def _window(self, target_id: str) -> int:
        """Return the context window of ``provider/model`` in tokens, if edge knows it; else 0."""
        name, _, model = target_id.partition("/")
        return effective.context_window(self._known.get(name), model)

    def _direct(self, aliases: Mapping[str, int]) -> dict[str, int]:
        """Give every configured target its own route ``provider/model`` with the default policy."""
        asked = [name for name in self._asked if name not in aliases and not name.endswith(f"/{WILDCARD_MODEL}")]
        return {name: self._only(name) for name in asked}

    def _wildcard(self, provider: str) -> int:
        return self._only(f"{provider}/{WILDCARD_MODEL}")

    def _only(self, name: str) -> int:
        """Return the route of a target that is the only one of its route, with the default policy."""
        return self._route(name, "model", self._members([schema_targets.ModelTarget(name)]), self._config.defaults)

    def _stored(self) -> int:
        """Return the route of what providers keep under ids: each that may, in the order of the file; -1: none may."""
        able = list(self._providers)
        if not able:
            return -1
        written = [
            schema_targets.ModelTarget(f"{name}/{WILDCARD_MODEL}", tier=tier)
            for tier, name in enumerate(able[:MOST_MEMBERS], 1)
        ]
        return self._route(STORED, "model", self._members(written), self._config.defaults)

    def _service(self, name: str, service: schema.Service) -> ServiceMatch:
        targets = [(at, self._address(name, service, at.target)) for at in service.targets]
        members = tuple(reach.member(at, target=target) for at, target in targets)
        if service.discover:
            written = {at.target for at in service.targets}
            members += tuple(
                Member(self._address(name, service, place.endpoint.address, place.endpoint), place.tier, weight)
                for place in self._places(service.discover, MOST_MEMBERS - len(members))
                if place.endpoint.address not in written
                for weight in (place.endpoint.weight,)
            )
        shadow = None if service.shadow is None else self._service_shadow(name, service, service.shadow)
        route = self._route(name, "service", members, service, shadow=shadow)
        return compiled(service.match, ServiceMatch, route=route, host=service.match.host.lower().rstrip("."))

    def _route(
        self,
        name: str,
        kind: Kind,
        members: tuple[Member, ...],
        rules: Rules,
        *,
        shadow: Shadow | None = None,
    ) -> int:
        peers = self._config.peers
        own = name == STORED or name.startswith(SHADOW_ROUTE)
        if kind == "model" and not own and peers is not None and (not peers.models or name in peers.models):
            regions = (Member(self._region(peer, peers), REGION_TIER, weight=1.0) for peer in self._peers)
            members = (*members, *regions)[:MOST_MEMBERS]
        self._routes.append(
            compiled(
                rules,
                Route,
                name=name,
                slot=-1,
                kind=kind,
                members=members,
                timeouts=reach.timeouts(rules.timeouts),
                breaker=self._breaker(rules.breaker, rules.timeouts, kind),
                shares=structs.astuple(rules.shares),
                rescue=rules.rescue if isinstance(rules, schema.Model) else "never",
                cache=reach.cache(rules),
                hedge=reach.hedge(rules),
                affinity=rules.affinity if isinstance(rules, schema.Model) else "auto" if kind == "model" else "none",
                prefer=rules.prefer if isinstance(rules, schema.Model) else "order",
                strict=isinstance(rules, schema.Model) and rules.strict,
                capabilities=rules.require.capabilities if isinstance(rules, schema.Model) else (),
                copies=shadow,
            )
        )
        return len(self._routes) - 1

    def _add(self, target: Target) -> int:
        self._targets[target.id] = target
        self._index[target.id] = len(self._index)
        return self._index[target.id]

    def _model(self, asked: str, at: Endpoint | None = None) -> int:
        """Return the index of the target ``provider/model``, perhaps at a discovered address; create it once."""
        target_id = asked if at is None else f"{asked}@{at.address}"
        if target_id in self._index:
            return self._index[target_id]
        return self._add(self._new_model(target_id, asked, at))

    def _new_model(self, target_id: str, asked: str, at: Endpoint | None = None) -> Target:
        name, _, model = asked.partition("/")
        provider = self._providers[name]
        url = addresses.parse_base_url(provider.base_url or FOUND_URL)
        host, port = (url.host, url.port) if at is None else (at.host, at.port)
        verified = url.host if at is None or provider.base_url else at.name or at.host
        if at is not None and asked in self._like:
            return reach.moved(self._like[asked], target_id, at, provider.tls.server_name or verified)
        target = upstreams.model(
            target_id,
            asked,
            provider,
            self._known.get(name),
            at=(host, port),
            path=url.path,
            tls=reach.tls(provider.tls, verified) if url.tls else None,
            outcomes=self._table(name, "model-wildcard" if model == WILDCARD_MODEL else "model"),
            credential=self._credentials.index(name) if name in self._credentials else -1,
        )
        self._like[asked] = target
        return target

    def _address(self, name: str, service: schema.Service, address: str, at: Endpoint | None = None) -> int:
        target_id = f"{name}/{address}"
        if target_id in self._index:
            return self._index[target_id]
        return self._add(self._new_address(target_id, name, service, address, at))

    def _new_address(
        self, target_id: str, name: str, service: schema.Service, address: str, at: Endpoint | None = None
    ) -> Target:
        verified = "" if at is None else at.name or at.host
        if at is not None and name in self._like:
            named = service.tls.server_name if service.tls is not None else ""
            return reach.moved(self._like[name], target_id, at, named or verified)
        target = upstreams.service(target_id, name, service, address, verified)
        self._like[name] = target
        return target

    def _region(self, peer: Peer, peers: Peers) -> int:
        """Return the index of the target for another region's edge; create it at its first mention."""
        target_id = f"region:{peer.region}/{peer.address}"
        if target_id in self._index:
            return self._index[target_id]
        return self._add(reach.region(target_id, peer, peers))

    def _table(self, provider: str, variant: Literal["model", "model-wildcard"]) -> str:
        """Return the name of the provider's outcome table: its own if it has hints, else the shared one."""
        hints = self._known[provider].hints if provider in self._known else ()
        if not hints:
            return variant
        name = f"{variant}:{provider}"
        self._outcomes[name] = self._outcomes[variant]
        self._hints[name] = tuple(
            (hint.status, hint.needle, hint.wildcard if variant == "model-wildcard" else hint.action) for hint in hints
        )
        return name
