"""Whether callers' keys in the cluster's store count, as the configuration says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.config import addresses

if TYPE_CHECKING:
    from edge.config.schema import Config

MOST_SHARED_KEYS: Final = 131_072
"""Keys of the cluster that a node has records for."""


def has_members(config: Config) -> bool:
    """Return whether identities of a key are callers of their own."""
    return any(key.each is not None for key in config.keys)


def shares_keys(config: Config) -> bool:
    """Return whether callers' keys in the store count: forged ones can be told, or nobody else can write there.

    The first needs ``peers.token``. The second holds for a store on loopback, or if ``peers.insecure`` says so.
    """
    etcd, peers = config.cluster.etcd, config.peers
    if etcd is None:
        return False
    if peers is not None and (peers.token or peers.insecure):
        return True
    try:
        return all(addresses.is_loopback(addresses.parse_member(member).host) for member in etcd.endpoints)
    except ValueError:
        return False
