"""Parts of Snapshots that several suites build; fields that a test does not set have the defaults of edge.yaml."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from edge.config import schema, schema_keys, schema_targets
from edge.config.compiled import compiled
from edge.config.crowding import Queue as QueueSection
from edge.config.crowding import Shares
from edge.config.schema_limits import Limits as LimitsSection
from edge.config.schema_listen import Listen
from edge.config.schema_telemetry import Telemetry
from edge.terms.snapshot import (
    Allowance,
    Key,
    Limits,
    Listener,
    Member,
    Queue,
    Route,
    ServiceMatch,
    Snapshot,
    Target,
    Tracing,
    UpstreamTls,
)

LIMITS = compiled(LimitsSection(), Limits)


def allowance(slot: int = 0, **given: Any) -> Allowance:
    """Return what a key or credential may use: no limit that is not given."""
    return compiled(
        schema_keys.ProviderLimits(),
        Allowance,
        **{"slot": slot, "requests_burst": 0, "tokens_burst": 0, "shared": False, **given},
    )


def key(name: str, sha256: str, slot: int, **given: Any) -> Key:
    """Return a caller's key: no limit and no allowance that is not given."""
    written = schema_keys.Key(name, sha256)
    return compiled(written, Key, **{"slot": slot, "allowance": None, "budget_nano": 0, "priority": 1, **given})


def listener(host: str, port: int, **given: Any) -> Listener:
    """Return an address that workers accept on."""
    return compiled(Listen(), Listener, **{"host": host, "port": port, "checks_host": False} | given)


def member(target: int, **given: Any) -> Member:
    """Return the membership of a target: tier 1, weight 1 if not given."""
    return compiled(schema_targets.ModelTarget("p/m"), Member, target=target, **given)


def route(slot: int, name: str, *members: Member, **given: Any) -> Route:
    """Return a route with the default queue and shares; the policy must be given."""
    facts = {
        "kind": "model",
        "members": members,
        "rescue": "never",
        "hedge": None,
        "cache": None,
        "affinity": "none",
        "prefer": "order",
        "strict": False,
        "shares": structs.astuple(Shares()),
    }
    return Route(**{"name": name, "slot": slot, "queue": compiled(QueueSection(), Queue), **facts, **given})


def service_match(route: int, **given: Any) -> ServiceMatch:
    """Return which requests belong to a service: any host, path and method if not given."""
    return compiled(schema.Match(), ServiceMatch, route=route, **given)


def target(name: str, slot: int, **given: Any) -> Target:
    """Return a provider's target over plain HTTP/1.1 whose limit is not learned."""
    provider, _, model = name.partition("/")
    facts = {
        "kind": "model", "provider": provider, "model": model, "host": "127.0.0.1", "port": 9, "base_path": "/v1",
        "tls": None, "protocol": "http1", "fields": (), "outcomes": "model", "capabilities": (), "adaptive": False,
        "min_concurrency": 4.0, "dialect": "openai",
    }  # fmt: skip
    return compiled(schema.Provider(), Target, **{"id": name, "slot": slot, **facts, **given})


def tls(server_name: str, **given: Any) -> UpstreamTls:
    """Return how to verify an upstream of that name."""
    return compiled(schema.UpstreamTls(), UpstreamTls, server_name=server_name, **given)


def tracing(**given: Any) -> Tracing:
    """Return which exchanges are recorded."""
    return compiled(Telemetry(), Tracing, **{"every_request": False, **given})


def snapshot(**given: Any) -> Snapshot:
    """Return a Snapshot without targets, routes and keys, but for what is given."""
    empty: dict[str, Any] = {
        "version": 1, "created": 0.0, "region": "r", "node": "n", "listeners": (), "targets": (), "routes": (),
        "models": {}, "providers": {}, "services": (), "limits": LIMITS, "outcomes": {}, "keys": (),
        "tracing": tracing(), "peers": None, "public_status": False,
    }  # fmt: skip
    return Snapshot(**{**empty, **given})
