"""Addresses from EndpointSlices: pages, watches that break, versions that are forgotten, tokens that rotate."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from cluster_api import ClusterApi, slice_of
from followers import Heard, following

from edge.config.discovery import parse_source
from edge.discovery.kubernetes import KubernetesSource
from edge.discovery.slices import endpoints_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge.terms.places import Endpoint


@asynccontextmanager
async def asking(api: ClusterApi, url: str = "k8s://shop/web:http") -> AsyncIterator[Heard]:
    """Follow a service of the cluster."""
    source = parse_source(url)
    async with following(lambda changed: KubernetesSource(source, changed, environ=api.environ)) as heard:
        yield heard


async def test_endpoints_come_and_go(tmp_path: Path) -> None:
    """Slices are listed in pages, then watched: added, changed and deleted ones count, each with its own port."""
    async with ClusterApi(tmp_path) as api:
        for number in range(1, 6):
            await api.put(slice_of(f"web-{number}", f"10.0.0.{number}"))
        async with asking(api) as heard:
            await heard.until(lambda: len(heard.now) == 5 and api.watches)
            assert api.lists == 3
            await api.put(slice_of("web-6", "10.0.0.6", port=9000))
            await api.put(slice_of("web-1", "10.0.0.1", "10.0.1.1"))
            await api.remove("web-2")
            await heard.until(lambda: "10.0.0.6:9000" in heard.now and "10.0.0.2:8000" not in heard.now)
            assert heard.now == {
                *(f"10.0.0.{number}:8000" for number in (1, 3, 4, 5)),
                "10.0.1.1:8000",
                "10.0.0.6:9000",
            }
            assert api.lists == 3
            assert {endpoint.name for endpoint in heard.source.endpoints} == {"web.shop.svc"}


async def test_a_broken_watch_goes_on_from_its_bookmark(tmp_path: Path) -> None:
    """A watch that ends is continued from the last version, which bookmarks move, without another list."""
    async with ClusterApi(tmp_path) as api:
        await api.put(slice_of("web-1", "10.0.0.1"))
        async with asking(api) as heard:
            await heard.until(lambda: api.watches == ["101"])
            await api.bookmark()
            await api.bookmark()
            confirmed = heard.source.state
            await heard.until(lambda: heard.source._version == "103")
            assert confirmed().error == ""
            api.end_watches()
            await heard.until(lambda: len(api.watches) == 2)
            assert api.watches[1] == "103"
            await api.put(slice_of("web-1", "10.0.0.9"))
            await heard.until(lambda: heard.now == {"10.0.0.9:8000"})
            assert api.lists == 1


@pytest.mark.parametrize("way", ["status", "event"])
async def test_a_forgotten_version_is_listed_again(tmp_path: Path, way: str) -> None:
    """410 Gone, as the status of a watch or as an event in it, leads to a new list and not to an empty one."""
    async with ClusterApi(tmp_path) as api:
        await api.put(slice_of("web-1", "10.0.0.1"))
        async with asking(api) as heard:
            await heard.until(lambda: api.watches)
            if way == "event":
                await api.fail_watches(410)
            else:
                await api.stop()
                await api.put(slice_of("web-2", "10.0.0.2"))
                await api.remove("web-1")
                api.forget()
                await api.start()
            await heard.until(lambda: api.lists == 2)
            wanted = {"10.0.0.1:8000"} if way == "event" else {"10.0.0.2:8000"}
            await heard.until(lambda: heard.now == wanted and heard.source.state().error == "")


async def test_a_restart_of_the_api_server_takes_nothing_away(tmp_path: Path) -> None:
    """While the API server is down its last endpoints stay, with their age; then what changed meanwhile counts."""
    async with ClusterApi(tmp_path) as api:
        await api.put(slice_of("web-1", "10.0.0.1"))
        async with asking(api) as heard:
            await heard.until(lambda: api.watches)
            await api.stop()
            await heard.until(lambda: "does not answer" in heard.source.state().error)
            assert heard.now == {"10.0.0.1:8000"}
            await api.put(slice_of("web-1", "10.0.0.2"))
            await api.start()
            await heard.until(lambda: heard.now == {"10.0.0.2:8000"})
            assert heard.source.state().error == ""


async def test_a_rotated_token_is_read_again(tmp_path: Path) -> None:
    """A refused token is a failure with a remedy, and the next request uses what the file holds then."""
    async with ClusterApi(tmp_path) as api:
        await api.put(slice_of("web-1", "10.0.0.1"))
        api.token = "token-2"
        async with asking(api) as heard:
            await heard.until(lambda: "401" in heard.source.state().error)
            api.write_token("token-2")
            await heard.until(lambda: heard.now == {"10.0.0.1:8000"})


async def test_a_service_without_pods_keeps_the_last(tmp_path: Path) -> None:
    """A service scaled to nothing keeps its last endpoints, and says that it names none."""
    async with ClusterApi(tmp_path) as api:
        await api.put(slice_of("web-1", "10.0.0.1"))
        async with asking(api) as heard:
            await heard.until(lambda: api.watches)
            await api.remove("web-1")
            await heard.until(lambda: "names no address" in heard.source.state().error)
            assert heard.now == {"10.0.0.1:8000"}


async def test_outside_a_cluster_the_reason_is_said() -> None:
    """Without the variables of a pod the source says so."""
    source = parse_source("k8s://shop/web:http")
    async with following(lambda changed: KubernetesSource(source, changed, environ={})) as heard:
        await heard.until(lambda: heard.source.state().error)
        assert "KUBERNETES_SERVICE_HOST is not set" in heard.source.state().error


def endpoint(address: str, zone: str = "", hints: tuple[str, ...] = (), **conditions: bool | None) -> dict[str, Any]:
    """Return an endpoint of a slice."""
    told: dict[str, Any] = {"addresses": [address], "conditions": conditions, "zone": zone or None}
    return told | ({"hints": {"forZones": [{"name": hint} for hint in hints]}} if hints else {})


def found(*endpoints: dict[str, Any], port: str = "http", zone: str = "", **more: Any) -> list[Endpoint]:
    """Return what a slice with these endpoints names."""
    return endpoints_in([slice_of("s", endpoints=list(endpoints), **more)], port=port, zone=zone, name="n")


def test_conditions() -> None:
    """Ready endpoints are used, unknown readiness counts as ready; terminating ones serve only where none is ready."""
    ending = endpoint("10.0.0.3", ready=False, serving=True, terminating=True)
    dead = endpoint("10.0.0.4", ready=False, serving=False, terminating=True)
    both = found(endpoint("10.0.0.1", ready=True), endpoint("10.0.0.2", ready=None), ending, dead)
    assert [each.host for each in both] == ["10.0.0.1", "10.0.0.2"]
    assert [each.host for each in found(ending, dead)] == ["10.0.0.3"]
    assert found(dead) == []


def test_zones_and_hints() -> None:
    """An endpoint is in its zone, or in the one that a hint gives it to; of several hints the own zone counts."""
    given = found(
        endpoint("10.0.0.1", "a"), endpoint("10.0.0.2", "a", ("b",)), endpoint("10.0.0.3", "a", ("c", "b")), zone="b"
    )
    assert [each.zone for each in given] == ["a", "b", "b"]


def test_ports() -> None:
    """A port is found by name or number; a number of the service itself stands for the only port of its pods."""
    two = [
        {"name": "http", "port": 8000},
        {"name": "admin", "port": 9000},
        {"name": "dns", "port": 53, "protocol": "UDP"},
    ]
    at = endpoint("10.0.0.1", ready=True)
    assert [each.port for port in ("http", "admin", "9000") for each in found(at, ports=two, port=port)] == [
        8000,
        9000,
        9000,
    ]
    assert [each.port for each in found(at, port="80")] == [8000]
    assert found(at, ports=two, port="80") == found(at, ports=two, port="dns") == []
    assert found(at, addressType="FQDN") == []
