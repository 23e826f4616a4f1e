"""Other regions' edges come after every target of this region, in the pool of every model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trustme
from msgspec import structs
from plans import snapshot

from edge.config.load import read_text
from edge.config.schema import MOST_MEMBERS
from edge.control.compose import checked, compile_config
from edge.routing.planner import REGION_TIER
from edge.terms.places import Peer
from edge.terms.snapshot import Peers, UpstreamTls

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "0123456789abcdef"
BASE = """
node: {region: here}
providers: {one: {base_url: "http://127.0.0.1:9/v1"}}
models:
  chat: {targets: [one/small, {target: one/big, tier: 64}]}
  other: {targets: [one/small]}
services: {billing: {match: {path: /billing}, targets: ["127.0.0.1:9"]}}
"""
NODES = """[
  {region: here, addresses: ["10.0.0.1:80"]}, {region: there, addresses: ["10.0.0.2:80", "10.0.0.3:80"]}]"""


def pool(text: str, route: str, *peers: Peer) -> list[tuple[str, int]]:
    """Return a route's members: id and tier."""
    plan = compile_config(checked(read_text(text, "test.yaml", environ={})), now=1.0, peers=peers)
    found = next(each for each in plan.routes if each.name == route)
    return [(plan.targets[member.target].id, member.tier) for member in found.members]


def test_regions_come_after_every_tier_of_ones_own() -> None:
    """Every alias, direct name and wildcard has the other regions' addresses last; a service has none."""
    text = f"{BASE}peers: {{token: '{TOKEN}', nodes: {NODES}}}"
    others = [("region:there/10.0.0.2:80", REGION_TIER), ("region:there/10.0.0.3:80", REGION_TIER)]
    assert pool(text, "chat") == [("one/small", 1), ("one/big", 64), *others]
    assert pool(text, "one/big") == [("one/big", 1), *others]
    assert pool(text, "one/*") == [("one/*", 1), *others]
    assert pool(text, "billing") == [("billing/127.0.0.1:9", 1)]


def test_a_region_is_asked_as_an_edge() -> None:
    """A region is called over HTTP/2 with the token as credential, and no alias leads to it directly."""
    plan = snapshot(f"{BASE}peers: {{token: '{TOKEN}', nodes: {NODES}}}")
    target = next(each for each in plan.targets if each.kind == "region")
    assert (target.provider, target.host, target.port, target.base_path) == ("there", "10.0.0.2", 80, "/v1")
    assert (target.protocol, target.tls, target.outcomes) == ("h2c", None, "region")
    assert target.fields == (("x-edge-peer-token", TOKEN),)
    assert not [name for name in plan.models if name.startswith("region:")]
    assert plan.peers is not None


def test_a_region_is_shown_no_token_that_there_is_not(tmp_path: Path) -> None:
    """With certificates only, no token is sent; names are compared in lower case, URIs as written."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "own.pem"))
    text = f"""{BASE}
listen: [{{address: "127.0.0.1:0", tls: {{cert: own.pem, key: own.pem, client_ca: ca.pem}}}}]
peers:
  allowed_names: ["*.EDGE.internal", "spiffe://edge/EU"]
  nodes: {NODES}
  tls: {{ca: ca.pem, cert: own.pem, key: own.pem}}
"""
    plan = compile_config(checked(read_text(text, "test.yaml", tmp_path, {})), now=1.0)
    target = next(each for each in plan.targets if each.kind == "region")
    assert (target.fields, target.protocol) == ((), "h2")
    assert target.tls is not None
    assert target.tls.content
    assert structs.replace(target.tls, content="") == UpstreamTls(
        "10.0.0.2", *(str(tmp_path / file) for file in ("ca.pem", "own.pem", "own.pem")), True
    )
    assert plan.peers == Peers("", ("*.edge.internal", "spiffe://edge/EU"))


def test_some_models_only() -> None:
    """If models are listed, the others stay in their region."""
    text = f"{BASE}peers: {{token: '{TOKEN}', nodes: {NODES}, models: [chat]}}"
    assert len(pool(text, "chat")) == 4
    assert pool(text, "other") == [("one/small", 1)]


def test_who_is_met_joins_who_is_written() -> None:
    """Discovered edges follow those of the file, each address once, without this region's own."""
    text = f"{BASE}peers: {{token: '{TOKEN}', nodes: {NODES}}}"
    met = Peer("there", "10.0.0.3:80"), Peer("far", "[fd00::1]:80"), Peer("here", "10.0.0.9:80")
    assert [name for name, _ in pool(text, "other", *met)[1:]] == [
        "region:there/10.0.0.2:80",
        "region:there/10.0.0.3:80",
        "region:far/[fd00::1]:80",
    ]


def test_nobody_is_asked_without_the_section() -> None:
    """Without ``peers`` no region is called, even if edges are discovered."""
    assert pool(BASE, "other", Peer("far", "10.0.0.3:80")) == [("one/small", 1)]
    assert snapshot(BASE).peers is None


def test_a_pool_holds_what_it_can() -> None:
    """If there are too many edges for a pool, this region's targets stay, and the first edges fill the rest."""
    met = [Peer("far", f"10.0.{number // 250}.{number % 250}:80") for number in range(100)]
    members = pool(f"{BASE}peers: {{token: '{TOKEN}'}}", "chat", *met)
    assert [name for name, _ in members[:2]] == ["one/small", "one/big"]
    assert len(members) == MOST_MEMBERS
