"""Few bytes must not cost much, as a list of reports: memory that requests and answers hold, and for whom."""

from __future__ import annotations

import asyncio
from pathlib import Path

import one_data_plane as wires
import pytest
from callers import ask, bearer, clear, field, keys, status
from h2peer import FrameClient
from h2peer import request as h2_request
from hyperframe.frame import DataFrame
from one_data_plane import (
    DONE,
    HELLO,
    ROLE,
    STOP,
    STREAM,
    models,
    one_data_plane,
    patient,
    post,
    sse,
    whole,
)
from test_buffered import Half, body, held, refused, until_held

from edge.sim.wire import Again, Hold, ReadMessage, ScriptedServer, Send
from native.http.stream import first_slow

GOOD = (ReadMessage(), Send(whole()), Again())
MIB = 1 << 20
SHARED = "limits: {body: 300KiB, max_buffered: 1MiB, client_idle: 20s}\n"


def rss() -> int:
    """Return the bytes of memory of this process, in which the data plane runs."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.alone
async def test_two_bytes_take_fifty_six() -> None:
    """Bodies in frames of two bytes take what their bytes take."""
    content = body(60_000)
    many = 20
    async with ScriptedServer(GOOD) as upstream, one_data_plane(models(upstream.url)) as data_plane:
        async with FrameClient.connect(data_plane.port) as warm:
            warm.send(warm.headers(1, h2_request("POST", "/v1/chat/completions")))
            for at in range(0, len(content), 16_000):
                warm.data(1, content[at : at + 16_000])
            await until_held(data_plane, len(content))
            before = rss()
            clients = [await asyncio.open_connection("127.0.0.1", data_plane.port) for _ in range(many)]
            for reader, writer in clients:
                client = FrameClient(reader, writer)
                client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
                client.send(client.headers(1, h2_request("POST", "/v1/chat/completions")))
                pairs = [DataFrame(1, content[at : at + 2]).serialize() for at in range(0, len(content) - 2, 2)]
                client.write(b"".join(pairs))
                await writer.drain()
                client._task.cancel()
            await until_held(data_plane, len(content) + many * (len(content) - 2))
            grown = rss() - before
            for _, writer in clients:
                writer.transport.abort()
            await until_held(data_plane, len(content))
    assert grown < 10 * many * len(content)


async def start(data_plane: wires.OneDataPlane, name: str, size: int, part: int) -> Half:
    """Send the head and a part of a chat request of a caller over HTTP/1.1."""
    return await Half.sent(data_plane, post(body(size), fields=bearer(name)), part)


@pytest.mark.usefixtures("both_wires")
async def test_one_key_fills_the_buffers() -> None:
    """A key holds at most half of what the others leave; then its requests are refused, and not those of others."""
    async with ScriptedServer(GOOD) as upstream:
        text = models(upstream.url, extra=SHARED) + keys(alice="", bob="")
        async with one_data_plane(text) as data_plane:
            first = await start(data_plane, "alice", 300_000, 299_000)
            await until_held(data_plane, 299_000)
            second = await start(data_plane, "alice", 224_000, 220_000)
            await until_held(data_plane, 519_000)
            answer = await data_plane.ask(ask("alice", body(12_000)), b"}}")
            assert status(answer) == 503
            assert b"buffers_full" in answer
            assert field(answer, "retry-after") is not None
            assert refused(data_plane) == 1
            assert status(await data_plane.ask(ask("bob", body(12_000)), b"hello")) == 200
            assert b" 200 " in await first.finish()
            assert b" 200 " in await second.finish()
            await until_held(data_plane, 0)


async def refusal_of_head(data_plane: wires.OneDataPlane, wire: str) -> dict[str, str]:
    """Send the head of a large request, and nothing of its body; return the head of the answer."""
    if wire == "http1":
        head, _, _ = ask("alice", body(200_000)).partition(b"\r\n\r\n")
        lines = (await data_plane.ask(head + b"\r\n\r\n", b"}}")).partition(b"\r\n\r\n")[0].decode().split("\r\n")
        return {":status": lines[0].split()[1], **dict(line.split(": ", 1) for line in lines[1:])}
    async with FrameClient.connect(data_plane.port) as client:
        fields = [("authorization", f"Bearer {clear('alice')}"), ("content-length", "200000")]
        client.send(client.headers(1, h2_request("POST", "/v1/chat/completions", "edge", *fields)))
        async with asyncio.timeout(15):
            while 1 not in client.fields:  # noqa: ASYNC110 - read by another task
                await asyncio.sleep(0.01)
        return dict(client.fields[1][0])


@pytest.mark.parametrize("bound", ["concurrent: 1", "requests_per_minute: 1"])
async def test_one_request_at_once_sends_many_bodies(both_wires: str, bound: str) -> None:
    """A key's slot and rate are taken at the head: a second large body is refused before it comes."""
    async with ScriptedServer(GOOD) as upstream:
        async with one_data_plane(models(upstream.url, extra=SHARED) + keys(alice=bound)) as data_plane:
            first = await start(data_plane, "alice", 200_000, 1000)
            await until_held(data_plane, 1000)
            told = await refusal_of_head(data_plane, both_wires)
            assert told[":status"] == "429"
            assert "retry-after" in told
            assert held(data_plane) == 1000
            first.leave()
            await until_held(data_plane, 0)
            # what was not asked is given back
            assert status(await data_plane.ask(ask("alice"), b"hello")) == 200


async def test_a_client_that_asks_first_is_told_to_send() -> None:
    """A client that waits for 100 (Continue) with a body that is refused gets the refusal, and no word to send it."""
    async with ScriptedServer(GOOD) as upstream:
        async with one_data_plane(models(upstream.url, extra=SHARED) + keys(alice="concurrent: 1")) as data_plane:
            first = await start(data_plane, "alice", 200_000, 1000)
            await until_held(data_plane, 1000)
            head, _, _ = ask("alice", body(200_000)).partition(b"\r\n\r\n")
            answer = await data_plane.ask(head + b"\r\nexpect: 100-continue\r\n\r\n", b"}}")
            assert status(answer) == 429
            first.leave()


@pytest.mark.usefixtures("both_wires")
async def test_small_requests_are_refused_as_before() -> None:
    """The refusal of a small request names its route and is counted there."""
    async with ScriptedServer(GOOD) as upstream:
        async with one_data_plane(models(upstream.url) + keys(alice="concurrent: 1")) as data_plane:
            first = await start(data_plane, "alice", 2000, 1000)
            await until_held(data_plane, 1000)
            assert status(await data_plane.ask(ask("alice"), b"}}")) == 429
            assert b" 200 " in await first.finish()
            assert status(await data_plane.ask(ask("alice"), b"hello")) == 200


def large(size: int) -> bytes:
    """Return a whole answer of this size."""
    return whole(b'{"choices":[{"message":{"content":"' + b"a" * (size - 40) + b'"}}]}')


@pytest.mark.usefixtures("both_wires")
async def test_held_answers_are_not_counted() -> None:
    """What is held of whole answers counts; what does not fit is relayed as it comes, and not held."""
    go = asyncio.Event()
    answer = large(900_000)
    script = (ReadMessage(), Send(answer[:300_000]), Hold(go), Send(answer[300_000:]), Again())
    async with ScriptedServer(script) as upstream:
        text = patient(models(upstream.url, extra="limits: {body: 64KiB, max_buffered: 1MiB}"))
        async with one_data_plane(text) as data_plane:
            head = len(answer) - 900_000
            asked = [asyncio.create_task(data_plane.ask(post(), b"aaa")) for _ in range(3)]
            request = len(post().partition(b"\r\n\r\n")[2])
            await until_held(data_plane, 3 * (300_000 - head + request))
            assert not any(task.done() for task in asked)
            # the fourth does not fit
            assert b"aaa" in await data_plane.ask(post(), b"aaa")
            go.set()
            for said in await asyncio.gather(*asked):
                assert status(said) == 200
            await until_held(data_plane, 0)


@pytest.mark.usefixtures("both_wires")
async def test_what_is_kept_for_the_cache_is_not_counted() -> None:
    """What is held of an answer to be cached counts until it is complete; what does not fit is not cached."""
    go = asyncio.Event()
    many = HELLO * 2000
    script = (ReadMessage(), Send(sse(ROLE, HELLO, many, end=False)), Hold(go), Send(sse(STOP, DONE)[len(sse()) - 5 :]))
    async with ScriptedServer((*script, Again())) as upstream:
        text = patient(models(upstream.url, extra="    cache: {ttl: 1m}\nlimits: {body: 64KiB, max_buffered: 512KiB}"))
        async with one_data_plane(text) as data_plane:
            asked = asyncio.create_task(data_plane.ask(post(STREAM), b"[DONE]"))
            await until_held(data_plane, len(ROLE + HELLO + many))
            go.set()
            assert b"x-edge-cache: miss\r\n" in await asked
            await until_held(data_plane, 0)


@pytest.mark.usefixtures("both_wires")
async def test_answers_that_nobody_reads_are_not_counted(both_wires: str) -> None:
    """What waits for a client that does not read counts as held, until it leaves."""
    async with ScriptedServer((ReadMessage(), Send(large(7 * MIB)), Again())) as upstream:
        text = patient(models(upstream.url, extra="limits: {body: 64KiB, max_buffered: 16MiB}"))
        async with one_data_plane(text) as data_plane:
            if both_wires == "http1":
                reader, writer = await asyncio.open_connection("127.0.0.1", data_plane.port, limit=1024)
                writer.write(post())
            else:
                reader, writer = await asyncio.open_connection("127.0.0.1", data_plane.port)
                client = FrameClient(reader, writer)
                client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
                client.send(client.headers(1, h2_request("POST", "/v1/chat/completions")))
                client.data(1, b'{"model":"chat","messages":[]}', "END_STREAM")
            async with asyncio.timeout(15):
                while held(data_plane) < MIB // 2:  # noqa: ASYNC110 - counted by another thread
                    await asyncio.sleep(0.01)
            writer.transport.abort()
            await until_held(data_plane, 0)


S = 1_000_000_000
SLOW = [(100_000, 900 * second, (10 + second) * S) for second in range(60)]
STEADY = [(100_000, 1200 * second, (10 + second) * S) for second in range(200)]


def test_a_slow_reader_holds_memory_for_ever() -> None:
    """While half of the memory is used, a client for which much is held moves 1 KiB/s, or is cut after 30 s."""
    assert first_slow(50, 100, SLOW) == 30
    assert first_slow(50, 100, STEADY) == -1
    assert first_slow(49, 100, SLOW) == -1
    assert first_slow(99, 100, [(65_536, moved, when) for _, moved, when in SLOW]) == -1
    # a moment with little to hold begins anew
    eased = [(0 if place == 20 else size, moved, when) for place, (size, moved, when) in enumerate(SLOW)]
    assert first_slow(99, 100, eased) == 51
    # a key that has half of what it may have of a memory that is nearly empty is short of memory too
    assert first_slow(25, 100, SLOW, shared=25) == 30
    assert first_slow(24, 100, SLOW, shared=24) == -1
    assert first_slow(25, 100, SLOW, shared=20) == -1


@pytest.mark.usefixtures("both_wires")
async def test_a_reload_forgets_what_a_key_holds() -> None:
    """What a key has edge hold counts over reloads, and is given back to where it was counted."""
    async with ScriptedServer(GOOD) as upstream:
        text = models(upstream.url, extra=SHARED) + keys(alice="", bob="")
        async with one_data_plane(text) as data_plane:
            for _ in range(2):
                first = await start(data_plane, "alice", 300_000, 299_000)
                await until_held(data_plane, 299_000)
                await data_plane.swap(text)
                second = await start(data_plane, "alice", 224_000, 220_000)
                await until_held(data_plane, 519_000)
                await data_plane.swap(text)
                assert status(await data_plane.ask(ask("alice", body(12_000)), b"}}")) == 503
                assert status(await data_plane.ask(ask("bob", body(12_000)), b"hello")) == 200
                assert b" 200 " in await first.finish()
                await data_plane.swap(text)
                assert b" 200 " in await second.finish()
                await until_held(data_plane, 0)


async def start_from(data_plane: wires.OneDataPlane, source: str, size: int, part: int) -> Half:
    """Send a part of a chat request without a key through a load balancer, which tells whose it is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", data_plane.port)
    family = "TCP6" if ":" in source else "TCP4"
    writer.write(f"PROXY {family} {source} {'::1' if ':' in source else '127.0.0.1'} 1000 80\r\n".encode())
    head, _, content = post(body(size)).partition(b"\r\n\r\n")
    writer.write(head + b"\r\n\r\n" + content[:part])
    return Half(reader, writer, content[part:])


async def status_from(data_plane: wires.OneDataPlane, source: str) -> int:
    """Ask with a body of 12 kB; return the status."""
    half = await start_from(data_plane, source, 12_000, 12_000)
    answer = status(await half.finish())
    half.leave()
    return answer


@pytest.mark.parametrize(
    ("filling", "same", "others"),
    [
        ("203.0.113.5", "203.0.113.5", ("203.0.113.6", "198.51.100.5", "2001:db8::5")),
        ("2001:db8::5", "2001:db8::6", ("2001:db8:0:1::5", "2001:db8:0:2::5", "203.0.113.5")),
    ],
)
async def test_one_address_fills_the_buffers(filling: str, same: str, others: tuple[str, ...]) -> None:
    """Without keys one address holds at most half of what the others leave; loopback and proxies do not count."""
    listen = (
        'listen: [{address: "127.0.0.1:0", proxy_protocol: true, trusted_proxies: ["127.0.0.1", "192.0.2.0/24"]}]\n'
    )
    async with ScriptedServer(GOOD) as upstream:
        async with one_data_plane(models(upstream.url, extra=SHARED) + listen) as data_plane:
            first = await start_from(data_plane, filling, 300_000, 299_000)
            await until_held(data_plane, 299_000)
            second = await start_from(data_plane, filling, 224_000, 220_000)
            await until_held(data_plane, 519_000)
            assert await status_from(data_plane, same) == 503
            assert refused(data_plane) == 1
            # two addresses in a thousand have a share in common
            assert 200 in [await status_from(data_plane, source) for source in others]
            for many in ("127.0.0.1", "192.0.2.7"):
                third = await start_from(data_plane, many, 300_000, 299_000)
                await until_held(data_plane, 818_000)
                fourth = await start_from(data_plane, many, 200_000, 199_000)
                await until_held(data_plane, 1_017_000)
                third.leave()
                fourth.leave()
                await until_held(data_plane, 519_000)
            first.leave()
            assert b" 200 " in await second.finish()
            await until_held(data_plane, 0)
            assert await status_from(data_plane, same) == 200
