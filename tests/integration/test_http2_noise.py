"""A peer that sends almost valid HTTP/2 breaks nothing on either side, and the data plane continues to serve."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING

import hpack
import pytest
from h2peer import PREFACE, FrameClient, RawFrame, Upstream, plain, request, service
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame
from one_data_plane import one_data_plane
from soon import until

if TYPE_CHECKING:
    from hyperframe.frame import Frame

ROUNDS = 120
CONNECTION = 120


def noise(chance: random.Random, encoder: hpack.Encoder, heads: list[list[tuple[str, str]]]) -> bytes:
    """Return some frames, most of them valid, one or two of them altered, cut off anywhere."""
    frames: list[Frame] = []
    for _ in range(chance.randrange(1, 12)):
        stream = chance.choice([1, 1, 3, 5, 7, 9, 2, 0])
        kind = chance.randrange(6)
        if kind < 2:
            flags = ["END_HEADERS", *chance.choice([[], ["END_STREAM"]])]
            frames.append(HeadersFrame(stream or 1, encoder.encode(chance.choice(heads)), flags=flags))
        elif kind == 2:
            body = chance.randbytes(chance.choice([0, 1, 100, 16384]))
            frames.append(DataFrame(stream or 1, body, flags=chance.choice([[], ["END_STREAM"]])))
        else:
            body = chance.randbytes(chance.choice([0, 4, 5, 6, 8, 9, 40]))
            frames.append(RawFrame(chance.randrange(12), stream, body, chance.choice([0, 1, 4, 5, 8, 32, 255])))
    data = bytearray(b"".join(frame.serialize() for frame in frames))
    if chance.random() < 0.3:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data[: chance.randrange(len(data) + 1)] if chance.random() < 0.2 else data)


@pytest.mark.timeout(CONNECTION)
async def test_noisy_clients() -> None:
    """Clients with half-valid frames leave no exchange, stream or connection behind."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    post = request("POST", "/a")
    heads = [request("GET", "/a"), post, [*post, ("content-length", "100")], [("x", "y")]]
    async with Upstream(plain()) as upstream, one_data_plane(service(upstream.address)) as data_plane:
        for turn in range(ROUNDS):
            async with FrameClient.connect(data_plane.port) as client:
                for _ in range(chance.randrange(1, 4)):
                    client.write(noise(chance, client.encoder, heads))
                    with contextlib.suppress(OSError):
                        await client.drain()
                    await asyncio.sleep(chance.choice([0, 0, 0.002]))
            async with FrameClient.connect(data_plane.port) as client:
                client.ask(1)
                assert await client.answer(1) == 200, f"seed {seed}, turn {turn}"
        await until(lambda: data_plane.data_plane.active == 0 and data_plane.data_plane.connections == 0)


@pytest.mark.timeout(CONNECTION)
async def test_noisy_upstreams() -> None:
    """Upstreams with half-valid frames fail their own requests, and every request gets an answer or a reset."""
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    heads = [
        [(":status", "200")],
        [(":status", "100")],
        [(":status", "200"), ("content-length", "100")],
        [("grpc-status", "0")],
    ]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(len(PREFACE))
            writer.write(SettingsFrame().serialize())
            encoder = hpack.Encoder()
            for _ in range(4):
                await reader.read(4096)
                writer.write(noise(chance, encoder, heads))
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    text = service(f"127.0.0.1:{port}").replace("5s", "200ms").replace("total: 30s", "total: 600ms")
    breaker = "    breaker: {consecutive_failures: 1000, min_requests: 100000}\n"
    async with server, one_data_plane(text.rstrip() + "\n" + breaker) as data_plane:
        for turn in range(ROUNDS // 4):
            async with FrameClient.connect(data_plane.port) as client:
                for n in range(4):
                    client.ask(2 * n + 1, request("GET", "/a"))
                for n in range(4):
                    assert await client.answer(2 * n + 1) != -1, f"seed {seed}, turn {turn}"
        await until(lambda: data_plane.data_plane.active == 0)
