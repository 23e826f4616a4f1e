"""Mutated TLS and HTTP/2 against a whole data plane: whatever comes, it goes on, and nothing is left behind.

``EDGE_FUZZ_S`` sets the seconds for each kind of wire. The counts of executions are logged (pytest shows them with
``-o log_cli=true``).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import socket
import ssl
import struct
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest
from h2peer import service
from hpack import Encoder
from hyperframe.frame import (
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from one_data_plane import OneDataPlane, one_data_plane
from soon import until

from edge.sim.wire import ReadMessage, ReadUntil, ScriptedServer, Send, play_client
from edge.sim.wire_tls import TlsWire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from secure import Secure

pytestmark = [pytest.mark.prove, pytest.mark.timeout(0)]

logger = logging.getLogger(__name__)
SECONDS = float(os.environ.get("EDGE_FUZZ_S", "20"))
BATCH = 200
THREADS = 16
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
OFTEN = bytes.fromhex("0001047f80feff")
RESET = struct.pack("ii", 1, 0)
GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def mutated(chance: random.Random, data: bytes) -> bytes:
    """Return the bytes with one to four changes: bits, values, cuts, repetitions, swaps."""
    out = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(out) + 1)
        way = chance.randrange(7)
        if way == 0 and at < len(out):
            out[at] ^= 1 << chance.randrange(8)
        elif way == 1 and at < len(out):
            out[at] = chance.choice(OFTEN)
        elif way == 2:
            out[at:at] = chance.randbytes(chance.randint(1, 20))
        elif way == 3:
            del out[at : at + chance.randint(1, 40)]
        elif way == 4:
            out[at:at] = out[at : at + chance.randint(1, 200)]
        elif way == 5 and at + 3 < len(out):
            out[at : at + 3] = chance.choice((b"\x00\x00\x00", b"\xff\xff\xff", b"\x00\x40\x00", b"\x00\x40\x01"))
        else:
            del out[at:]
    return bytes(out)


def asked(encoder: Encoder, stream: int, body: bytes) -> list[Frame]:
    """Return the frames of one request."""
    pairs = [(":method", "POST"), (":scheme", "http"), (":authority", "edge"), (":path", "/a"), ("x-a", "b" * 30)]
    frames: list[Frame] = [HeadersFrame(stream, data=encoder.encode(pairs), flags=["END_HEADERS"])]
    return [*frames, DataFrame(stream, data=body, flags=["END_STREAM"])]


def http2(chance: random.Random) -> bytes:
    """Return a client's HTTP/2: sound frames in some order, a part of them mutated."""
    encoder = Encoder()
    frames: list[Frame] = [
        SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: chance.choice((0, 1, 65535, 2**31 - 1))})
    ]
    for number in range(chance.randint(1, 4)):
        frames += asked(encoder, 2 * number + 1, b"x" * chance.choice((0, 10, 3000)))
    frames += chance.sample(
        [
            SettingsFrame(flags=["ACK"]),
            PingFrame(opaque_data=b"12345678"),
            WindowUpdateFrame(0, window_increment=chance.choice((1, 2**31 - 1))),
            WindowUpdateFrame(1, window_increment=100),
            RstStreamFrame(1, error_code=8),
            GoAwayFrame(0, last_stream_id=0),
            HeadersFrame(1, data=encoder.encode([("x-sum", "1")]), flags=["END_HEADERS", "END_STREAM"]),
        ],
        chance.randint(0, 5),
    )
    if chance.random() < 0.3:
        chance.shuffle(frames)
    which = chance.randrange(len(frames))
    parts = [frame.serialize() for frame in frames]
    parts[which] = mutated(chance, parts[which])
    whole = PREFACE + b"".join(parts)
    return mutated(chance, whole) if chance.random() < 0.1 else whole


def leave(chance: random.Random, sock: socket.socket) -> None:
    """End a connection in one of the ways in which connections end."""
    way = chance.random()
    with contextlib.suppress(OSError):
        if way < 0.3:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        elif way < 0.6:
            sock.shutdown(socket.SHUT_WR)
            sock.settimeout(0.02)
            sock.recv(65536)
    sock.close()


def connected(port: int) -> socket.socket:
    """Return a connected socket."""
    return socket.create_connection(("127.0.0.1", port), 10)


def plain_client(chance: random.Random, port: int, _: ssl.SSLContext) -> None:
    """Send mutated HTTP/2 without TLS, in one piece or two."""
    sock = connected(port)
    data = http2(chance)
    cut = chance.randrange(len(data) + 1) if chance.random() < 0.3 else len(data)
    with contextlib.suppress(OSError):
        sock.sendall(data[:cut])
        sock.sendall(data[cut:])
    leave(chance, sock)


def tls_client(chance: random.Random, port: int, context: ssl.SSLContext) -> None:
    """Mutate the hello, the second flight, sealed records, or HTTP/2 within sound ones."""
    sock = connected(port)
    tls = TlsWire(context, "edge.test")
    _, data = tls.shake()
    with contextlib.suppress(OSError, ssl.SSLError):  # the latter is one of the former
        way = chance.randrange(5)
        if way == 0:
            sock.sendall(mutated(chance, data))
        else:
            sock.sendall(data)
            done = False
            while not done:
                came = sock.recv(65536)
                if not came:
                    break
                done, data = tls.shake(came)
                if done and way == 1:
                    data = mutated(chance, data)
                sock.sendall(data)
            if done and way > 1:
                sealed = tls.seal(http2(chance))
                if way == 2:
                    sealed = mutated(chance, sealed)
                if way == 3:
                    sealed += chance.choice((tls.goodbye(), chance.randbytes(30), tls.goodbye() + sealed))
                sock.sendall(sealed)
    leave(chance, sock)


def run(
    kind: Callable[[random.Random, int, ssl.SSLContext], None], port: int, context: ssl.SSLContext, seed: int
) -> int:
    """Run one batch; return the number of executions."""
    chance = random.Random(seed)
    for _ in range(BATCH):
        kind(chance, port, context)
    return BATCH


def seeds() -> Iterator[int]:
    """Count up until the time is over."""
    until_s = time.monotonic() + SECONDS
    seed = 0
    while time.monotonic() < until_s:
        yield seed
        seed += 1


async def sound(data_plane: OneDataPlane, tls: TlsWire | None) -> None:
    """Check that an honest client is served, and wait until everything else has ended."""
    ask = b"GET /v1/models HTTP/1.1\r\nhost: edge\r\n\r\n"
    peer = await play_client(data_plane.port, Send(ask), ReadUntil(b"}"), tls=tls)
    assert peer.ended == "script", (peer.ended, peer.received)
    await until(lambda: data_plane.data_plane.connections == 0 and data_plane.data_plane.active == 0, 60)
    assert data_plane.thread.faults == []


@pytest.mark.parametrize("kind", [plain_client, tls_client])
async def test_clients(secure: Secure, kind: Callable[[random.Random, int, ssl.SSLContext], None]) -> None:
    """Mutated clients, each on a connection of its own."""
    over_tls = kind is tls_client
    context = secure.trusting("h2", "http/1.1")
    executions = 0
    async with ScriptedServer((ReadMessage(), Send(GOOD), ReadUntil(b"never"))) as upstream:
        async with one_data_plane(
            service(upstream.address).replace("h2c", "http1") + (secure.listen if over_tls else "")
        ) as data_plane:
            for seed in seeds():
                executions += await asyncio.to_thread(run, kind, data_plane.port, context, seed)
                await sound(data_plane, secure.client() if over_tls else None)
    logger.warning("%d executions of %s", executions, kind.__name__)
    assert executions >= BATCH


class BadServer:
    """An upstream that speaks mutated HTTP/2, or mutated TLS, in threads of its own."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.context = context
        self.executions = [0] * THREADS
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(THREADS)]

    def __enter__(self) -> Self:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        self.listener.close()

    def run(self, number: int) -> None:
        """Serve one connection after the other, until the listener is closed."""
        chance = random.Random(number)
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                self.executions[number] += 1
                sock.settimeout(0.5)
                with contextlib.suppress(OSError):
                    self.serve(chance, sock)
                leave(chance, sock)

    def frames(self, chance: random.Random) -> bytes:
        """Return a server's HTTP/2, mutated."""
        encoder = Encoder()
        head = HeadersFrame(
            1, data=encoder.encode([(":status", chance.choice(("200", "100", "204", "99")))]), flags=["END_HEADERS"]
        )
        frames: list[Frame] = [
            SettingsFrame(settings={SettingsFrame.MAX_CONCURRENT_STREAMS: chance.choice((0, 1, 100))}),
            SettingsFrame(flags=["ACK"]),
            head,
            DataFrame(
                1, data=b"x" * chance.choice((0, 1, 5000)), flags=["END_STREAM"] if chance.random() < 0.5 else []
            ),
            HeadersFrame(1, data=encoder.encode([("x-sum", "1")]), flags=["END_HEADERS", "END_STREAM"]),
        ]
        frames += chance.sample(
            [PingFrame(opaque_data=b"12345678"), GoAwayFrame(0, last_stream_id=1), RstStreamFrame(1, error_code=2)], 1
        )
        which = chance.randrange(len(frames))
        parts = [frame.serialize() for frame in frames[: chance.randint(2, len(frames))]]
        which %= len(parts)
        parts[which] = mutated(chance, parts[which])
        return b"".join(parts)

    def serve(self, chance: random.Random, sock: socket.socket) -> None:
        """Answer what has come, whatever it is."""
        if self.context is None:
            sock.recv(65536)
            sock.sendall(self.frames(chance))
            return
        tls = TlsWire(self.context)
        done = False
        way = chance.randrange(4)
        while not done:
            came = sock.recv(65536)
            if not came:
                return
            done, data = tls.shake(came)
            if data and way == 0:
                data = mutated(chance, data)
            sock.sendall(data)
        sealed = tls.seal(self.frames(chance))
        if way == 1:
            sealed = mutated(chance, sealed)
        if way == 2:
            sealed += tls.goodbye()
        sock.sendall(sealed)


@pytest.mark.parametrize("over_tls", [False, True])
async def test_upstreams(secure: Secure, over_tls: bool) -> None:
    """Mutated upstreams: every request is answered, by an error or by what could be read."""
    server = BadServer(secure.upstream("h2") if over_tls else None)
    never = "    breaker: {consecutive_failures: 0, failure_ratio: 0%, slow_ratio: 0%}\n    retry: {attempts: 1}"
    text = service(server.address, extra=f"{never}\n    {secure.verified}" if over_tls else never)
    ask = b"GET /a HTTP/1.1\r\nhost: edge\r\nconnection: close\r\n\r\n"
    asks = 0
    with server:
        async with one_data_plane(text) as data_plane:
            for _ in seeds():
                peers = await asyncio.gather(*[data_plane.raw(ask) for _ in range(4 * THREADS)])
                asks += len(peers)
                assert all(peer.received.startswith(b"HTTP/1.1 ") for peer in peers)
            await sound(data_plane, None)
    how = "with" if over_tls else "without"
    logger.warning("%d executions of an upstream %s TLS, in %d requests", sum(server.executions), how, asks)
    assert sum(server.executions) > THREADS
