"""A client of a WebSocket that does not read, stops within a message or floods costs a bounded amount of memory."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING

from one_data_plane import OneDataPlane, models, one_data_plane, patient, sse
from soon import until
from test_responses_socket_wire import NOWHERE, TEXT, upgrade
from turns import CREATED, DELTA

from edge import clock
from edge.native import WorkerCounter
from edge.sim.wire import Again, ReadMessage, ReadToEnd, ReadUntil, ScriptedServer, Send, play_client
from tests.reference.websocket import masked

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1024 * 1024
LONG = DELTA.replace(b'"hi"', b'"' + b"a" * 60_000 + b'"')


@contextmanager
def deaf(plane: OneDataPlane) -> Iterator[socket.socket]:
    """Connect with a small buffer for what edge sends, of which nothing is read."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", plane.port))
        client.sendall(upgrade())
        client.setblocking(False)
        yield client


def held(plane: OneDataPlane) -> int:
    """Return the bytes that count as held."""
    return int(plane.shared_state.read_worker(0)["counts"][WorkerCounter.W_BUFFERED])


async def test_a_reader_that_stopped() -> None:
    """Its target is not read any further, and after limits.client_idle the connection and its turn end."""
    script = (ReadMessage(), Send(sse(CREATED, *[LONG] * 1000, end=False)), ReadToEnd())
    async with ScriptedServer(script) as upstream:
        text = patient(models(upstream.url, extra="limits: {client_idle: 2s}"))
        async with one_data_plane(text) as plane:
            with deaf(plane) as client:
                await until(lambda: plane.data_plane.connections == 1)
                client.send(masked(1, TEXT))
                await upstream.wait_asked(1)
                most = 0
                while plane.data_plane.connections:
                    most = max(most, held(plane))
                    await clock.sleep(0.01)
            assert 0 < most < 8 * MIB  # of 60
            await until(lambda: plane.data_plane.active == 0 and held(plane) == 0)


async def test_a_flood_of_pings() -> None:
    """Pings whose answers are not read are answered by the last alone, so that no Pongs pile up."""
    extra = "limits: {client_idle: 2s}"
    async with one_data_plane(models(NOWHERE, extra=extra)) as plane:
        with deaf(plane) as client:
            frames = masked(9, b"p" * 100) * 2000
            most = sent = 0
            async with asyncio.timeout(60):
                await until(lambda: plane.data_plane.connections == 1)
                while plane.data_plane.connections and sent < 32 * MIB:
                    try:
                        sent += client.send(frames[sent % 106 :])
                    except BlockingIOError:
                        await clock.sleep(0.002)
                    except OSError:
                        break
                    most = max(most, held(plane))
            assert most < 4 * MIB
        await until(lambda: plane.data_plane.connections == 0 and held(plane) == 0)


async def test_a_message_that_stops() -> None:
    """A message that does not come to its end counts as held, and ends the connection with 1008."""
    async with one_data_plane(models(NOWHERE, extra="limits: {client_idle: 1s}")) as plane:
        half = masked(1, json.dumps({"input": "a" * 100_000}).encode())[:50_000]
        playing = asyncio.create_task(
            play_client(plane.port, Send(upgrade()), ReadUntil(b"\r\n\r\n"), Send(half), ReadToEnd())
        )
        await until(lambda: 49_000 < held(plane) <= 50_000)
        end = (await playing).received.partition(b"\r\n\r\n")[2]
        assert (end[0], int.from_bytes(end[2:4], "big")) == (0x88, 1008)
        await until(lambda: held(plane) == 0)


async def test_events_that_are_too_long() -> None:
    """An event above limits.max_response ends its turn with an error, and the connection takes the next."""
    good = (ReadMessage(), Send(sse(CREATED, DELTA, b'data: {"type":"response.completed","response":{"id":"r"}}\n\n')))
    huge = b'data: {"type":"response.output_text.delta","delta":"' + b"a" * (2 * MIB) + b'"}\n\n'
    script = (ReadMessage(), Send(sse(CREATED, DELTA, huge, end=False)), ReadToEnd())
    async with ScriptedServer(script, (*good, Again())) as upstream:
        text = patient(models(upstream.url, extra="limits: {max_response: 1MiB}"))
        async with one_data_plane(text) as plane:
            peer = await play_client(
                plane.port,
                Send(upgrade() + masked(1, TEXT)),
                ReadUntil(b"event_too_long"),
                Send(masked(1, TEXT)),
                ReadUntil(b"response.completed"),
            )
            assert b"aaaa" not in peer.received
            await until(lambda: plane.data_plane.active == 0)
