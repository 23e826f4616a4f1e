"""What one section of the configuration says of how a target, a listener or a route is reached and timed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from msgspec import structs

from edge.config import addresses, crowding, schema, units
from edge.config.compiled import compiled
from edge.config.files import content_of
from edge.config.schema_policy import FIRST_BYTE
from edge.terms import places
from edge.terms import snapshot as plan_of
from edge.terms.credentials import Signing
from edge.terms.places import Peer
from edge.terms.snapshot import Listener, Member

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.config.schema_listen import Listen
    from edge.config.schema_peers import Peers, PeerTls
    from edge.config.schema_policy import Timeouts
    from edge.config.schema_targets import ModelTarget, ServiceTarget
    from edge.terms.places import Endpoint
    from edge.terms.snapshot import Target

# How a key is sent, by dialect: the field's name, and what stands before the key.
_CREDENTIALS: Final = {"anthropic": ("x-api-key", ""), "gemini": ("x-goog-api-key", "")}


def peers(config: schema.Config, more: Sequence[Peer]) -> list[Peer]:
    """Return each address of another region once, the configured ones first."""
    if config.peers is None:
        return []
    written = [Peer(node.region, address) for node in config.peers.nodes for address in node.addresses]
    return [peer for peer in dict.fromkeys([*written, *more]) if peer.region != config.node.region]


def cache(rules: schema.Model | schema.Service | schema.Defaults) -> plan_of.CachePolicy | None:
    """Return how answers of a route are kept; None: they are not."""
    if not isinstance(rules, schema.Model) or rules.cache is None:
        return None
    return compiled(rules.cache, plan_of.CachePolicy)


def hedge(rules: schema.Model | schema.Service | schema.Defaults) -> plan_of.HedgePolicy | None:
    """Return when a second target of a route is asked beside a slow one; None: never."""
    if not isinstance(rules, schema.Model) or rules.hedge is None:
        return None
    percentile, after_ns = units.delay(rules.hedge.after)
    return compiled(rules.hedge, plan_of.HedgePolicy, percentile=percentile, after_ns=after_ns)


def believed(peers: Peers) -> plan_of.Peers:
    """Return who is believed to be an edge of another region."""
    names = tuple(name if "://" in name else name.lower() for name in peers.allowed_names)
    return compiled(peers, plan_of.Peers, token=str(peers.token), allowed_names=names)


def root(provider: schema.Provider, path: str, known: places.Provider | None) -> str:
    """Return the path at which a provider's API begins: that of its URL, or the one that it is known to have."""
    if path or known is None or not known.root:
        return path
    return known.root if provider.api_version else f"{known.root}/v1"


def probe(provider: schema.Provider, path: str) -> str | None:
    """Return the path of a free request to a provider whose API begins at ``path``; None: there is none."""
    version = f"?api-version={provider.api_version}" if provider.api_version else ""
    return path + provider.probe + version if provider.probe else None


def fields(provider: schema.Provider, known: places.Provider | None) -> tuple[tuple[str, str], ...]:
    """Return the header fields of every request to a provider, the credential first."""
    fields = {name.lower(): str(value) for name, value in provider.headers.items()}
    name, before = credential_field(provider, known)
    credential = {name: before + provider.api_key} if provider.api_key else {}
    return tuple((credential | fields).items())


def credential_field(provider: schema.Provider, known: places.Provider | None) -> tuple[str, str]:
    """Return the name of the field that carries a provider's credential, and what stands before it."""
    auth = provider.auth
    if auth is not None:
        return (auth.header.lower(), "") if auth.type == "header" else ("authorization", "Bearer ")
    if known is not None and known.credential is not None:
        return known.credential
    return _CREDENTIALS.get(provider.dialect or "openai", ("authorization", "Bearer "))


def signing(provider: schema.Provider) -> Signing | None:
    """Return for what each request is signed, without keys, which control fetches; None: it is not signed."""
    auth = provider.auth
    return Signing(auth.region, auth.service or "bedrock") if auth is not None and auth.signs else None


def renewed(provider: schema.Provider, known: places.Provider | None) -> str:
    """Return the field whose value is a token, or a signature, that is renewed; "": none is."""
    return credential_field(provider, known)[0] if provider.auth is not None and provider.auth.fetched else ""


def prefill(provider: schema.Provider, known: places.Provider | None) -> places.Prefill:
    """Return how a provider is told to continue a last message of the assistant; "" = it does not."""
    if "prefill" not in (provider.capabilities or ()) or provider.dialect == "responses":
        return ""
    return "plain" if known is None or provider.dialect not in {None, "openai"} else known.prefill


def provider_protocol(provider: schema.Provider, *, tls: bool) -> Literal["http1", "h2c", "h2", "alpn"]:
    """Return what a provider is spoken to in; alpn: what its TLS handshake says."""
    if provider.protocol == "auto":
        return "alpn" if tls else "http1"
    if provider.protocol == "http1":
        return "http1"
    return "h2" if tls else "h2c"


def protocol(service: schema.Service) -> Literal["http1", "h2c", "h2"]:
    """Return what the targets of a service are spoken to in."""
    if service.protocol == "http1" or (service.protocol == "auto" and not service.match.grpc):
        return "http1"
    return "h2c" if service.tls is None else "h2"


def tls(tls: schema.UpstreamTls | PeerTls, host: str, **given: bool) -> plan_of.UpstreamTls:
    """Return how an upstream is verified, by ``host`` unless the settings name another."""
    content = content_of(tls.ca, tls.cert, tls.key)
    return compiled(tls, plan_of.UpstreamTls, server_name=tls.server_name or host, content=content, **given)


def moved(like: Target, target_id: str, at: Endpoint, verified: str) -> Target:
    """Return a target that differs from another in its address alone, and in the name to verify."""
    tls = None if like.tls is None else structs.replace(like.tls, server_name=verified)
    return structs.replace(like, id=target_id, host=at.host, port=at.port, tls=tls)


def member(at: ModelTarget | ServiceTarget, **given: Any) -> Member:
    """Return a target's membership of a pool; ``given`` has what the configuration does not say."""
    return compiled(at, Member, is_canary=at.canary is not None, **given)


def listener(listen: Listen) -> Listener:
    """Return an address to listen on, with the content of its certificates."""
    host, port = addresses.parse_address(listen.address)
    shown = tuple(
        compiled(tls, plan_of.ListenTls, content=content_of(tls.cert, tls.key, tls.client_ca)) for tls in listen.tls
    )
    return compiled(
        listen,
        Listener,
        host=host,
        port=port,
        tls=shown,
        checks_host=addresses.is_loopback(host) and not listen.allow_anonymous,
        hosts=tuple(name.lower().removesuffix(".") for name in listen.hosts),
        cors=tuple(origin.lower() for origin in listen.cors),
    )


def timeouts(config: Timeouts) -> plan_of.Timeouts:
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


def region(target_id: str, peer: Peer, peers: Peers) -> plan_of.Target:
    """Return the target for another region's edge."""
    host, port = addresses.parse_address(peer.address)
    return plan_of.Target(
        id=target_id,
        slot=-1,
        kind="region",
        provider=peer.region,
        model="",
        host=host,
        port=port,
        base_path="/v1",
        tls=None if peers.tls is None else tls(peers.tls, host, verify=True),
        protocol="h2c" if peers.tls is None else "h2",
        fields=(("x-edge-peer-token", str(peers.token)),) if peers.token else (),
        outcomes="region",
        jurisdiction=None,
        capabilities=(),
        proxy="",
        proxy_credentials="",
        max_connections=0,
        max_inflight=0,
        adaptive=False,
        min_concurrency=float(crowding.Concurrency().min),
        dialect="openai",
        api_version="",
        probe_path="/healthz",
    )
