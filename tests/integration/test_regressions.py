"""Regressions of the data path: rare orders of events, each of which once failed."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from one_data_plane import DONE, HELLO, SSE_HEAD, STREAM, chunk, models, one_data_plane, patient, post, whole
from soon import until
from test_services import request, services

from edge import clock
from edge.native import Outcome, WorkerCounter
from edge.sim.wire import (
    Again,
    Hold,
    Pause,
    ReadHead,
    ReadMessage,
    ReadToEnd,
    ReadUntil,
    ScriptedServer,
    Send,
    now_s,
    play_client,
)

HEALTH = b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n"


async def slow_socket(port: int, buffer: int = 65536) -> socket.socket:
    """Connect a client with a small receive buffer."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


async def read_all(sock: socket.socket, *, gap_s: float = 0.0, limit_s: float = 60.0) -> int:
    """Read until the peer closes, with a pause after each read; return how many bytes came."""
    total = 0
    async with asyncio.timeout(limit_s):
        with contextlib.suppress(ConnectionResetError):
            while data := await asyncio.get_running_loop().sock_recv(sock, 65536):
                total += len(data)
                await clock.sleep(gap_s)
    return total


async def test_nothing_after_an_answer_that_ends_the_connection() -> None:
    """Data behind a request that was answered early is not parsed as a request."""
    async with ScriptedServer((ReadMessage(), Send(whole()), Again())) as upstream:
        async with one_data_plane(services(upstream.address)) as data_plane:
            early = b"POST /nowhere HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello"
            for follows in (HEALTH, request(b"POST", fields=b"content-length: 0\r\n")):
                peer = await data_plane.raw(early + follows)
                assert peer.received.count(b"HTTP/1.1 ") == 1
                assert peer.received.startswith(b"HTTP/1.1 404 ")
            await clock.sleep(0.05)
            assert upstream.peers == []


async def test_connection_is_read_again_after_a_slow_client() -> None:
    """After an answer that waited for its client, the upstream connection serves the next request at once."""
    size = 6_000_000
    script = (
        ReadHead(),
        Send(whole(b"x" * size)),
        ReadHead(),
        Send(whole()),
        Again(),
    )
    async with (
        ScriptedServer(script) as upstream,
        one_data_plane(services(upstream.address, total="60s")) as data_plane,
    ):
        for _ in range(3):
            with contextlib.closing(await slow_socket(data_plane.port)) as sock:
                await asyncio.get_running_loop().sock_sendall(sock, request(fields=b"Connection: close\r\n"))
                await clock.sleep(0.1)
                assert await read_all(sock, gap_s=0.005) > size
            answer = await data_plane.ask(request(), b"hello")
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b"\r\nx-edge-attempts: 1\r\n" in answer


async def test_stall_is_noticed_in_its_own_time() -> None:
    """A complete answer that stalls ends after stream_idle, however long the first-byte deadline is."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"
    async with (
        ScriptedServer((ReadMessage(), Send(whole()), ReadMessage(), Send(head), ReadToEnd())) as stalled,
        ScriptedServer((ReadMessage(), Send(whole()), Again())) as good,
        one_data_plane(
            models(stalled.url, good.url)
            .replace("first_byte: 500ms, first_token: 700ms", "first_byte: 50s, first_token: 50s")
            .replace("total: 5s", "total: 90s")
        ) as data_plane,
    ):
        assert b"x-edge-attempts: 1" in await data_plane.ask(post(), b"hello")
        began = now_s()
        answer = await data_plane.ask(post(), b"hello", limit_s=60)
        assert b"x-edge-attempts: 2" in answer
        assert now_s() - began < 3.9


async def test_recovery_by_an_answer_without_end() -> None:
    """A trial succeeds when a service's answer begins, even if that answer never ends."""
    endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(b"begun")
    breaker = ", breaker: {consecutive_failures: 1, open_duration: 200ms}"
    script = (ReadHead(), Send(whole(status=b"500 No")), ReadHead(), Send(endless), ReadToEnd())
    async with ScriptedServer(script) as upstream:
        async with one_data_plane(services(upstream.address, extra=breaker)) as data_plane:
            await data_plane.ask(request(b"POST", fields=b"content-length: 0\r\n"), b"hello")
            name = data_plane.snapshot.targets[0].id
            assert data_plane.target(name)["state"] == "open"
            await clock.sleep(0.4)
            judged = asyncio.Event()
            peer = asyncio.create_task(play_client(data_plane.port, Send(request()), ReadUntil(b"begun"), Hold(judged)))
            await until(lambda: data_plane.target(name)["state"] == "closed")
            assert not peer.done()
            judged.set()
            await peer


async def test_client_leaves_while_the_upstream_does_not_read() -> None:
    """A client that leaves is noticed while its complete request is still being sent to the upstream."""
    body = b'{"model":"chat","messages":["' + b"x" * 8_000_000 + b'"]}'
    script = (Hold(asyncio.Event()),)
    async with (
        ScriptedServer(script, receive_buffer=16384) as upstream,
        one_data_plane(patient(models(upstream.url))) as data_plane,
    ):
        sock = await slow_socket(data_plane.port)
        await asyncio.get_running_loop().sock_sendall(sock, post(body))
        await upstream.wait_peers(1)
        await clock.sleep(0.3)
        assert data_plane.data_plane.active == 1
        sock.close()
        await until(lambda: data_plane.data_plane.active == 0, 10.0)


async def test_long_upload_under_an_early_answer() -> None:
    """While the client still sends, an answer that has begun and waits for the rest is not stalled."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunk(b"begun")
    script = (ReadHead(), Send(head), ReadUntil(b"0\r\n\r\n"), Send(chunk(b"whole") + b"0\r\n\r\n"), ReadToEnd())
    async with ScriptedServer(script) as upstream, one_data_plane(services(upstream.address)) as data_plane:
        upload = request(b"POST", fields=b"transfer-encoding: chunked\r\n") + chunk(b"a")
        peer = await play_client(
            data_plane.port,
            Send(upload),
            *[step for _ in range(8) for step in (Pause(0.2), Send(chunk(b"more")))],
            Send(b"0\r\n\r\n"),
            ReadUntil(b"whole"),
            ReadUntil(b"0\r\n\r\n"),
        )
        assert peer.ended == "script"


async def test_pipelining_without_reading() -> None:
    """A client that pipelines requests and reads nothing does not let answers pile up."""
    async with one_data_plane(models("http://127.0.0.1:9")) as data_plane:
        sock = await slow_socket(data_plane.port)
        sent = 0
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(3):
                while sent < 30_000_000:
                    await asyncio.get_running_loop().sock_sendall(sock, HEALTH * 2000)
                    sent += 2000 * len(HEALTH)
        sock.close()
        assert data_plane.shared_state.read_worker(0)["counts"][WorkerCounter.W_BYTES_OUT] < 12_000_000


async def test_pipelining_with_slow_reading() -> None:
    """Answers that waited for a slow reader all arrive, in order and complete."""
    count = 60
    name = "m" * 60
    many = "\n".join(f"  {name}{n}: {{targets: [a/m]}}" for n in range(600))
    text = f"providers: {{a: {{dialect: openai, base_url: 'http://127.0.0.1:9/v1'}}}}\nmodels:\n{many}\n"
    async with one_data_plane(text) as data_plane:
        ask = b"GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n"
        last = ask.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
        sock = await slow_socket(data_plane.port)
        one = len(await data_plane.ask(ask, b"]}"))
        assert one > 60_000
        with contextlib.closing(sock):
            await asyncio.get_running_loop().sock_sendall(sock, ask * (count + 1) + last)
            await clock.sleep(0.3)
            assert await read_all(sock) >= one * (count + 1)


async def test_many_upgrades_in_one_read() -> None:
    """Many pipelined upgrade requests that are not accepted are answered one after the other."""
    ask = b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"
    count = 2000
    async with one_data_plane(models("http://127.0.0.1:9")) as data_plane:
        peer = await data_plane.raw(ask * count + HEALTH.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        assert peer.received.count(b"HTTP/1.1 200 OK") == count + 1


async def test_early_answer_to_a_slow_reader() -> None:
    """An early answer reaches a client that takes seconds to read it."""
    size = 8_000_000
    script = (ReadHead(), Send(whole(b"x" * size)), ReadToEnd())
    async with (
        ScriptedServer(script) as upstream,
        # 4 s of pauses are more on a busy machine
        one_data_plane(services(upstream.address, total="60s")) as data_plane,
    ):
        with contextlib.closing(await slow_socket(data_plane.port)) as sock:
            ask = request(b"POST", fields=b"content-length: 1000\r\n") + b"a"
            await asyncio.get_running_loop().sock_sendall(sock, ask)
            assert await read_all(sock, gap_s=0.03) > size


async def test_waiters_behind_a_failed_connect() -> None:
    """Requests that wait for a connect that fails get the error at once, not at their deadline."""
    text = models("http://127.0.0.1:1", extra="").replace("connect: 2s", "connect: 50s")
    text = (
        patient(text)
        .replace("total: 30s", "total: 90s")
        .replace("base_url: 'http://127.0.0.1:1/v1'", "base_url: 'http://127.0.0.1:1/v1', max_connections: 4")
    )
    text = text.replace("    timeouts:", "    retry: {attempts: 1}\n    timeouts:")
    async with one_data_plane(text) as data_plane:
        began = now_s()
        await asyncio.gather(*[data_plane.ask(post(), b"}}", limit_s=60) for _ in range(12)])
        assert now_s() - began < 2.9


async def test_forwarded_for_in_several_lines() -> None:
    """A client that is no trusted proxy does not say for whom it asks: its own address replaces all its lines."""
    async with ScriptedServer((ReadMessage(), Send(whole()), Again())) as upstream:
        async with one_data_plane(services(upstream.address)) as data_plane:
            await data_plane.ask(request(fields=b"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n"), b"hello")
            assert b"\r\nx-forwarded-for: 127.0.0.1\r\n" in upstream.peers[0].received


async def test_everything_was_said_before_the_silence() -> None:
    """A stream that has sent [DONE] and then does not end is complete: nothing is added."""
    script = (ReadMessage(), Send(SSE_HEAD + chunk(HELLO) + chunk(DONE)), ReadToEnd())
    async with ScriptedServer(script) as upstream, one_data_plane(models(upstream.url)) as data_plane:
        answer = await data_plane.ask(post(STREAM), b"0\r\n\r\n")
        assert answer.endswith(DONE + b"\r\n0\r\n\r\n")
        assert data_plane.outcomes("p0/m")[Outcome.OK] == 1


async def test_whole_answer_without_end_after_comfort() -> None:
    """A streaming client with keepalive comments gets the error at once when the answer turns out to be bad."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    flood = chunk(b" " * 60_000)
    extra = "limits: {keepalive_comment: 1s, max_response: 1MiB}"
    script = (ReadMessage(), Pause(1.3), Send(head), Send(flood * 400, piece=600_000, gap_s=0.01), ReadToEnd())
    patient = {"first_byte: 500ms": "first_byte: 15s", "first_token: 700ms": "first_token: 15s"}
    async with ScriptedServer(script) as upstream:
        text = models(upstream.url, extra=extra)
        for hasty, patiently in patient.items():
            text = text.replace(hasty, patiently)
        async with one_data_plane(text) as data_plane:
            peer = await data_plane.raw(post(STREAM), limit_s=20.0)
            assert b"no_usable_target" in peer.received
            assert b"a stream had begun" in peer.received
            assert len(upstream.peers) <= 3


async def test_who_waits_while_the_plan_changes() -> None:
    """A request that waits for a connection is still served when a new plan replaces the pool."""
    release = asyncio.Event()
    script = (ReadMessage(), Hold(release), Send(whole()), Again())
    async with ScriptedServer(script) as upstream:
        few = patient(services(upstream.address, extra=", max_connections: 1"))
        async with one_data_plane(few) as data_plane:
            first = asyncio.create_task(data_plane.ask(request(b"POST"), b"hello"))
            await upstream.wait_asked(1)
            second = asyncio.create_task(data_plane.ask(request(b"POST"), b"hello"))
            await until(lambda: data_plane.data_plane.active == 2)
            await data_plane.swap(patient(services(upstream.address, extra=", max_connections: 2")))
            release.set()
            assert b"x-edge-attempts: 1" in await first
            assert b"x-edge-attempts: 1" in await second


async def test_unwanted_rest_while_the_plan_changes() -> None:
    """The connection of an unwanted answer ends in time, also after its target's plan has changed."""
    unwanted = b"HTTP/1.1 503 No\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{"
    script = (ReadMessage(), Send(unwanted), ReadToEnd())
    async with ScriptedServer(script) as upstream, one_data_plane(models(upstream.url)) as data_plane:
        await data_plane.ask(post(), b"}}")
        await data_plane.swap(models(upstream.url.replace("127.0.0.1", "localhost")))
        assert await upstream.peers[0].wait_end() in ("peer_closed", "peer_reset")


@pytest.mark.parametrize(
    "wait", [b"Mon, 01 Jan 99999999999 00:00:00 GMT", b"Mon, 01 Jan 2024 00:00:00 +99999999999999999999", b"9" * 400]
)
async def test_retry_after_beyond_all_bounds(wait: bytes) -> None:
    """An absurd Retry-After is ignored, and another target answers at once."""
    limited = whole(b"{}", b"429 Slow Down").replace(b"\r\n\r\n", b"\r\nretry-after: " + wait + b"\r\n\r\n")
    async with (
        ScriptedServer((ReadMessage(), Send(limited), Again())) as busy,
        ScriptedServer((ReadMessage(), Send(whole()), Again())) as free,
        one_data_plane(models(busy.url, free.url)) as data_plane,
    ):
        assert b"x-edge-attempts: 2" in await data_plane.ask(post(), b"hello")
        assert data_plane.outcomes("p0/m")[Outcome.RATE_LIMITED] == 1


async def test_interim_answers_without_end() -> None:
    """Endless interim responses are a malformed answer, and are not relayed."""
    script = (ReadHead(), Send(b"HTTP/1.1 100 Continue\r\n\r\n" * 5000), ReadToEnd())
    async with ScriptedServer(script) as upstream, one_data_plane(services(upstream.address)) as data_plane:
        ask = request(b"POST", fields=b"expect: 100-continue\r\ncontent-length: 5\r\n") + b"hello"
        answer = await data_plane.ask(ask, b"}}")
        assert b"HTTP/1.1 502 " in answer
        assert answer.count(b"100 Continue") <= 16


async def test_the_first_byte_deadline_holds_on_a_new_connection() -> None:
    """Once a connection is open the first-byte deadline applies, and not the rest of the connect timeout."""
    good = (ReadMessage(), Send(whole()), Again())
    async with ScriptedServer((ReadToEnd(),)) as silent, ScriptedServer(good) as backup:
        text = models(silent.url, backup.url).replace(
            "connect: 2s, first_byte: 500ms", "connect: 50s, first_byte: 200ms"
        )
        text = text.replace("total: 5s", "total: 90s")
        async with one_data_plane(text) as data_plane:
            began_s = now_s()
            assert b"p1/m" in await data_plane.ask(post(), b"}}", limit_s=60)
            assert now_s() - began_s < 3.9
