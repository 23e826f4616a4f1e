"""All kinds of HTTP/1.x clients are served: pipelined, kept alive, HTTP/1.0, Expect, slow and endless."""

from __future__ import annotations

import asyncio
import itertools
import random
import re

import pytest
from one_data_plane import chunk, models, one_data_plane, patient, post, whole
from test_services import request, services

from edge import clock
from edge.sim.wire import (
    Again,
    Close,
    Pause,
    Peer,
    ReadHead,
    ReadMessage,
    ReadToEnd,
    ReadUntil,
    ScriptedServer,
    Send,
    play_client,
)

GOOD = (ReadMessage(), Send(whole()), Again())
IDLE_LANE = """
providers: {a: {dialect: openai, base_url: 'http://127.0.0.1:9/v1'}}
models: {m: {targets: [a/m]}}
"""
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"


def chunked(*parts: bytes) -> bytes:
    """Return a POST request whose body has these chunks, as bytes."""
    head = post(b"").replace(b"content-length: 0", b"transfer-encoding: chunked")
    return head + b"".join(chunk(part) for part in parts) + b"0\r\n\r\n"


async def test_pipelined_in_order() -> None:
    """Pipelined requests are answered in order, even if the first takes longest."""
    script = (ReadMessage(), Pause(0.2), Send(whole(b'{"id":"slow","choices":[]}')), Again())
    async with ScriptedServer(script) as upstream, one_data_plane(patient(models(upstream.url))) as data_plane:
        data = (
            post() + HEALTH + post(b'{"model":"nope"}') + HEALTH.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
        )
        peer = await data_plane.raw(data)
        order = [peer.received.find(mark) for mark in (b'"slow"', b'"status"', b"model_not_found")]
        assert -1 not in order
        assert order == sorted(order)
        assert peer.received.count(b"HTTP/1.1 ") == 4


async def test_pipelined_in_pieces() -> None:
    """The result does not depend on where reads cut the requests."""
    async with ScriptedServer(GOOD) as upstream, one_data_plane(models(upstream.url)) as data_plane:
        data = post() + HEALTH + post() + HEALTH.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
        peer = await play_client(data_plane.port, Send(data, piece=11), ReadToEnd(), limit_s=20.0)
        assert peer.received.count(b"HTTP/1.1 200 OK") == 4


@pytest.mark.parametrize("came", [0, 7, 64])
async def test_pipelined_body_in_two(came: int) -> None:
    """The body of a pipelined request is read on when its turn comes, whatever part of it came before."""
    body = b'{"model":"chat","messages":[' + b" " * 300_000 + b"]}"
    head = post(body).removesuffix(body)
    async with (
        ScriptedServer((ReadMessage(), Pause(0.2), Send(whole()), Again())) as upstream,
        one_data_plane(patient(models(upstream.url))) as data_plane,
    ):
        first = (Send(post() + head + body[:came]), ReadUntil(b"}}]}"))
        peer = await play_client(data_plane.port, *first, Send(body[came:]), ReadUntil(b"}}]}"), Close(), limit_s=20.0)
        assert peer.ended == "closed"
        assert upstream.peers[0].messages[1].endswith(body[-300_002:])


async def test_pipelined_hesitant() -> None:
    """A pipelined request with Expect gets its 100 when its turn comes, and its body is read then."""
    body = b'{"model":"chat","messages":[]}'
    head = post(body, fields=b"expect: 100-continue\r\n").removesuffix(body)
    async with (
        ScriptedServer((ReadMessage(), Pause(0.2), Send(whole()), Again())) as upstream,
        one_data_plane(patient(models(upstream.url))) as data_plane,
    ):
        told = (Send(post() + head), ReadUntil(b"}}]}"), ReadUntil(b"HTTP/1.1 100 Continue\r\n\r\n"))
        peer = await play_client(data_plane.port, *told, Send(body), ReadUntil(b"}}]}"), Close(), limit_s=20.0)
        assert peer.ended == "closed"


@pytest.mark.parametrize("seed", range(8))
async def test_pipelined_any_way(seed: int) -> None:
    """Any pipelined requests, cut anywhere and sent at any pace, are all answered in order."""
    chance = random.Random(seed)
    kinds = {
        post(): b"HTTP/1.1 200",
        post(b'{"model":"chat","messages":[' + b" " * 100_000 + b"]}"): b"HTTP/1.1 200",
        chunked(b'{"model":"chat",', b'"messages":[' + b" " * 3_000, b"]}"): b"HTTP/1.1 200",
        post(b'{"model":"nope"}'): b"HTTP/1.1 404",
        HEALTH: b"HTTP/1.1 200",
        HEALTH.replace(b"GET /healthz", b"GET /nowhere"): b"HTTP/1.1 404",
    }
    script = (ReadMessage(), Pause(0.001), Send(whole()), Again())
    async with ScriptedServer(script) as upstream, one_data_plane(patient(models(upstream.url))) as data_plane:
        for _ in range(12):
            asked = chance.choices(list(kinds), k=chance.randint(2, 8))
            data = b"".join(asked) + HEALTH.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
            cuts = sorted(chance.sample(range(1, len(data)), 8))
            steps: list[Send | Pause] = []
            for start, end in itertools.pairwise((0, *cuts, len(data))):
                steps += (Send(data[start:end]), Pause(chance.choice((0.0, 0.0005, 0.003))))
            peer = await play_client(data_plane.port, *steps, ReadToEnd(), limit_s=20.0)
            assert peer.ended == "peer_closed"
            assert re.findall(rb"HTTP/1.1 \d+", peer.received) == [*(kinds[one] for one in asked), b"HTTP/1.1 200"]


async def test_pipelined_without_end() -> None:
    """A client that pipelines without limit is refused, to bound memory."""
    script = (ReadMessage(), Pause(0.3), Send(whole()), Again())
    async with ScriptedServer(script) as upstream, one_data_plane(patient(models(upstream.url))) as data_plane:
        peer = await data_plane.raw(post() + HEALTH * 500)
        assert peer.ended in ("peer_closed", "peer_reset")
        assert peer.received.count(b"HTTP/1.1 200 OK") <= 66
        assert b"pipelined" in peer.received


async def test_kept_alive() -> None:
    """Many exchanges share one client connection and one upstream connection."""
    async with ScriptedServer(GOOD) as upstream, one_data_plane(models(upstream.url)) as data_plane:
        steps = [step for _ in range(20) for step in (Send(post()), ReadUntil(b"hello"), ReadUntil(b"}}]}"))]
        peer = await play_client(data_plane.port, *steps, Close())
        assert peer.received.count(b"HTTP/1.1 200 OK") == 20
        assert len(upstream.peers) == 1


@pytest.mark.parametrize("keep", [False, True])
async def test_http10(keep: bool) -> None:
    """HTTP/1.0 is answered and closed, or kept open if the client requests it."""
    fields = b"connection: keep-alive\r\n" if keep else b""
    async with ScriptedServer(GOOD) as upstream, one_data_plane(models(upstream.url)) as data_plane:
        data = post(fields=fields).replace(b"HTTP/1.1", b"HTTP/1.0")
        if keep:
            received = await data_plane.ask(data, b"hello")
            assert b"connection: keep-alive\r\n" in received
        else:
            peer = await data_plane.raw(data)
            assert b"connection: close\r\n" in peer.received
            assert peer.ended == "peer_closed"


async def test_continue() -> None:
    """A client that waits for 100 gets it at once, or the refusal if its body would be refused."""
    async with ScriptedServer(GOOD) as upstream:
        async with one_data_plane(models(upstream.url, extra="limits: {body: 4KiB}")) as data_plane:
            body = b'{"model":"chat"}'
            head = (
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n"
            )
            peer = await play_client(
                data_plane.port,
                Send(head % len(body)),
                ReadUntil(b"100 Continue\r\n\r\n"),
                Send(body),
                ReadUntil(b"hello"),
                Close(),
            )
            assert peer.received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
            refused = await data_plane.raw(head % 5000)
            assert refused.received.startswith(b"HTTP/1.1 413 ")


async def head_then_get(port: int, until: bytes, pause_s: float) -> Peer:
    """Send HEAD and then GET to a service on the same connection."""
    ask = b" /a HTTP/1.1\r\nhost: svc\r\n\r\n"
    return await play_client(
        port,
        Send(b"HEAD" + ask),
        ReadUntil(b"\r\n\r\n"),
        Pause(pause_s),
        Send(b"GET" + ask),
        ReadUntil(until),
        Close(),
    )


async def test_head() -> None:
    """HEAD gets the fields of GET and no body, from edge and from a service, and connections stay in step."""
    script = (
        ReadHead(),
        Send(b"HTTP/1.1 200 OK\r\ncontent-length: 54\r\n\r\n"),
        ReadHead(),
        Send(whole()),
        Again(),
    )
    async with ScriptedServer(script) as upstream:
        text = f"services: {{s: {{match: {{host: svc}}, targets: ['{upstream.address}'], protocol: http1}}}}"
        async with one_data_plane(text) as data_plane:
            peer = await head_then_get(data_plane.port, b"}}]}", 0.02)
            first, second = peer.received.split(b"\r\n\r\n", 1)
            assert b"content-length: 54" in first
            assert second.startswith(b"HTTP/1.1 200 OK\r\n")
            assert len(upstream.peers) == 1
            health = await data_plane.raw(b"HEAD /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            assert health.received.endswith(b"\r\n\r\n")


async def test_head_with_a_body_is_not_reused() -> None:
    """If a service answers HEAD with a body, its connection is closed, and the next answer is right."""
    script = (ReadHead(), Send(whole()), ReadToEnd())
    good = (ReadMessage(), Send(whole(b'{"right":1}')), Again())
    async with ScriptedServer(script, good) as upstream:
        text = f"services: {{s: {{match: {{host: svc}}, targets: ['{upstream.address}'], protocol: http1}}}}"
        async with one_data_plane(text) as data_plane:
            peer = await head_then_get(data_plane.port, b"}", 0.05)
            assert peer.received.endswith(b'{"right":1}')


async def test_answer_too_many() -> None:
    """A second answer in the same read never reaches another client."""
    script = (ReadMessage(), Send(whole() + whole(b'{"id":"poison","choices":[]}')), ReadToEnd())
    async with ScriptedServer(script, GOOD) as upstream, one_data_plane(models(upstream.url)) as data_plane:
        for _ in range(3):
            answer = await data_plane.ask(post(), b"}")
            assert b"poison" not in answer
            assert answer.startswith(b"HTTP/1.1 200 ")
        assert len(upstream.peers) == 2


async def test_slow_head() -> None:
    """A head that takes longer than header_timeout is a 408, even if its bytes keep coming."""
    async with one_data_plane(IDLE_LANE + "limits: {header_timeout: 1s}") as data_plane:
        peer = await play_client(
            data_plane.port,
            Send(b"GET /healthz HTTP/1.1\r\n" + b"x-a: b\r\n" * 200, piece=4, gap_s=0.1),
            ReadToEnd(),
            limit_s=60.0,
        )
        assert peer.received.startswith(b"HTTP/1.1 408 ") or peer.ended == "peer_reset"
        assert peer.ended_s is not None
        assert peer.ended_s - peer.opened_s < 5.0


async def test_idle() -> None:
    """An idle connection is closed after ``idle``."""
    async with one_data_plane(IDLE_LANE + "limits: {idle: 1s}") as data_plane:
        peer = await data_plane.raw(HEALTH)
        assert peer.ended == "peer_closed"
        assert peer.received.count(b"200 OK") == 1


@pytest.mark.parametrize("piece", [0, 1, 7, 100])
async def test_upgrade_with_a_body(piece: int) -> None:
    """A client that requests h2c each time, as Java's does, is served, also pipelined and cut anywhere."""
    fields = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEA\r\n"
    ask = post(fields=fields)
    stream = chunked(b'{"model":"chat",', b'"messages":[]}').replace(b"\r\n", b"\r\n" + fields, 1)
    nope = post(b'{"model":"nope"}', fields=fields)
    last = post(fields=fields.replace(b"Upgrade,", b"close, Upgrade,"))
    async with ScriptedServer(GOOD) as upstream, one_data_plane(models(upstream.url)) as data_plane:
        data = ask + stream + HEALTH + nope + stream + ask + last
        steps = (Send(data, piece=piece) if piece else Send(data), ReadToEnd())
        peer = await play_client(data_plane.port, *steps, limit_s=20.0)
        assert peer.ended == "peer_closed"
        statuses = re.findall(rb"HTTP/1.1 (\d+)", peer.received)
        assert statuses == [b"200", b"200", b"200", b"404", b"200", b"200", b"200"]
        for message in upstream.peers[0].messages:
            assert message.endswith(b'"messages":[]}')
            assert b"upgrade" not in message.lower()


async def test_upgrade_with_a_body_refused_early() -> None:
    """Data behind an early response is the request's body, with or without an upgrade request."""
    fields = b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n" % len(HEALTH)
    head = HEALTH.replace(b"/healthz", b"/nowhere").replace(b"\r\n\r\n", b"\r\n" + fields + b"\r\n")
    async with one_data_plane(IDLE_LANE) as data_plane:
        peer = await data_plane.raw(head + HEALTH + HEALTH)
        assert re.findall(rb"HTTP/1.1 (\d+)", peer.received) == [b"404"]


async def test_many_small_chunks() -> None:
    """Small chunks are allowed: the overhead of their framing does not count towards the limit."""
    count = 20_000
    script = (ReadUntil(b"0\r\n\r\n"), Send(whole()), Close())
    async with ScriptedServer(script) as upstream, one_data_plane(services(upstream.address)) as data_plane:
        reader, writer = await asyncio.open_connection("127.0.0.1", data_plane.port)
        writer.write(request(b"POST", fields=b"transfer-encoding: chunked\r\n") + chunk(b"!"))
        await upstream.wait_peers(1)
        writer.write(chunk(b"!") * count)
        await writer.drain()
        for _ in range(3):  # in reads of their own, for what came is judged after each
            await clock.sleep(0.02)
            writer.write(chunk(b"!"))
        writer.write(b"0\r\n\r\n")
        assert (await asyncio.wait_for(reader.readline(), 20)).startswith(b"HTTP/1.1 200 ")
        writer.close()
