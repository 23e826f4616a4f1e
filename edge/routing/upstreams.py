"""Targets as the configuration describes them: a model of a provider, and an address of a service. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from edge.config import addresses, effective
from edge.config.compiled import compiled
from edge.routing import allowances, reach
from edge.terms.snapshot import Queue, Route, Target, UpstreamTls

if TYPE_CHECKING:
    from edge.config import schema
    from edge.terms.places import Provider


def model(
    target_id: str,
    asked: str,
    provider: schema.Provider,
    known: Provider | None,
    *,
    at: tuple[str, int],
    path: str,
    tls: UpstreamTls | None,
    outcomes: str,
    credential: int,
) -> Target:
    """Return the target ``provider/model`` at a host and port, whose API begins at ``path``."""
    name, _, model = asked.partition("/")
    wildcard = model == "*"
    root = reach.root(provider, path, known)
    return compiled(
        provider,
        Target,
        id=target_id,
        slot=-1,
        kind="model",
        provider=name,
        model="" if wildcard else model,
        host=at[0],
        port=at[1],
        base_path=root,
        tls=tls,
        protocol=reach.provider_protocol(provider, tls=tls is not None),
        fields=reach.fields(provider, known),
        renewed=reach.renewed(provider, known),
        signing=reach.signing(provider),
        outcomes=outcomes,
        jurisdiction=effective.law(provider, known, model) or None,
        capabilities=provider.capabilities or (),
        prefill=reach.prefill(provider, known),
        proxy_credentials=str(provider.proxy_credentials),
        adaptive=provider.concurrency.adaptive is not False,
        min_concurrency=float(provider.concurrency.min),
        probe_path=reach.probe(provider, root),
        credential=credential,
        price=allowances.price(provider, known, model),
        model_prices=allowances.prices(provider, known) if wildcard else {},
        media="openai" if known is None else known.media,
        dialect=provider.dialect or "openai",
    )


def service(target_id: str, name: str, service: schema.Service, address: str, verified: str) -> Target:
    """Return the target for an address of a service; ``verified``: the name in its certificate, "" = its host."""
    host, port = addresses.parse_address(address)
    return compiled(
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
        tls=reach.tls(service.tls, verified or host) if service.tls is not None else None,
        protocol=reach.protocol(service),
        fields=(),
        outcomes="service",
        jurisdiction=None,
        capabilities=(),
        proxy="",
        proxy_credentials="",
        health=service.match.grpc.partition("/")[0] or None,
        adaptive=service.concurrency.adaptive is True,
        min_concurrency=float(service.concurrency.min),
        dialect="openai",
        api_version="",
    )


def for_copies(route: Route) -> Route:
    """Return a route for shadow copies, which nobody waits for: each is tried once, and is never queued or kept."""
    return structs.replace(
        route,
        retry=structs.replace(route.retry, attempts=1, same_target=0, wait_ns=0),
        rescue="never",
        queue=Queue(0, 0),
        cache=None,
        hedge=None,
        affinity="none",
        prefer="order",
    )
