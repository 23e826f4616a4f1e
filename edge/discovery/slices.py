"""The usable addresses in a service's EndpointSlices, as Kubernetes' own proxies choose them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge.terms.places import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable


def endpoints_in(slices: Iterable[Any], *, port: str, zone: str, name: str) -> list[Endpoint]:
    """Return the addresses to use.

    Ready endpoints are used. If there are none, those that still serve while they terminate are, so that a rollout
    that replaces all pods at once loses nothing (KEP-1669). A zone hint stands for the endpoint's own zone: an endpoint
    that is hinted at ``zone`` counts as being there.

    Args:
        slices: objects of discovery.k8s.io/v1.
        port: name or number of the port. A number that no port has stands for the only port, if there is only one,
            because a service's own port number often differs from that of its pods.
        zone: the zone of this node.
        name: the name to verify in certificates.
    """
    ready: list[Endpoint] = []
    serving: list[Endpoint] = []
    for each in slices:
        number = _port(each.get("ports") or (), port)
        if number is None or each.get("addressType") not in ("IPv4", "IPv6"):
            continue
        for endpoint in each.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            is_ready = conditions.get("ready") is not False  # nil is to be taken as true
            if is_ready or conditions.get("serving") is True:
                # Of several addresses all are the same pod's, and consumers are to use the first (KEP-752).
                (ready if is_ready else serving).extend(
                    Endpoint(address, number, zone=_zone(endpoint, zone), name=name)
                    for address in (endpoint.get("addresses") or ())[:1]
                )
    return ready or serving


def _port(ports: Iterable[Any], wanted: str) -> int | None:
    listed = [port for port in ports if port.get("port") and port.get("protocol", "TCP") == "TCP"]
    for port in listed:
        if port.get("name") == wanted or str(port["port"]) == wanted:
            return int(port["port"])
    return int(listed[0]["port"]) if wanted.isdigit() and len(listed) == 1 else None


def _zone(endpoint: Any, own: str) -> str:
    hinted = [str(hint.get("name", "")) for hint in (endpoint.get("hints") or {}).get("forZones") or ()]
    if own and own in hinted:
        return own
    return hinted[0] if hinted else str(endpoint.get("zone") or "")
