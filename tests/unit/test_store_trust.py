"""Edges that only the store names get the token and prompts only if they can prove who they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme

from edge.cluster.follow import Held
from edge.config.load import read_text
from edge.control.membership import MOST_NODES, Membership
from edge.control.store_trust import trusted
from edge.regions import digest as told
from edge.terms.places import Peer

if TYPE_CHECKING:
    from pathlib import Path

BASE = """
providers: {one: {base_url: "http://127.0.0.1:9/v1", api_key: "${KEY}"}}
models: {chat: {targets: [one/m]}}
"""
ETCD = 'cluster: {etcd: {endpoints: ["http://127.0.0.1:2379"]}}\n'
NODES = 'nodes: [{region: us, addresses: ["10.0.0.2:80"]}]'
FOUND = (Peer("us", "10.0.0.2:80"), Peer("us", "127.0.0.1:81"), Peer("us", "[::1]:81"), Peer("us", "10.6.6.6:80"))


@pytest.mark.parametrize(
    ("more", "count"),
    [
        (f"peers: {{token: 0123456789abcdef, {NODES}}}", 4),
        (f"{ETCD}peers: {{token: 0123456789abcdef, {NODES}}}", 3),
        (f"{ETCD}peers: {{token: 0123456789abcdef, {NODES}, insecure: true}}", 4),
        (f"{ETCD}peers: {{token: 0123456789abcdef, {NODES}, tls: {{ca: ca.pem, cert: own.pem, key: own.pem}}}}", 4),
        (f"{ETCD}", 4),
    ],
)
def test_who_writes_the_store_gets_the_prompts(more: str, count: int, tmp_path: Path) -> None:
    """Without TLS only the file's own addresses and loopback are called, unless the file permits more."""
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    config = read_text(BASE + more, "test", tmp_path, {"KEY": "k"}).config
    assert trusted(config, FOUND) == FOUND[:count]


def test_unreadable_documents_push_nodes_out() -> None:
    """What cannot be read takes no place of a node, however much of it there is, and counts as unread."""
    known = Membership("eu/n")
    known.take({told.node_key("us", f"g{number}"): Held(b"garbage", 1, 0) for number in range(MOST_NODES + 10)})
    assert (known.heard(10), known.unread) == ([], MOST_NODES + 10)
    real = told.encode(told.Digest("us", "real", "i", "1", (), 0))
    known.take({told.node_key("us", "real"): Held(real, 2, 0)})
    assert [each.digest.node for each in known.heard(10)] == ["real"]
