"""Repeated fields of an HTTP/2 connection arrive the same and count the same as if they were not cached.

Fields that edge repeats are indexed too, and streams are kept apart, however many there have been.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

import grpc
import grpc.aio
import msgspec
from h2peer import Call, FrameClient, Upstream, plain, request, service
from hyperframe.frame import HeadersFrame
from one_data_plane import one_data_plane

CALLS = 400
LIMIT = 20

Fields = list[tuple[str, str]]


class Echo(grpc.GenericRpcHandler):
    """Answers every call with its x- fields, and repeats them in the trailers."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Answer any method."""
        return grpc.unary_unary_rpc_method_handler(self.call)

    async def call(self, _: bytes, told: grpc.aio.ServicerContext) -> bytes:
        """Return the fields in the message and in the trailers."""
        fields = own(told.invocation_metadata())
        told.set_trailing_metadata(tuple(fields))
        return msgspec.json.encode(fields)


def own(metadata: Any) -> Fields:
    """Return the fields that the test has sent."""
    return sorted((str(key), str(value)) for key, value in metadata if str(key).startswith("x-own-"))


async def test_repeated_fields_arrive_as_sent() -> None:
    """Each call has its own fields in both directions, with repeated fields and others that evict them."""
    chance = random.Random(7)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with one_data_plane(
            f"services: {{g: {{match: {{grpc: a.B}}, targets: ['127.0.0.1:{port}']}}}}"
        ) as data_plane:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
                ask = channel.unary_unary("/a.B/Call")
                for number in range(CALLS):
                    fields = [(f"x-own-{chance.randrange(4)}", f"v{chance.randrange(3)}") for _ in range(5)]
                    fields.append(("x-own-long", f"{number}".ljust(chance.randrange(1, 600), "l")))
                    call = ask(b"", metadata=tuple(fields), timeout=20)
                    expected = sorted(fields)
                    assert [tuple(pair) for pair in msgspec.json.decode(await call)] == expected
                    assert own(await call.trailing_metadata()) == expected
    finally:
        await server.stop(None)


async def test_repeated_fields_count() -> None:
    """Cached fields count towards the limit like new ones."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    config = (
        f"services: {{g: {{match: {{grpc: a.B}}, targets: ['127.0.0.1:{port}']}}}}\nlimits: {{header_count: {LIMIT}}}"
    )
    try:
        async with one_data_plane(config) as data_plane:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
                ask = channel.unary_unary("/a.B/Call")
                for _ in range(3):
                    few = (("x-own-a", "1"),) * (LIMIT // 2)
                    assert len(msgspec.json.decode(await ask(b"", metadata=few, timeout=20))) == LIMIT // 2
                    call = ask(b"", metadata=(("x-own-a", "1"),) * LIMIT, timeout=20)
                    assert await call.code() is not grpc.StatusCode.OK
    finally:
        await server.stop(None)


async def test_names_are_spelled_once() -> None:
    """The values of both ids of a request are new each time and are not indexed; their names are indexed once."""
    async with (
        Upstream(plain()) as upstream,
        one_data_plane(service(upstream.address)) as data_plane,
        FrameClient.connect(data_plane.port) as client,
    ):
        streams = range(1, 61, 2)
        for stream in streams:
            client.ask(stream, request(path="/"))
            assert await client.answer(stream) == 200
        ids = [dict(client.fields[stream][0])["x-edge-request-id"] for stream in streams]
        sizes = [len(client.of(HeadersFrame, stream)[0].data) for stream in streams]
    assert len(set(ids)) == len(ids)
    assert max(sizes[1:]) < sizes[0] / 2
    # nothing is evicted by what never comes again, so nothing is spelled again
    assert max(sizes[1:]) - min(sizes[1:]) <= 8  # Huffman codes of the ids differ
    assert max(sizes[1:]) < 2 * (1 + len(ids[0])) + 16


async def test_an_old_stream_among_many() -> None:
    """While one request waits, 140 others come and go on its connections: each gets its own answer."""
    go = asyncio.Event()

    async def answer(call: Call) -> None:
        path = call.field(":path") or ""
        await call.head(200, ("content-type", "text/plain"))
        await call.data(b"begun ")
        if path == "/old":
            await go.wait()
        await call.data(path.encode())
        await call.end(("x-end", path))

    async with (
        Upstream(answer) as upstream,
        one_data_plane(service(upstream.address)) as data_plane,
        FrameClient.connect(data_plane.port) as client,
    ):
        client.ask(1, request(path="/old"))
        await client.until(lambda: client.body(1) == b"begun ")
        for stream in range(3, 285, 2):
            client.ask(stream, request(path=f"/{stream}"))
            await client.until(lambda stream=stream: client.ended(stream))
            assert client.body(stream) == b"begun /%d" % stream
        go.set()
        await client.until(lambda: client.ended(1))
        assert client.body(1) == b"begun /old"
        assert client.fields[1][1] == [("x-end", "/old")]
        assert len(upstream.wires) == 1
