"""Compiler from Config to Snapshot, as a pure function.

The configuration must have passed ``edge.config.check``. What other packages know is passed in: the known providers,
the outcome tables and the breaker policy (see ``edge.control.compose``, which connects them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from msgspec import structs

from edge.config import addresses, crowding, effective, schema
from edge.config.compiled import compiled
from edge.config.files import content_of
from edge.config.schema import MOST_MEMBERS
from edge.config.schema_policy import FIRST_BYTE
from edge.routing import allowances
from edge.routing import slots as shared_state
from edge.terms import snapshot as plan_of
from edge.terms.places import Peer
from edge.terms.snapshot import Listener, Member, Route, ServiceMatch, Snapshot, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge.config.schema_peers import Peers, PeerTls
    from edge.config.schema_policy import Breaker, Timeouts
    from edge.terms.places import Provider, Wording

    Kind = Literal["model", "service"]
    Rules = schema.Model | schema.Service | schema.Defaults
    BreakerPolicy = Callable[[Breaker, Timeouts, Kind], plan_of.Breaker]

WILDCARD_MODEL: Final = "*"
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

    Raises:
        ConfigInvalidError: there are more targets, routes, or keys and credentials than records in the shared state.
    """
    targets, routes = capacity or (None, None)
    most = shared_state.Most(targets, routes, allowance_capacity)
    snapshot = _Planner(config, known, outcomes, breaker, peers).snapshot(version, now, slots or {}, most)
    return structs.replace(snapshot, wordings=tuple(structs.astuple(wording) for wording in wordings))


def capacities(snapshot: Snapshot) -> tuple[int, int]:
    """Return how many target records and route records to create for this Snapshot and for later, larger ones."""
    targets = max((target.slot for target in snapshot.targets), default=0)
    routes = max((route.slot for route in snapshot.routes), default=0)
    return shared_state.room(targets), shared_state.room(routes)


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
    ) -> None:
        self._config = config
        self._peers = _peers(config, peers)
        self._providers = {
            name: effective.provider(name, provider, known) for name, provider in config.providers.items()
        }
        self._known = effective.named(config, known)
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
            listeners=tuple(_listener(listen) for listen in config.listen),
            targets=tuple(structs.replace(target, slot=slots[target.id]) for target in self._targets.values()),
            routes=tuple(structs.replace(route, slot=slots[shared_state.ROUTE + route.name]) for route in self._routes),
            models=models,
            providers=providers,
            services=services,
            peers=None if config.peers is None else _believed(config.peers),
            limits=compiled(config.limits, plan_of.Limits),
            outcomes=self._outcomes,
            keys=tuple(allowances.key(key, slots[shared_state.KEY + key.name]) for key in config.keys),
            credentials=tuple(
                allowances.credential(name, self._providers[name].limits, slots[shared_state.CREDENTIAL + name])
                for name in self._credentials
            ),
            hints=self._hints,
            slots=slots,
            tracing=compiled(config.telemetry, plan_of.Tracing),
        )

    def _alias(self, name: str, model: schema.Model) -> int:
        members = tuple(
            compiled(at, Member, target=self._model(at.target), window=at.context_window or self._window(at.target))
            for at in model.targets
        )
        return self._route(name, "model", members, model)

    def _window(self, target_id: str) -> int:
        """Return the context window of ``provider/model`` in tokens, if edge knows it; else 0."""
        name, _, model = target_id.partition("/")
        return self._known[name].windows.get(model, 0) if name in self._known else 0

    def _direct(self, aliases: Mapping[str, int]) -> dict[str, int]:
        """Give every configured target its own route ``provider/model`` with the default policy."""
        names = [name for name, at in self._targets.items() if at.model and at.kind == "model" and name not in aliases]
        return {name: self._only(name) for name in names}

    def _wildcard(self, provider: str) -> int:
        return self._only(f"{provider}/{WILDCARD_MODEL}")

    def _only(self, name: str) -> int:
        """Return the route of a target that is the only one of its route, with the default policy."""
        member = compiled(schema.ModelTarget(name), Member, target=self._model(name))
        return self._route(name, "model", (member,), self._config.defaults)

    def _service(self, name: str, service: schema.Service) -> ServiceMatch:
        targets = [(at, self._address(name, service, at.target)) for at in service.targets]
        members = tuple(compiled(at, Member, target=target) for at, target in targets)
        route = self._route(name, "service", members, service)
        return compiled(service.match, ServiceMatch, route=route, host=service.match.host.lower().rstrip("."))

    def _route(self, name: str, kind: Kind, members: tuple[Member, ...], rules: Rules) -> int:
        peers = self._config.peers
        if kind == "model" and peers is not None and (not peers.models or name in peers.models):
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
                timeouts=_timeouts(rules.timeouts),
                breaker=self._breaker(rules.breaker, rules.timeouts, kind),
                shares=structs.astuple(rules.shares),
                rescue=rules.rescue if isinstance(rules, schema.Model) else "never",
                cache=_cache(rules),
            )
        )
        return len(self._routes) - 1

    def _add(self, target: Target) -> int:
        self._targets[target.id] = target
        self._index[target.id] = len(self._index)
        return self._index[target.id]

    def _model(self, target_id: str) -> int:
        """Return the index of the target ``provider/model``; create it at its first mention."""
        if target_id in self._index:
            return self._index[target_id]
        name, _, model = target_id.partition("/")
        provider = self._providers[name]
        url = addresses.parse_base_url(provider.base_url)
        wildcard = model == WILDCARD_MODEL
        price = effective.price(provider, self._known.get(name), model)
        target = compiled(
            provider,
            Target,
            id=target_id,
            slot=-1,
            kind="model",
            provider=name,
            model="" if wildcard else model,
            host=url.host,
            port=url.port,
            base_path=url.path,
            tls=_tls(provider.tls, url.host) if url.tls else None,
            protocol=_provider_protocol(provider, tls=url.tls),
            fields=_fields(provider, self._known.get(name)),
            outcomes=self._table(name, "model-wildcard" if wildcard else "model"),
            jurisdiction=provider.jurisdiction or None,
            capabilities=provider.capabilities or (),
            adaptive=provider.concurrency.adaptive is not False,
            min_concurrency=float(provider.concurrency.min),
            probe_path=url.path + provider.probe if provider.probe else None,
            credential=self._credentials.index(name) if name in self._credentials else -1,
            price_input=price.input,
            price_output=price.output,
        )
        return self._add(target)

    def _address(self, name: str, service: schema.Service, address: str) -> int:
        host, port = addresses.parse_address(address)
        target_id = f"{name}/{address}"
        if target_id in self._index:
            return self._index[target_id]
        target = compiled(
            service,
            Target,
            id=target_id,
            slot=-1,
            kind="service",
            provider=name,
            model="",
            host=host,
            port=port,
            base_path="",
            tls=_tls(service.tls, host) if service.tls is not None else None,
            protocol=_protocol(service),
            fields=(),
            outcomes="service",
            jurisdiction=None,
            capabilities=(),
            health="" if service.match.grpc else None,
            adaptive=service.concurrency.adaptive is True,
            min_concurrency=float(service.concurrency.min),
        )
        return self._add(target)

    def _region(self, peer: Peer, peers: Peers) -> int:
        """Return the index of the target for another region's edge; create it at its first mention."""
        target_id = f"region:{peer.region}/{peer.address}"
        if target_id in self._index:
            return self._index[target_id]
        host, port = addresses.parse_address(peer.address)
        tls = peers.tls
        target = Target(
            id=target_id,
            slot=-1,
            kind="region",
            provider=peer.region,
            model="",
            host=host,
            port=port,
            base_path="/v1",
            tls=None if tls is None else _tls(tls, host, verify=True),
            protocol="h2c" if tls is None else "h2",
            fields=(("x-edge-peer-token", str(peers.token)),) if peers.token else (),
            outcomes="region",
            jurisdiction=None,
            capabilities=(),
            max_connections=0,
            max_inflight=0,
            adaptive=False,
            min_concurrency=float(crowding.Concurrency().min),
            probe_path="/healthz",
        )
        return self._add(target)

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


def _peers(config: schema.Config, more: Sequence[Peer]) -> list[Peer]:
    """Return each address of another region once, the configured ones first."""
    if config.peers is None:
        return []
    written = [Peer(node.region, address) for node in config.peers.nodes for address in node.addresses]
    return [peer for peer in dict.fromkeys([*written, *more]) if peer.region != config.node.region]


def _cache(rules: Rules) -> plan_of.CachePolicy | None:
    if not isinstance(rules, schema.Model) or rules.cache is None:
        return None
    return compiled(rules.cache, plan_of.CachePolicy)


def _believed(peers: Peers) -> plan_of.Peers:
    names = tuple(name if "://" in name else name.lower() for name in peers.allowed_names)
    return compiled(peers, plan_of.Peers, token=str(peers.token), allowed_names=names)


def _fields(provider: schema.Provider, known: Provider | None) -> tuple[tuple[str, str], ...]:
    """Return the header fields of every request to a provider, the credential first."""
    fields = {name.lower(): str(value) for name, value in provider.headers.items()}
    name, before = known.auth if known is not None else ("authorization", "Bearer ")
    credential = {name: before + provider.api_key} if provider.api_key else {}
    return tuple((credential | fields).items())


def _provider_protocol(provider: schema.Provider, *, tls: bool) -> Literal["http1", "h2c", "h2", "alpn"]:
    if provider.protocol == "auto":
        return "alpn" if tls else "http1"
    if provider.protocol == "http1":
        return "http1"
    return "h2" if tls else "h2c"


def _protocol(service: schema.Service) -> Literal["http1", "h2c", "h2"]:
    if service.protocol == "http1" or (service.protocol == "auto" and not service.match.grpc):
        return "http1"
    return "h2c" if service.tls is None else "h2"


def _tls(tls: schema.UpstreamTls | PeerTls, host: str, **given: bool) -> plan_of.UpstreamTls:
    content = content_of(tls.ca, tls.cert, tls.key)
    return compiled(tls, plan_of.UpstreamTls, server_name=tls.server_name or host, content=content, **given)


def _listener(listen: schema.Listen) -> Listener:
    host, port = addresses.parse_address(listen.address)
    tls = listen.tls
    if tls is None:
        return compiled(listen, Listener, host=host, port=port)
    content = content_of(tls.cert, tls.key, tls.client_ca)
    return compiled(listen, Listener, host=host, port=port, tls=compiled(tls, plan_of.ListenTls, content=content))


def _timeouts(config: Timeouts) -> plan_of.Timeouts:
    """Return the deadlines of one route.

    An omitted ``first_byte`` bounds streams and services alone: a whole response of a model begins when it is complete,
    and takes as long as it is.
    """
    written = config.first_byte
    return compiled(
        config,
        plan_of.Timeouts,
        first_byte_ns=FIRST_BYTE if written is None else written,
        whole_first_byte_ns=written or 0,
    )
