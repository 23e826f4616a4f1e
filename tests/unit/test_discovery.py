"""Discovered addresses become members of pools: places, zones, and what a Snapshot keeps when they change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from edge.config.discovery import Source, parse_source
from edge.config.load import read_text
from edge.control.compose import checked, compile_config
from edge.routing.planner import capacities
from edge.routing.spread import places
from edge.routing.table import models_document
from edge.terms.places import Endpoint

if TYPE_CHECKING:
    from edge.terms.snapshot import Snapshot

POOL, WEB = "dns+srv://_http._tcp.vllm.test", "k8s://shop/web:http"
TEXT = f"""
node: {{region: r, name: n, zone: ZONE}}
providers:
  pool: {{discover: "{POOL}"}}
  named: {{base_url: "https://llm.test/api", api_key: sk-1, discover: "dns://llm.test:443"}}
  fixed: {{base_url: "http://127.0.0.1:9/v1"}}
models:
  chat: {{targets: [pool/qwen, {{target: fixed/m, tier: 2, weight: 3}}]}}
  tls: {{targets: [named/x]}}
services:
  web: {{match: {{host: web.test}}, discover: "{WEB}", targets: ["127.0.0.1:1"]}}
"""
FOUND = {
    POOL: (Endpoint("10.0.0.1", 8000, 1, 3.0), Endpoint("10.0.0.2", 8000, 1, 1.0), Endpoint("10.0.0.3", 8000, 2)),
    WEB: (Endpoint("10.1.0.1", 80, zone="a"), Endpoint("10.1.0.2", 80, zone="b")),
    "dns://llm.test:443": (Endpoint("10.2.0.1", 443, name="llm.test"),),
}


def planned(found: dict[str, tuple[Endpoint, ...]], zone: str = "", previous: Snapshot | None = None) -> Snapshot:
    """Compile the configuration with what its sources have named."""
    config = checked(read_text(TEXT.replace("ZONE", f'"{zone}"'), "t.yaml", environ={}))
    return compile_config(config, now=1.0, found=found, previous=previous)


def pool(snapshot: Snapshot, name: str) -> list[tuple[str, int, float]]:
    """Return the members of a route: target, tier, weight."""
    route = next(route for route in snapshot.routes if route.name == name)
    return [(snapshot.targets[at.target].id, at.tier, at.weight) for at in route.members]


def test_a_model_has_a_member_for_each_address() -> None:
    """The weight of a target is divided among its addresses, and their tiers stand within its own."""
    snapshot = planned(FOUND)
    assert pool(snapshot, "chat") == [
        ("pool/qwen@10.0.0.1:8000", 1, 0.6),
        ("pool/qwen@10.0.0.2:8000", 1, 0.2),
        ("pool/qwen@10.0.0.3:8000", 2, 0.2),
        ("fixed/m", 3, 3.0),
    ]
    assert [name for name, *_ in pool(snapshot, "pool/qwen")] == [name for name, *_ in pool(snapshot, "chat")][:3]
    assert next(name for name, *_ in pool(snapshot, "pool/*")) == "pool/*@10.0.0.1:8000"
    at = next(target for target in snapshot.targets if target.id == "pool/qwen@10.0.0.2:8000")
    assert (at.host, at.port, at.base_path, at.model, at.tls) == ("10.0.0.2", 8000, "/v1", "qwen", None)
    assert set(snapshot.models) == {"chat", "tls", "pool/qwen", "fixed/m", "named/x"}


def test_a_base_url_says_how_addresses_are_asked() -> None:
    """Scheme, path and the name to verify come from base_url; host and port from the source."""
    at = next(target for target in planned(FOUND).targets if target.id == "named/x@10.2.0.1:443")
    assert (at.host, at.port, at.base_path, at.protocol) == ("10.2.0.1", 443, "/api", "alpn")
    assert at.tls is not None
    assert at.tls.server_name == "llm.test"


def test_a_service_has_its_written_and_its_found_addresses() -> None:
    """Without a zone all addresses are equal; with one those in it come first."""
    assert pool(planned(FOUND), "web") == [
        ("web/127.0.0.1:1", 1, 1.0),
        ("web/10.1.0.1:80", 1, 1.0),
        ("web/10.1.0.2:80", 1, 1.0),
    ]
    assert pool(planned(FOUND, zone="b"), "web")[1:] == [("web/10.1.0.2:80", 1, 1.0), ("web/10.1.0.1:80", 2, 1.0)]
    assert [tier for _, tier, _ in pool(planned(FOUND, zone="elsewhere"), "web")] == [1, 1, 1]


def test_each_address_is_verified_by_its_own_name() -> None:
    """Over TLS an address is verified by the name that its source gives it, unless the configuration names one."""
    text = "services: {{s: {{match: {{path: /}}, discover: 'dns+srv://_s._tcp.a.test', tls: {{{}}}, max_inflight: 7}}}}"
    found = {
        "dns+srv://_s._tcp.a.test": (Endpoint("10.0.0.1", 1, name="a.test"), Endpoint("10.0.0.2", 2, name="b.test"))
    }
    for written, names in (("", ["a.test", "b.test"]), ("server_name: c.test", ["c.test", "c.test"])):
        config = checked(read_text(text.format(written), "t.yaml", environ={}))
        targets = compile_config(config, now=1.0, found=found).targets
        assert [at.tls.server_name for at in targets if at.tls is not None] == names
        assert [(at.id, at.host, at.port, at.max_inflight) for at in targets] == [
            ("s/10.0.0.1:1", "10.0.0.1", 1, 7),
            ("s/10.0.0.2:2", "10.0.0.2", 2, 7),
        ]


def test_nothing_found_is_an_empty_pool() -> None:
    """Before a source has answered its pools are empty, and the names that clients ask for exist."""
    snapshot = planned({})
    assert pool(snapshot, "pool/qwen") == []
    assert {"chat", "pool/qwen"} <= set(snapshot.models)
    assert b'"pool/qwen"' in models_document(snapshot)


def test_addresses_that_stay_keep_their_records() -> None:
    """What the shared state knows of an address survives the others' coming and going."""
    first = planned(FOUND)
    fewer = planned({**FOUND, WEB: (FOUND[WEB][1], Endpoint("10.1.0.9", 80))}, previous=first)
    assert first.slots["web/10.1.0.2:80"] == fewer.slots["web/10.1.0.2:80"]
    assert {target.id for target in fewer.targets} - {target.id for target in first.targets} == {"web/10.1.0.9:80"}
    again = compile_config(
        checked(read_text(TEXT.replace("ZONE", '""'), "t.yaml", environ={})), now=2.0, previous=fewer
    )
    assert structs.replace(again, version=fewer.version, created=fewer.created) == fewer  # a restart of control


def test_the_shared_state_has_room_for_full_pools() -> None:
    """A node that starts before its sources answer has records for all that they may name, twice."""
    config = checked(read_text(TEXT.replace("ZONE", '""'), "t.yaml", environ={}))
    most, _ = capacities(planned({}), config)
    many = {url: tuple(Endpoint("10.9.0.1", port) for port in range(1, 90)) for url in FOUND}
    full = compile_config(config, now=1.0, found=many, capacity=(most, 64), allowance_capacity=64)
    other = {url: tuple(Endpoint("10.9.0.2", port) for port in range(1, 90)) for url in FOUND}
    changed = compile_config(config, now=1.0, found=other, previous=full, capacity=(most, 64), allowance_capacity=64)
    assert not {target.slot for target in full.targets if "10.9" in target.id} & {
        target.slot for target in changed.targets if "10.9" in target.id
    }


@given(
    st.lists(
        st.builds(Endpoint, st.just("h"), st.integers(1, 300), st.integers(1, 3), zone=st.sampled_from(["", "a", "b"])),
        max_size=150,
    ),
    st.integers(1, 64),
    st.sampled_from(["", "a"]),
)
def test_places(endpoints: list[Endpoint], most: int, zone: str) -> None:
    """Every place is one of the addresses, once; as many are used as fit; better tiers come first."""
    chosen = places(endpoints, most=most, zone=zone, node="r/n")
    addresses = [place.endpoint.address for place in chosen]
    assert len(set(addresses)) == len(addresses) == min(most, len({endpoint.address for endpoint in endpoints}))
    assert [place.tier for place in chosen] == sorted(place.tier for place in chosen)
    if chosen:
        best = min(endpoint.tier for endpoint in endpoints)
        assert chosen[0].endpoint.tier == best


def test_an_address_that_goes_moves_no_other() -> None:
    """Of more addresses than places, one that goes is replaced by one other, and two nodes choose differently."""
    every = [Endpoint("h", port) for port in range(1, 501)]
    before = {place.endpoint for place in places(every, most=64, zone="", node="r/1")}
    gone = next(iter(before))
    after = {place.endpoint for place in places([e for e in every if e != gone], most=64, zone="", node="r/1")}
    assert len(before & after) == 63
    assert before != {place.endpoint for place in places(every, most=64, zone="", node="r/2")}


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("dns://a.test:80", Source("dns://a.test:80", "dns", "a.test", "80")),
        ("dns:///a.test:80", Source("dns:///a.test:80", "dns", "a.test", "80")),
        ("dns://10.0.0.2/a:1", Source("dns://10.0.0.2/a:1", "dns", "a", "1", server=("10.0.0.2", 53))),
        (
            "dns+srv://[::1]:5353/_h._tcp.a",
            Source("dns+srv://[::1]:5353/_h._tcp.a", "dns+srv", "_h._tcp.a", server=("::1", 5353)),
        ),
        ("k8s://ns/svc:http", Source("k8s://ns/svc:http", "k8s", "svc", "http", "ns")),
        ("file:///etc/a.json", Source("file:///etc/a.json", "file", "/etc/a.json")),
        ("etcd:///services/a/", Source("etcd:///services/a/", "etcd", "/services/a/")),
    ],
)
def test_urls(url: str, source: Source) -> None:
    """Each kind of source has its URL."""
    assert parse_source(url) == source


@pytest.mark.parametrize(
    "url",
    [
        "a.test:80",
        "http://a",
        "dns://a.test",
        "dns://a.test:0",
        "dns://a b:80",
        "dns://ns.test/a:80",
        "dns+srv://",
        "k8s://svc:80",
        "k8s://NS/svc:80",
        "k8s://ns/svc",
        "file://a.json",
        "file:///",
        "etcd://",
        "etcd:///",
    ],
)
def test_urls_that_are_none(url: str) -> None:
    """Anything else is refused, with an example."""
    with pytest.raises(ValueError, match=r"write|lacks|not a|at most"):
        parse_source(url)
