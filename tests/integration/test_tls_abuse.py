"""TLS clients that begin handshakes and do not end them, or speak too old a version, cost others nothing."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
import time
from typing import TYPE_CHECKING

import pytest
from one_data_plane import OneDataPlane, client_side, models, one_data_plane
from soon import until

from edge.sim.wire import ReadUntil, Send, play_client
from edge.sim.wire_tls import TlsWire

if TYPE_CHECKING:
    from secure import Secure

ASK = b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n"
CONFIG = models("http://127.0.0.1:9")
HANDSHAKE_S = 10.0


async def honest(data_plane: OneDataPlane, count: int) -> list[float]:
    """Ask on new connections, one after the other; return how long each took, the shortest first."""
    took = []
    for _ in range(count):
        began = time.monotonic()
        peer = await play_client(data_plane.port, Send(ASK), ReadUntil(b"}"), tls=client_side())
        took.append(time.monotonic() - began)
        assert peer.ended == "script", (peer.ended, peer.received)
    return sorted(took)


class Flood:
    """Connections whose handshake does not end: nothing, half a hello, a hello and silence, garbage."""

    def __init__(self, port: int, secure: Secure) -> None:
        self.port = port
        self.secure = secure
        self.chance = random.Random(7)
        self.held: list[socket.socket] = []
        self.stop = asyncio.Event()

    async def run(self) -> None:
        """Open and forget connections until stopped, a few hundred at a time."""
        loop = asyncio.get_running_loop()
        while not self.stop.is_set():
            sock = socket.socket()
            sock.setblocking(False)
            self.held.append(sock)
            with contextlib.suppress(OSError):
                await loop.sock_connect(sock, ("127.0.0.1", self.port))
                await loop.sock_sendall(sock, self.begin())
            if len(self.held) > 400:
                self.held.pop(self.chance.randrange(300)).close()
            await asyncio.sleep(0.002)

    def begin(self) -> bytes:
        """Return how one connection begins."""
        _, hello = TlsWire(self.secure.trusting("http/1.1"), "edge.test").shake()
        way = self.chance.randrange(4)
        if way == 0:
            return b""
        if way == 1:
            return hello[: self.chance.randrange(1, len(hello))]
        if way == 2:
            return hello
        return self.chance.randbytes(self.chance.randrange(1, 2000))

    def close(self) -> None:
        """Close every connection."""
        for sock in self.held:
            sock.close()


async def test_a_handshake_flood(secure: Secure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside hundreds of unfinished handshakes honest clients wait at most twice as long, and all places come back."""
    monkeypatch.setattr("one_data_plane.SECURE", secure)
    async with one_data_plane(CONFIG) as data_plane:
        await honest(data_plane, 20)
        alone = await honest(data_plane, 100)
        flood = Flood(data_plane.port, secure)
        task = asyncio.create_task(flood.run())
        try:
            await until(lambda: len(flood.held) > 300)
            beside = await honest(data_plane, 100)
            assert beside[-2] < 2 * alone[-2] + 0.1, (alone[-2], beside[-2])
            flood.stop.set()
            await task
            # The clients stay: edge gives them up by itself.
            await until(lambda: data_plane.data_plane.connections == 0, HANDSHAKE_S + 10)
        finally:
            flood.stop.set()
            await asyncio.gather(task, return_exceptions=True)
            flood.close()
        await honest(data_plane, 5)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=["1.0", "1.1"])
async def test_old_versions(secure: Secure, version: ssl.TLSVersion) -> None:
    """TLS before 1.2 is refused."""
    async with one_data_plane(CONFIG + secure.listen) as data_plane:
        context = ssl.create_default_context()
        secure.authority.configure_trust(context)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        peer = await play_client(data_plane.port, Send(ASK), ReadUntil(b"}"), tls=TlsWire(context, "edge.test"))
        assert (peer.ended, peer.received) == ("tls_failed", b"")
