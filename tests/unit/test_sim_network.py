"""The simulated network has the configured delay, blocks and faults."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Self

import pytest

from edge.sim.network import Link, Network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

RTT_S = 0.08


@contextlib.asynccontextmanager
async def echo_behind(link: Link) -> AsyncIterator[Link]:
    """Put a link in front of a service that echoes everything."""
    told: set[asyncio.Task[None]] = set()

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        told.add(task)
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            assert link.connections, "only what came through the link may break"
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    try:
        async with link:
            link.leads_to("127.0.0.1", server.sockets[0].getsockname()[1])
            yield link
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*told), 30)


class Talk:
    """A client at the near end of a link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._link.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def say(self, data: bytes = b"hello") -> float:
        """Send and receive an echo; return the seconds that it took."""
        began = time.monotonic()
        self.writer.write(data)
        assert await asyncio.wait_for(self.reader.readexactly(len(data)), 30) == data
        return time.monotonic() - began


async def test_a_link_takes_its_round_trip() -> None:
    """An echo takes one round trip, and a connect another; a link without delay takes none."""
    async with echo_behind(Link("a", "b", rtt_s=RTT_S)) as far, echo_behind(Link("a", "b")) as near:
        async with Talk(far) as talk:
            first, second = await talk.say(), await talk.say()
        async with Talk(near) as talk:
            close_by = await talk.say()
        assert first >= 2 * RTT_S * 0.99
        assert RTT_S * 0.99 <= second < first
        assert close_by < RTT_S / 2


async def test_order_is_kept_under_jitter() -> None:
    """Data that is sent in pieces arrives complete and in order, whatever the delay of each piece."""
    async with echo_behind(Link("a", "b", rtt_s=0.004, jitter_s=0.01)) as link, Talk(link) as talk:
        data = bytes(range(256)) * 40
        for start in range(0, len(data), 512):
            talk.writer.write(data[start : start + 512])
            await asyncio.sleep(0)
        assert await asyncio.wait_for(talk.reader.readexactly(len(data)), 30) == data


async def test_bandwidth_bounds_what_is_carried() -> None:
    """A megabyte over a link of four megabytes a second takes a quarter of a second each way."""
    async with echo_behind(Link("a", "b", bytes_per_s=4e6)) as link, Talk(link) as talk:
        assert await talk.say(bytes(1_000_000)) >= 0.25


async def test_a_cut_link_is_a_black_hole() -> None:
    """On a cut link nothing arrives and no connect completes or is refused; after the repair the data arrives."""
    async with echo_behind(Link("a", "b")) as link, Talk(link) as talk:
        await talk.say()
        link.cut()
        talk.writer.write(b"into the hole")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(talk.reader.read(1), 0.2)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.open_connection("127.0.0.1", link.port), 0.2)
        link.mend()
        assert await asyncio.wait_for(talk.reader.readexactly(13), 30) == b"into the hole"
        async with Talk(link) as again:
            await again.say()


async def test_a_reset_breaks_what_is_open() -> None:
    """A reset ends open connections; the next connection works."""
    async with echo_behind(Link("a", "b")) as link, Talk(link) as talk:
        await talk.say()
        link.reset()
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(talk.reader.read(1), 30) == b""
        async with Talk(link) as again:
            await again.say()


async def test_places_are_cut_apart() -> None:
    """A partition cuts exactly the links between the named places, and its repair repairs exactly those."""
    async with Network() as network:
        ways = [("a", "b"), ("b", "a"), ("a", "c"), ("b", "c"), ("a", "a")]
        links = {way: await network.link(*way) for way in ways}
        network.isolate("a")
        assert [way for way in ways if links[way].is_cut] == [("a", "b"), ("b", "a"), ("a", "c")]
        network.mend(source="a")
        assert [way for way in ways if links[way].is_cut] == [("b", "a")]
        network.mend()
        network.cut(target="c")
        assert [way for way in ways if links[way].is_cut] == [("a", "c"), ("b", "c")]
