"""Checks of the section ``peers``: addresses, token and certificates of other regions' edges."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from edge.config import addresses, words
from edge.config.check_network import asks_for_certificates, tls_files
from edge.config.problems import Path, Problem
from edge.config.schema import MOST_MEMBERS
from edge.config.schema_peers import MOST_ADVERTISED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge.config.schema import Config
    from edge.config.schema_peers import PeerNode, Peers

SHORTEST_TOKEN: Final = 16
# Regions are listed in a header, separated by commas.
REGION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_TOKEN: Final = re.compile(r"[!-~]*")
# What a certificate may contain: a DNS name, whose first label may be a wildcard, or a URI with an authority.
_DNS_NAME: Final = re.compile(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[!-)+-~]+")


def peers(config: Config) -> Iterator[Problem]:
    """Check the section ``peers``, if it is present."""
    found = config.peers
    if found is None:
        return
    path: Path = ("peers",)
    if not REGION.fullmatch(config.node.region):
        sentence = f"{config.node.region!r} is sent to other regions; use up to 63 letters, digits, dots and hyphens"
        yield Problem(("node", "region"), sentence)
    yield from _token(path, config, found)
    yield from _certificates(path, config, found)
    yield from _store(path, config, found)
    seen: dict[str, str] = {}
    for index, node in enumerate(found.nodes):
        yield from _node((*path, "nodes", index), node, found, seen)
    others = sum(len(node.addresses) for node in found.nodes if node.region != config.node.region)
    for name, model in config.models.items():
        if others and len(model.targets) + others > MOST_MEMBERS and (not found.models or name in found.models):
            sentence = f"{len(model.targets)} targets and {others} addresses of peers exceed {MOST_MEMBERS} per pool"
            yield Problem(("models", name, "targets"), sentence)
    if len(found.advertise) > MOST_ADVERTISED:
        sentence = f"{len(found.advertise)} addresses are too many; other nodes read at most {MOST_ADVERTISED}"
        yield Problem((*path, "advertise"), sentence)
    for index, text in enumerate(found.advertise):
        yield from _address((*path, "advertise", index), text)
    for index, name in enumerate(found.models):
        if name not in config.models:
            yield Problem((*path, "models", index), f"there is no model {name}" + words.nearest(name, config.models))


def _token(path: Path, config: Config, found: Peers) -> Iterator[Problem]:
    if found.token:
        if not _TOKEN.fullmatch(found.token):
            yield Problem((*path, "token"), "it contains characters that a header cannot carry")
        elif len(found.token) < SHORTEST_TOKEN:
            yield Problem((*path, "token"), f"it is easy to guess; write at least {SHORTEST_TOKEN} characters")
    elif not found.allowed_names:
        sentence = (
            "nothing identifies other edges; write token: ${EDGE_PEER_TOKEN}, or the names in their certificates in "
            "peers.allowed_names"
        )
        yield Problem((*path, "token"), sentence)
    elif found.tls is None and (found.nodes or config.cluster.etcd is not None):
        sentence = "without a token, this edge can identify itself only by a certificate; write peers.tls, or a token"
        yield Problem((*path, "tls"), sentence)


def _store(path: Path, config: Config, found: Peers) -> Iterator[Problem]:
    """Check that the store need not be trusted with the token and with prompts."""
    etcd = config.cluster.etcd
    if etcd is None or found.tls is not None or found.insecure:
        return
    members = [text.partition("://")[2].rstrip("/") for text in etcd.endpoints]
    if not all(addresses.is_loopback(member.rpartition(":")[0].strip("[]")) for member in members):
        sentence = (
            "whoever may write the store decides who gets the token and the prompts of other regions' requests; write "
            "peers.tls, or peers.insecure: true if the store and the network are trusted"
        )
        yield Problem((*path, "tls"), sentence)


def _certificates(path: Path, config: Config, found: Peers) -> Iterator[Problem]:
    for index, name in enumerate(found.allowed_names):
        why = _misnamed(name)
        if why:
            yield Problem((*path, "allowed_names", index), f"{name!r} {why}")
    asked = any(asks_for_certificates(listen) for listen in config.listen)
    unasked = "no listener requests certificates from other edges; write listen: tls: client_ca"
    if found.allowed_names and not asked:
        yield Problem((*path, "allowed_names"), unasked)
    if found.tls is None:
        return
    yield from tls_files((*path, "tls"), found.tls.cert, found.tls.key, "ca", found.tls.ca)
    if not found.allowed_names and not asked:
        yield Problem((*path, "tls"), unasked, severity="warning")


def _misnamed(name: str) -> str:
    """Return why no certificate can contain this name; "" if one can."""
    if "://" in name:
        return "" if _URI.fullmatch(name) else "is not a complete URI; write one such as spiffe://edge.internal/eu"
    if name.replace(".", "").isdecimal():
        return "is an address; write a DNS name or a URI from the certificate"
    if not _DNS_NAME.fullmatch(name):
        return "is not a name in a certificate; write a DNS name, with *. for any first label, or a URI"
    return ""


def _node(path: Path, node: PeerNode, found: Peers, seen: dict[str, str]) -> Iterator[Problem]:
    if not REGION.fullmatch(node.region):
        yield Problem((*path, "region"), f"{node.region!r} is not a region; use letters, digits, dots and hyphens")
    if not node.addresses:
        yield Problem((*path, "addresses"), "it is empty; write at least one host:port")
    for index, text in enumerate(node.addresses):
        place: Path = (*path, "addresses", index)
        wrong = list(_address(place, text))
        yield from wrong
        if text in seen:
            yield Problem(place, f"{text} is listed twice, also in {seen[text]}; remove one")
        elif not wrong and found.tls is None and not addresses.is_private(addresses.parse_address(text)[0]):
            sent = "the token and every prompt" if found.token else "every prompt"
            sentence = f"{text} receives {sent} unencrypted across the internet; write peers.tls"
            yield Problem(place, sentence, severity="warning")
        seen.setdefault(text, node.region)


def _address(path: Path, text: str) -> Iterator[Problem]:
    try:
        host, port = addresses.parse_address(text)
    except ValueError as error:
        yield Problem(path, str(error))
        return
    why = addresses.forbidden(host)
    if not host or not port:
        yield Problem(path, f"{text!r} is not an address to call; write host:port")
    elif why:
        yield Problem(path, f"{host} must not be called: {why}")
