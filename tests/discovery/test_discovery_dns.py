"""Addresses from DNS: records with their times to live, SRV, and every way in which name servers fail."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import dns.rcode
import pytest
from followers import Heard, following
from name_server import NameServer

from edge.config.discovery import parse_source
from edge.discovery import dns as module
from edge.discovery.dns import DnsSource
from edge.terms.places import Endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SRV = ("_http._tcp.web.test", "SRV")


@asynccontextmanager
async def asking(server: NameServer, url: str, known: tuple[Endpoint, ...] = ()) -> AsyncIterator[Heard]:
    """Follow a URL at a name server."""
    source = parse_source(url.replace("SERVER", server.address))
    async with following(lambda changed: DnsSource(source, changed, known)) as heard:
        yield heard


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing wait for as long as it does in production."""
    monkeypatch.setattr(module, "SHORTEST_S", 0.1)
    monkeypatch.setattr(module, "RETRY_S", 0.1)


async def test_addresses_come_and_go() -> None:
    """A and AAAA records are the addresses; they follow the zone when their time to live has passed."""
    async with NameServer() as server:
        server.zone = {("web.test", "A"): ["127.0.0.1"], ("web.test", "AAAA"): ["::1"]}
        async with asking(server, "dns://SERVER/web.test:8000") as heard:
            await heard.until(lambda: heard.now == {"127.0.0.1:8000", "[::1]:8000"})
            server.zone = {("web.test", "A"): ["127.0.0.1", "127.0.0.2"]}
            await heard.until(lambda: heard.now == {"127.0.0.1:8000", "127.0.0.2:8000"})
            assert heard.source.state().error == ""
            assert {endpoint.name for endpoint in heard.source.endpoints} == {"web.test"}


async def test_a_record_is_not_asked_for_before_it_expires() -> None:
    """While the time to live runs, the name servers are left alone."""
    async with NameServer() as server:
        server.ttl = 300
        server.zone = {("web.test", "A"): ["127.0.0.1"], ("web.test", "AAAA"): ["::1"], ("x.test", "A"): ["127.0.0.3"]}
        async with asking(server, "dns://SERVER/web.test:1") as long, asking(server, "dns://SERVER/x.test:1") as other:
            await long.until(lambda: long.now and other.now)
            first = server.asked.count(("web.test", "A"))
            server.ttl = 0
            # x.test has no AAAA record, which has no time to live: it is asked again soon, web.test is not
            asked = len(server.asked)
            async with asking(server, "dns://SERVER/x.test:2") as third:
                await third.until(lambda: len(server.asked) > asked + 4)
            assert server.asked.count(("web.test", "A")) == first == 1


async def test_an_outage_of_dns_keeps_the_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence, a failing server, an empty answer and a name that is gone leave the last addresses in use."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.3)
    name = ("web.test", "A")
    async with NameServer() as server:
        server.zone = {name: ["127.0.0.1", "127.0.0.2"]}
        async with asking(server, "dns://SERVER/web.test:80") as heard:
            await heard.until(lambda: len(heard.now) == 2)
            for fault, said in (
                (lambda: setattr(server, "silent", True), "no name server answers"),
                (lambda: server.refuse.update({name: dns.rcode.SERVFAIL}), "every name server refuses or fails"),
                (lambda: setattr(server, "zone", {("web.test", "TXT"): ["x"]}), "has no addresses"),
                (lambda: setattr(server, "zone", {}), "has no addresses"),
            ):
                server.silent, server.refuse = False, {}
                server.zone = {name: ["127.0.0.1", "127.0.0.2"]}
                await heard.until(lambda: heard.source.state().error == "")
                fault()
                await heard.until(lambda said=said: said in heard.source.state().error)
                assert heard.now == {"127.0.0.1:80", "127.0.0.2:80"}
                assert heard.source.state().age_s is not None
            assert len(heard.sets) == 1  # nobody was told of anything else


async def test_one_family_that_fails_takes_nothing_away() -> None:
    """While AAAA questions fail, its addresses stay and those of A follow the zone."""
    async with NameServer() as server:
        server.zone = {("web.test", "A"): ["127.0.0.1"], ("web.test", "AAAA"): ["::1"]}
        async with asking(server, "dns://SERVER/web.test:80") as heard:
            await heard.until(lambda: len(heard.now) == 2)
            server.refuse = {("web.test", "AAAA"): dns.rcode.SERVFAIL}
            server.zone["web.test", "A"] = ["127.0.0.7"]
            await heard.until(lambda: heard.now == {"127.0.0.7:80", "[::1]:80"})
            assert "AAAA of web.test" in heard.source.state().error


async def test_services_have_tiers_and_weights() -> None:
    """The priority of an SRV record is the tier, its weight is the weight, and each has its own port."""
    async with NameServer() as server:
        server.zone = {
            SRV: ["10 3 8001 a.test.", "10 1 8002 b.test.", "40 0 9000 c.test."],
            ("a.test", "A"): ["127.0.0.1"],
            ("b.test", "A"): ["127.0.0.2"],
            ("c.test", "A"): ["127.0.0.3"],
        }
        async with asking(server, f"dns+srv://SERVER/{SRV[0]}") as heard:
            await heard.until(lambda: len(heard.now) == 3)
            assert heard.source.endpoints == (
                Endpoint("127.0.0.1", 8001, 1, 3.0, name="a.test"),
                Endpoint("127.0.0.2", 8002, 1, 1.0, name="b.test"),
                Endpoint("127.0.0.3", 9000, 2, 1.0, name="c.test"),
            )
            server.zone[SRV] = ["10 3 8001 a.test.", "40 1 9000 c.test."]
            await heard.until(lambda: heard.now == {"127.0.0.1:8001", "127.0.0.3:9000"})


async def test_a_host_of_a_service_that_cannot_be_asked_stays() -> None:
    """SRV records whose hosts fail keep those hosts' last addresses; `.` as the host names nothing."""
    async with NameServer() as server:
        server.zone = {
            SRV: ["1 1 80 a.test.", "1 1 81 b.test."],
            ("a.test", "A"): ["127.0.0.1"],
            ("b.test", "A"): ["127.0.0.2"],
        }
        async with asking(server, f"dns+srv://SERVER/{SRV[0]}") as heard:
            await heard.until(lambda: len(heard.now) == 2)
            server.refuse = {("b.test", "A"): dns.rcode.REFUSED}
            server.zone["a.test", "A"] = ["127.0.0.9"]
            await heard.until(lambda: heard.now == {"127.0.0.9:80", "127.0.0.2:81"})
            server.refuse = {}
            server.zone[SRV] = ["0 0 0 ."]
            await heard.until(lambda: "has no addresses" in heard.source.state().error)
            assert heard.now == {"127.0.0.9:80", "127.0.0.2:81"}


async def test_what_was_known_before_serves_until_dns_answers() -> None:
    """A follower that starts while DNS is silent has the addresses of the process before it."""
    known = (Endpoint("127.0.0.1", 80),)
    async with NameServer() as server:
        server.silent = True
        async with asking(server, "dns://SERVER/web.test:80", known) as heard:
            await heard.until(lambda: server.asked)
            assert heard.now == {"127.0.0.1:80"}
            assert heard.source.state().age_s is None


async def test_addresses_that_must_not_be_called_are_left_out() -> None:
    """A name server cannot lead edge to a cloud's metadata service."""
    async with NameServer() as server:
        server.zone = {("web.test", "A"): ["169.254.169.254", "127.0.0.1"]}
        async with asking(server, "dns://SERVER/web.test:80") as heard:
            await heard.until(lambda: heard.now)
            assert heard.now == {"127.0.0.1:80"}
