"""The proxies that edge is compared with relay with the configurations of the benchmark, which are lean."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from bench.macro import wire
from bench.macro.envoy import Envoy, envoy_config
from bench.macro.load import Order, carry_out
from bench.macro.others import HAProxy, Nginx
from bench.macro.processes import BenchError, upstream
from bench.macro.proxies import Edge

if TYPE_CHECKING:
    from bench.macro.load import Kind
    from bench.macro.proxies import Variant


@pytest.mark.parametrize("variant", [Envoy, HAProxy, Nginx, Edge])
@pytest.mark.parametrize("side", ["plain", "http2", "tls_in", "tls_out"])
async def test_each_proxy_relays(variant: type[Envoy | HAProxy | Nginx | Edge], side: str) -> None:
    """Every answer is right, over TLS on either side too; CPU time is counted until the proxy has ended."""
    here: Variant
    if variant is Edge:
        here = Edge(tls_in=side == "tls_in", tls_out=side == "tls_out")
    else:
        here = variant(http2=side == "http2", tls_in=side == "tls_in", tls_out=side == "tls_out")
    if not here.installed:
        pytest.skip(f"{here.name} is not installed")
    async with upstream() as behind, here.started(behind) as proxy:
        used = proxy.cpu_ns()
        call = side == "http2"
        ca = behind.files.ca if side == "tls_in" else ""
        order = Order(proxy.port, 40, 4, kind="call" if call else "whole", streams=4 if call else 0, ca=ca)
        ran = await carry_out(order)
        assert (ran.right, ran.wrong) == (40, 0)
        assert proxy.cpu_ns() > used
    with pytest.raises(BenchError, match="has ended"):
        proxy.cpu_ns()


@pytest.mark.parametrize("variant", [HAProxy, Nginx])
@pytest.mark.parametrize("kind", ["long", "paced"])
async def test_bodies_and_streams_pass(variant: type[HAProxy | Nginx], kind: Kind) -> None:
    """Long prompts and slow streams pass too, with every event."""
    here = variant()
    if not here.installed:
        pytest.skip(f"{here.name} is not installed")
    async with upstream() as behind, here.started(behind) as proxy:
        ran = await carry_out(Order(proxy.port, 8, 8, kind=kind))
    assert (ran.right, ran.wrong) == (8, 0)
    assert 0 <= ran.chunks <= ran.events


async def test_events_of_slow_streams_come_singly() -> None:
    """HAProxy relays each event when it comes, as the others do, and does not keep it for those behind it."""
    if not HAProxy().installed:
        pytest.skip("haproxy is not installed")
    read, reads = b"", 0
    async with upstream() as behind, HAProxy().started(behind) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(wire.PACED_REQUEST)
        while not read.endswith(wire.LAST_CHUNK):
            read += await asyncio.wait_for(reader.read(65536), 10)
            reads += 1
        writer.close()
        await writer.wait_closed()
    assert reads > 0.6 * wire.PACED_EVENTS


def test_envoy_is_lean() -> None:
    """Envoy's configuration has no setting that makes it slower."""
    text = str(envoy_config(1, 2))
    assert "access_log" not in text
    assert "'admin'" not in text
    assert "'generate_request_id': False" in text
