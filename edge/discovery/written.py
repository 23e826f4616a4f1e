"""Addresses as people and registrars write them, in a JSON file or as the value of a key."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from edge.config.addresses import parse_address
from edge.discovery.source import SourceError
from edge.terms.places import Endpoint

_HIGHEST_TIER: Final = 64
_HEAVIEST: Final = 1000.0
_LONGEST_ZONE: Final = 63
_FIELDS: Final = frozenset(("address", "tier", "weight", "zone"))


def endpoints_of(document: bytes) -> list[Endpoint]:
    """Return the addresses in a JSON document: a list of ``"host:port"`` or ``{"address": ...}``.

    An object may have ``tier`` (1 to 64), ``weight`` (up to 1000) and ``zone``; ``{"endpoints": [...]}`` may stand
    around the list.

    Raises:
        SourceError: it is something else; the text says where.
    """
    try:
        whole = msgspec.json.decode(document)
    except msgspec.DecodeError as error:
        raise SourceError(f"not valid JSON: {error}") from error
    if isinstance(whole, dict) and set(whole) == {"endpoints"}:
        whole = whole["endpoints"]
    if not isinstance(whole, list):
        raise SourceError("not a list of addresses")
    return [endpoint_of(item, f"entry {index}") for index, item in enumerate(whole)]


def endpoint_of(item: Any, place: str) -> Endpoint:
    """Return one address.

    Raises:
        SourceError: it cannot be used.
    """
    if isinstance(item, str):
        item = {"address": item}
    if not isinstance(item, dict) or not isinstance(item.get("address"), str):
        raise SourceError(f'{place} is not an address; write "host:port" or {{"address": "host:port"}}')
    unknown = sorted(set(item) - _FIELDS)
    if unknown:
        raise SourceError(f"{place} has the unknown key {unknown[0]!r}; known are {', '.join(sorted(_FIELDS))}")
    try:
        host, port = parse_address(item["address"])
    except ValueError as error:
        raise SourceError(f"{place}: {error}") from error
    tier, weight, zone = item.get("tier", 1), item.get("weight", 1), item.get("zone", "")
    if not host or not port:
        raise SourceError(f"{place} lacks a host or a port")
    if not isinstance(tier, int) or isinstance(tier, bool) or not 1 <= tier <= _HIGHEST_TIER:
        raise SourceError(f"{place}: tier is a whole number from 1 to {_HIGHEST_TIER}")
    if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 < weight <= _HEAVIEST:
        raise SourceError(f"{place}: weight is a number above 0, at most {_HEAVIEST:g}")
    if not isinstance(zone, str) or len(zone) > _LONGEST_ZONE:
        raise SourceError(f"{place}: zone is a text of at most {_LONGEST_ZONE} characters")
    return Endpoint(host, port, tier, float(weight), zone)
