"""Views of the node's state as JSON values, with every secret left out.

A view names each field that it shows instead of removing fields that are secret: a new secret field of a Target stays
hidden until somebody adds it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from edge.telemetry import logs
from edge.terms.snapshot import PRIORITIES

if TYPE_CHECKING:
    from edge.balance.report import TargetReport
    from edge.control.node import Node
    from edge.telemetry.reading import Reading
    from edge.telemetry.usage import CredentialReport, KeyReport
    from edge.terms.snapshot import Snapshot, Target
    from edge.terms.trace import ExchangeRecord


def snapshot_view(snapshot: Snapshot) -> dict[str, Any]:
    """Return the Snapshot without credentials and without the hashes of keys."""
    return {
        "version": snapshot.version,
        "created": snapshot.created,
        "region": snapshot.region,
        "node": snapshot.node,
        "listeners": msgspec.to_builtins(snapshot.listeners),
        "targets": [_target_view(target) for target in snapshot.targets],
        "routes": [
            {
                "name": route.name,
                "kind": route.kind,
                "members": [
                    {"target": snapshot.targets[member.target].id, "tier": member.tier, "weight": member.weight}
                    for member in route.members
                ],
                "timeouts": msgspec.to_builtins(route.timeouts),
                "retry": msgspec.to_builtins(route.retry),
                "breaker": msgspec.to_builtins(route.breaker),
                "rescue": route.rescue,
                "hedge": msgspec.to_builtins(route.hedge),
                "affinity": route.affinity,
                "prefer": route.prefer,
            }
            for route in snapshot.routes
        ],
        "models": {name: snapshot.routes[index].name for name, index in snapshot.models.items()},
        "providers": {name: snapshot.routes[index].name for name, index in snapshot.providers.items()},
        "services": [
            {"route": snapshot.routes[match.route].name, "host": match.host, "path": match.path}
            for match in snapshot.services
        ],
        "limits": msgspec.to_builtins(snapshot.limits),
        "keys": [
            {
                "name": key.name,
                "models": list(key.models),
                "allowance": msgspec.to_builtins(key.allowance),
                "concurrent": key.concurrent,
                "budget_nano": key.budget_nano,
                "priority": PRIORITIES[key.priority],
                "identities": list(key.identities),
                "apart": key.apart,
                "groups": list(key.groups),
                "certificates": list(key.certificates),
            }
            for key in snapshot.keys
        ],
        "issuers": msgspec.to_builtins(snapshot.issuers),
        "credentials": [
            {"name": limited.name, "allowance": msgspec.to_builtins(limited.allowance)}
            for limited in snapshot.credentials
        ],
    }


def _target_view(target: Target) -> dict[str, Any]:
    return {
        "id": target.id,
        "slot": target.slot,
        "kind": target.kind,
        "provider": target.provider,
        "model": target.model,
        "host": target.host,
        "port": target.port,
        "base_path": target.base_path,
        "api_version": target.api_version,
        "tls": None if target.tls is None else {"server_name": target.tls.server_name, "verify": target.tls.verify},
        "protocol": target.protocol,
        "dialect": target.dialect,
        "prefill": target.prefill,
        "proxy": target.proxy,
        "proxy_credentials": bool(target.proxy_credentials),  # whether there are any
        "fields": [name for name, _ in target.fields],  # names only: the values are credentials
        "renewed": target.renewed,  # a name too
        "signing": None if target.signing is None else [target.signing.region, target.signing.service],  # no keys
        "outcomes": target.outcomes,
        "jurisdiction": target.jurisdiction,
        "capabilities": list(target.capabilities),
        "max_connections": target.max_connections,
        "max_inflight": target.max_inflight,
        "probe_path": target.probe_path,
        "health": target.health,
        "credential": target.credential,  # an index into Snapshot.credentials, not the secret
        "price": msgspec.to_builtins(target.price),
        "model_prices": msgspec.to_builtins(target.model_prices),
        "media": target.media,
        "adaptive": target.adaptive,
        "min_concurrency": target.min_concurrency,
    }


def keys_view(keys: list[KeyReport], credentials: list[CredentialReport]) -> dict[str, Any]:
    """Return the usage of keys and provider credentials; the reports hold neither keys nor their hashes."""
    return {"keys": msgspec.to_builtins(keys), "credentials": msgspec.to_builtins(credentials)}


def trace_view(record: ExchangeRecord) -> dict[str, Any]:
    """Return a recorded exchange by field names; times are in nanoseconds, as in the record."""
    view = structs.asdict(record)
    view["attempts"] = [
        {**structs.asdict(attempt), "detail": logs.without_secrets(attempt.detail)} for attempt in record.attempts
    ]
    view["reason"] = logs.without_secrets(record.reason)
    return view


def metrics_view(reading: Reading) -> list[dict[str, Any]]:
    """Return each metric family and its samples: histograms as bounds, buckets and sum, summaries as count and sum."""
    return [
        {
            "name": metric.name,
            "kind": metric.kind,
            "labels": list(metric.labels),
            "samples": [
                {"labels": list(sample.labels), "value": msgspec.to_builtins(sample.value)} for sample in samples
            ],
        }
        for metric, samples in reading
    ]


def targets_view(reports: dict[str, TargetReport]) -> list[dict[str, Any]]:
    """Return one object per target that some route uses: its id, then the fields of its report."""
    return [{"id": name, **msgspec.to_builtins(report)} for name, report in reports.items()]


def regions_view(node: Node) -> dict[str, Any]:
    """Return every region as this node sees it, its own first; without a cluster there is only its own."""
    sharing = node.sharing
    if sharing is None:
        return {"region": node.snapshot.region, "node": node.snapshot.node, "sharing": None, "regions": []}
    own = node.snapshot.region
    return {
        "region": own,
        "node": node.snapshot.node,
        "sharing": msgspec.to_builtins(sharing.state()) if sharing.shared else None,
        "regions": [
            msgspec.to_builtins(picture)
            for picture in sorted(
                sharing.pictures.values(), key=lambda picture: (picture.region != own, picture.region)
            )
        ],
        "nodes": msgspec.to_builtins(sharing.peers),
        "verdicts": msgspec.to_builtins(sharing.verdicts),
        "shares": sharing.shares(),
        "budgets": sharing.budgets(),
    }
