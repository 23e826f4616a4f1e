"""HTTP and gRPC connections reach their servers at the admin address, and other connections are closed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from plans import shared_state_for, snapshot

from edge.admin import access_guard
from edge.admin.access_guard import AccessGuard
from edge.admin.calls import AdminCalls
from edge.control.node import Node
from edge.control.publish import Publisher
from edge.errors import ConfigInvalidError
from edge.wire.edge.v1 import admin_pb2, admin_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def at(path: str) -> Callable[[], Awaitable[str]]:
    """Return what tells the guard where the gRPC server is."""

    async def calls() -> str:
        return path

    return calls


class Http(asyncio.Protocol):
    """Stands in for the HTTP server: returns everything it has received."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"http:" + data)


class Guarded:
    """An address with both servers behind it."""

    def __init__(self) -> None:
        self.inner: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.came = asyncio.Event()
        self.port = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Stand in for the gRPC server."""
        self.inner.append((reader, writer))
        self.came.set()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect as a client."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def joined(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, asyncio.StreamReader, Any]:
        """Connect with the preface; return both ends after the server has read the preface."""
        reader, writer = await self.connect()
        writer.write(PREFACE)
        await self.came.wait()
        inside, back = self.inner[-1]
        assert await inside.readexactly(len(PREFACE)) == PREFACE
        return reader, writer, inside, back


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    """Open an admin address."""
    guarded = Guarded()
    path = str(tmp_path / "inner.sock")
    tasks: set[asyncio.Task[None]] = set()
    inner = await asyncio.start_unix_server(guarded.accept, path)
    outer = await asyncio.get_running_loop().create_server(lambda: AccessGuard(Http, at(path), tasks), "127.0.0.1", 0)
    guarded.port = outer.sockets[0].getsockname()[1]
    yield guarded
    outer.close()
    inner.close()
    for _, writer in guarded.inner:
        writer.close()
    assert not tasks


async def slowly(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send each byte in a segment of its own."""
    for at in range(len(data)):
        writer.write(data[at : at + 1])
        await writer.drain()
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "start", [b"GET / HTTP/1.1\r\n", b"PUT /x", b"PRI * HTTP/1.1\r\n", b"PROPFIND", b"\x16\x03\x01"]
)
async def test_whatever_is_not_the_preface_goes_to_http(guarded: Guarded, start: bytes) -> None:
    """From the first different byte on, the HTTP server has the connection, with every byte before it."""
    reader, writer = await guarded.connect()
    await slowly(writer, start)
    heard = b""
    while heard.replace(b"http:", b"") != start:
        heard += await reader.read(4096)
    assert guarded.inner == []
    writer.close()


async def test_the_preface_goes_to_grpc(guarded: Guarded) -> None:
    """The preface arrives complete, however it is cut, and bytes pass in both directions."""
    reader, writer = await guarded.connect()
    await slowly(writer, PREFACE + b"more")
    await guarded.came.wait()
    inside, back = guarded.inner[0]
    assert await inside.readexactly(len(PREFACE) + 4) == PREFACE + b"more"
    back.write(b"answer")
    assert await reader.readexactly(6) == b"answer"
    writer.close()


async def test_the_end_of_one_side_is_the_end_of_the_other(guarded: Guarded) -> None:
    """If one side closes, the other is closed after the remaining bytes have been delivered."""
    _, writer, inside, _ = await guarded.joined()
    writer.write(b"last")
    writer.close()
    assert await inside.read() == b"last"
    guarded.came.clear()
    reader, writer, _, back = await guarded.joined()
    back.write(b"last")
    back.close()
    assert await reader.read() == b"last"
    writer.close()


async def test_a_slow_reader_holds_the_sender_back(guarded: Guarded) -> None:
    """Unread bytes do not pile up in between: the sender has to wait, and nothing is lost."""
    reader, writer, _, back = await guarded.joined()
    block, sent = bytes(1 << 20), 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(2):
            while sent < 256 << 20:
                back.write(block)
                sent += len(block)
                await back.drain()
    assert sent < 64 << 20  # socket buffers, not the memory of this process
    got = 0
    while got < sent:
        got += len(await reader.read(1 << 20))
    assert got == sent
    writer.close()


async def test_nobody_inside(tmp_path: Path) -> None:
    """If the gRPC server is gone, the connection is closed at once."""
    path, tasks = str(tmp_path / "none.sock"), set[asyncio.Task[None]]()
    server = await asyncio.get_running_loop().create_server(lambda: AccessGuard(Http, at(path), tasks), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
    writer.write(PREFACE)
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    server.close()


@pytest.mark.parametrize("said", [b"", b"PRI * HT"])
async def test_who_does_not_say_what_he_wants_is_let_go(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """A silent connection, or one with half a preface, is closed after a limited time."""
    monkeypatch.setattr(access_guard, "FIRST_BYTES_S", 0.05)
    reader, writer = await guarded.connect()
    writer.write(said)
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()


@pytest.mark.parametrize(("count", "text"), [(3, "a problem"), (2000, "ein Übel 💥")])
async def test_a_refused_reload_can_be_told_however_much_is_wrong(tmp_path: Path, count: int, text: str) -> None:
    """The status and the first problems arrive; the rest is cut, as too large trailers would end the connection."""

    class Wrong:
        def reload(self, _cause: str) -> None:
            raise ConfigInvalidError([f"line {number}: {text}" for number in range(count)])

    plan = snapshot()
    node = Node(shared_state_for(plan), Publisher(plan), 2, dict)
    node.operations = Wrong()  # type: ignore[assignment]
    calls = AdminCalls(node, lambda: b"")
    path = str(tmp_path / "admin.sock")
    await calls.start(path)
    async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
        stub: Any = admin_pb2_grpc.AdminStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Reload(admin_pb2.ReloadRequest())
    await calls.stop()
    lines = str(refused.value.details()).splitlines()
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    whole = [line for line in lines if line.startswith("line ")]
    assert whole == [f"line {number}: {text}" for number in range(len(whole))]
    assert lines[len(whole) :] == ([] if len(whole) == count else [f"and {count - len(whole)} more"])
    assert len(whole) == count or len(whole) > 50


async def test_what_the_inner_side_says_first_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that the server sends before the handover (HTTP/2 SETTINGS) reach the client."""
    loop = asyncio.get_running_loop()
    settled = asyncio.Event()

    async def eager(factory: Any, _path: str) -> tuple[Any, Any]:
        inner = factory()
        inner.connection_made(Sink())
        inner.data_received(b"settings")
        settled.set()
        return Sink(), inner

    class Sink(asyncio.Transport):
        def write(self, data: Any) -> None:
            assert data == PREFACE

        def close(self) -> None:
            return None

        def is_closing(self) -> bool:
            return False

    monkeypatch.setattr(loop, "create_unix_connection", eager)
    tasks: set[asyncio.Task[None]] = set()
    server = await loop.create_server(lambda: AccessGuard(Http, at("unused"), tasks), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(PREFACE)
    assert await asyncio.wait_for(reader.readexactly(8), 30) == b"settings"
    assert settled.is_set()
    writer.close()
    await writer.wait_closed()
    server.close()
