"""Slow readers are served to the end; clients that do not read at all, or leave unread data, are cut in time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING

import pytest
import trustme
from one_data_plane import chunk, models, one_data_plane, post, whole
from test_regressions import slow_socket
from test_services import request, services
from test_tls import listening, trusting

from edge.native import WorkerCounter
from edge.sim.wire import Pause, ReadHead, ReadMessage, ReadToEnd, ScriptedServer, Send

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from one_data_plane import OneDataPlane

# More than the kernel takes of an answer that nobody reads.
LARGE = 12_000_000
LIMITS = "\nlimits: {client_idle: 600ms, header_timeout: 200ms}\n"


async def nobody(data_plane: OneDataPlane) -> None:
    """Wait until no client is connected."""
    async with asyncio.timeout(20):
        while data_plane.data_plane.connections:  # noqa: ASYNC110 - counted by another thread
            await asyncio.sleep(0.01)
    assert data_plane.data_plane.active == 0


@pytest.mark.parametrize("partial", [b"", b"GET /api"], ids=["between", "in-a-head"])
async def test_leaves_without_reading(partial: bytes) -> None:
    """A client that half-closes and never reads its answer is cut, also in the middle of its next head."""
    script = (ReadMessage(), Send(whole(b"x" * LARGE)), ReadToEnd())
    async with ScriptedServer(script) as upstream, one_data_plane(services(upstream.address) + LIMITS) as data_plane:
        sock = await slow_socket(data_plane.port, 4096)
        await asyncio.get_running_loop().sock_sendall(sock, request() + partial)
        assert await asyncio.get_running_loop().sock_recv(sock, 1)
        sock.shutdown(socket.SHUT_WR)
        await nobody(data_plane)
        sock.close()


async def test_stops_sending_and_reading() -> None:
    """A client that stops in its body, and does not read the answer, is cut."""
    begun = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    script = (ReadHead(), Pause(0.3), Send(begun + chunk(b"x" * LARGE)), ReadToEnd())
    async with ScriptedServer(script) as upstream, one_data_plane(services(upstream.address) + LIMITS) as data_plane:
        sock = await slow_socket(data_plane.port, 4096)
        head = request(b"POST", fields=b"transfer-encoding: chunked\r\n")
        await asyncio.get_running_loop().sock_sendall(sock, head + chunk(b"begun"))
        assert await asyncio.get_running_loop().sock_recv(sock, 1)
        await nobody(data_plane)
        sock.close()


@pytest.mark.parametrize("fields", [b"", b"connection: close\r\n"], ids=["kept", "last"])
async def test_reads_slowly(fields: bytes) -> None:
    """A client that reads steadily gets its complete answer, even if that takes several times client_idle."""
    answer = b'{"id":"a","choices":[{"message":{"content":"' + b"x" * LARGE + b'"}}]}'
    script = (ReadMessage(), Send(whole(answer)), ReadToEnd())
    async with (
        ScriptedServer(script) as upstream,
        one_data_plane(models(upstream.url) + "\nlimits: {client_idle: 1s}\n") as data_plane,
    ):
        sock = await slow_socket(data_plane.port, 32768)
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, post(fields=fields))
        total, began = 0, time.monotonic()
        while time.monotonic() - began < 2.2:
            total += len(await asyncio.wait_for(loop.sock_recv(sock, 16384), 20))
            await asyncio.sleep(0.02)
        while total < len(answer):
            part = await asyncio.wait_for(loop.sock_recv(sock, 1 << 20), 20)
            assert part
            total += len(part)
        sock.close()


async def large_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer a request for /api/N with N bytes, as fast as they are taken."""
    with contextlib.suppress(OSError):
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(whole(b"x" * int(head.split()[1].removeprefix(b"/api/"))))
        await writer.drain()
        await reader.read()
        writer.close()


def begin_upload(port: int, context: ssl.SSLContext, size: int) -> ssl.SSLSocket:
    """Request this many bytes over TLS with the beginning of an upload; return the unread connection."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
    plain.settimeout(20)
    plain.connect(("127.0.0.1", port))
    sock = context.wrap_socket(plain, server_hostname="edge.test")
    sock.sendall(request(b"POST", path=b"/api/%d" % size, fields=b"content-length: 1000\r\n") + b"a")
    return sock


def read_late(port: int, context: ssl.SSLContext, size: int) -> int:
    """Pause for longer than a closing connection lingers, then read to the end; return how many bytes came."""
    with begin_upload(port, context, size) as sock:
        time.sleep(2.0)
        total = 0
        while part := sock.recv(1 << 20):
            total += len(part)
        return total


async def test_early_answer_over_tls_is_read_late(tmp_path: Path) -> None:
    """An early answer arrives complete over TLS too, even if only lower layers hold its rest."""
    authority = trustme.CA()
    context = trusting(authority)
    server = await asyncio.start_server(large_answer, "127.0.0.1", 0)
    text = services(f"127.0.0.1:{server.sockets[0].getsockname()[1]}", total="60s").replace("600ms", "30s")
    async with server, one_data_plane(f"{text}\n{listening(authority, tmp_path)}\n", tmp_path) as data_plane:
        # how much goes out to a client that reads nothing: a little less fits below TLS, and not into the kernel
        read_closed = await asyncio.to_thread(begin_upload, data_plane.port, context, 4 * LARGE)
        held, fresh = 0, 0
        async with asyncio.timeout(20):
            while fresh < 1_000_000 or held != fresh:
                held = fresh
                await asyncio.sleep(0.3)
                fresh = data_plane.shared_state.read_worker(0)["counts"][WorkerCounter.W_BYTES_OUT]
        read_closed.close()
        sizes = [held - less for less in (400_000, 300_000, 200_000)]
        got = await asyncio.gather(*(asyncio.to_thread(read_late, data_plane.port, context, size) for size in sizes))
        assert all(came > size for came, size in zip(got, sizes, strict=True)), (got, sizes)
