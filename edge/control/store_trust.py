"""Which of the edges that the shared store names may be called: those that can prove who they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.config.addresses import is_loopback, parse_address
from edge.telemetry import logs
from edge.terms.places import Peer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge.config.schema import Config


def trusted(config: Config, peers: Sequence[Peer]) -> tuple[Peer, ...]:
    """Return the edges that may get the token and prompts.

    Whoever may write the store can name any address. Over ``peers.tls`` the edge at that address proves its name;
    without it, only addresses of the file and of loopback are called, unless the file says ``peers.insecure: true``.
    """
    section = config.peers
    if section is None or config.cluster.etcd is None or section.tls is not None or section.insecure:
        return tuple(peers)
    written = {Peer(node.region, address) for node in section.nodes for address in node.addresses}
    return tuple(peer for peer in peers if peer in written or is_loopback(parse_address(peer.address)[0]))


def say_ignored(config: Config, peers: Sequence[Peer]) -> None:
    """Log the edges that the store names and that are not called."""
    ignored = set(peers) - set(trusted(config, peers))
    if ignored:
        sentence = "edges that only the store names are not called: write peers.tls, or peers.insecure: true"
        logs.say(logs.WARNING, sentence, addresses=sorted(peer.address for peer in ignored))
