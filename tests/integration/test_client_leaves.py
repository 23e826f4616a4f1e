"""When a client leaves, its upstream attempt is closed within 100 ms, so that it costs no more money."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from one_data_plane import (
    HELLO,
    ROLE,
    SSE_HEAD,
    STREAM,
    chunk,
    client_side,
    models,
    one_data_plane,
    patient,
    post,
    server_tls,
)
from soon import soon, until
from test_services import request, services

from edge import clock
from edge.native import Outcome
from edge.sim.wire import (
    Close,
    HalfClose,
    Hold,
    Pause,
    ReadHead,
    ReadMessage,
    ReadToEnd,
    ReadUntil,
    Reset,
    ScriptedServer,
    Send,
    Step,
    Truncate,
    play_client,
)
from edge.upstream.opener import Opener

WAITING = (ReadMessage(), ReadToEnd())
STREAMING = (ReadMessage(), Send(SSE_HEAD + chunk(ROLE) + chunk(HELLO)), ReadToEnd())

LEAVING: dict[str, tuple[Step, ...]] = {
    "close": (Close(),),
    "truncate": (Truncate(),),
    "reset": (Reset(),),
    "half-close": (HalfClose(), Pause(0.3)),
}


@pytest.mark.usefixtures("with_tls_too")
@pytest.mark.parametrize("how", LEAVING)
@pytest.mark.parametrize("phase", ["waiting", "streaming"])
async def test_cancelled(phase: str, how: str) -> None:
    """Whenever a client leaves, the upstream connection is closed within 100 ms, and no target is blamed."""
    script = WAITING if phase == "waiting" else STREAMING

    async def once() -> float:
        arrived = asyncio.Event()
        before: Step = Hold(arrived) if phase == "waiting" else ReadUntil(b"hello")
        async with (
            ScriptedServer(script, tls=server_tls()) as upstream,
            one_data_plane(patient(models(upstream.url))) as data_plane,
        ):
            steps = (Send(post(STREAM)), before, *LEAVING[how])
            leaving = asyncio.create_task(play_client(data_plane.port, *steps, tls=client_side()))
            await until(lambda: upstream.peers and upstream.peers[0].messages)
            arrived.set()
            client = await leaving
            left_s = client.ended_s if how != "half-close" else (client.ended_s or 0.0) - 0.3
            (peer,) = upstream.peers
            assert await peer.wait_end() in ("peer_closed", "peer_reset")
            assert peer.ended_s is not None
            assert left_s is not None
            assert data_plane.outcomes("p0/m")[Outcome.CANCELLED] == 1
            assert sum(data_plane.outcomes("p0/m")) == 1
            assert data_plane.target("p0/m")["inflight"] == 0
            assert data_plane.data_plane.active == 0
            return peer.ended_s - left_s

    await soon(once, 0.1)


async def test_leaving_while_connecting() -> None:
    """A client that leaves during the connect leaves nothing behind."""
    async with ScriptedServer(WAITING) as upstream, one_data_plane(models(upstream.url)) as data_plane:
        await play_client(data_plane.port, Send(post()), Close())
        for _ in range(100):
            if data_plane.data_plane.active == 0 and data_plane.data_plane.connections == 0:
                break
            await clock.sleep(0.01)
        assert (data_plane.data_plane.active, data_plane.data_plane.connections) == (0, 0)
        assert data_plane.target("p0/m")["inflight"] == 0


@pytest.mark.parametrize("size", [60_000, 100_000, 6_000_000])
async def test_after_an_upload(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that leaves after a complete upload is noticed, whatever the upload had to wait for."""
    dial = Opener.open

    def slowly(self: Opener, pool: Any) -> None:
        asyncio.get_running_loop().call_later(0.2, dial, self, pool)

    monkeypatch.setattr(Opener, "open", slowly)
    async with ScriptedServer((ReadHead(), Pause(0.3), *WAITING)) as upstream:
        text = services(upstream.address, total="60s").replace("600ms", "60s")
        async with one_data_plane(text) as data_plane:
            upload = request(b"PUT", fields=b"content-length: %d\r\n" % size) + b"z" * size
            leaving = asyncio.create_task(play_client(data_plane.port, Send(upload), Pause(0.8), Close()))
            (peer,) = await upstream.wait_asked(1)
            await leaving
            assert await peer.wait_end(10.0) in ("peer_closed", "peer_reset")
            await until(lambda: data_plane.data_plane.active == 0)
