"""The memory that connections, streams and requests leave in a worker, measured by the kernel per process.

EDGE_MEMORY_REQUESTS sets the number of requests of the flat run (200,000 take about ten seconds on two cores; over TLS
a tenth as many are sent), EDGE_MEMORY_STREAMS that of the slow streams. The figures are logged (pytest shows them with
``-o log_cli=true``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import resource
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from processes import port_of, processes

from edge import clock
from edge.sim.closed_loop_load import Answered, ClosedLoopLoad
from edge.sim.node import EdgeProcess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

pytestmark = pytest.mark.alone
logger = logging.getLogger(__name__)

STREAMS = int(os.environ.get("EDGE_MEMORY_STREAMS", "2000"))
STREAM_KIB = 12
REQUESTS = int(os.environ.get("EDGE_MEMORY_REQUESTS", "200000"))
WARM_UP = 50_000
FLAT_MIB = 4
DESCRIPTORS = 2 * STREAMS + 500
OPENING = 100  # connections being opened at once

JSON_BODY = b'{"id":"c1","object":"chat.completion","choices":[{"index":0,"message":{"content":"hello there"}}]}'
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(JSON_BODY),
    JSON_BODY,
)


def _event(data: bytes) -> bytes:
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


CONTENT = _event(b'{"id":"c1","choices":[{"index":0,"delta":{"content":" hello"},"finish_reason":null}]}')
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = (
    _event(b'{"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}') + _event(b"[DONE]") + b"0\r\n\r\n"
)
STREAM_MARK = b'"stream":true'


def _post(model: str, *, stream: bool = False, close: bool = False) -> bytes:
    asked: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": "Say hello."}]}
    body = json.dumps(asked | ({"stream": True} if stream else {}), separators=(",", ":")).encode()
    fields = b"connection: close\r\n" if close else b""
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer sk-not-a-key\r\n"
        b"content-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b" % (fields, len(body), body)
    )


class Upstream(asyncio.Protocol):
    """A connection of a fixed provider; a stream stays open until the test ends it, unless the model is "quick"."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._world.streaming.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]):
            return
        self._buffer = b""
        if STREAM_MARK not in body:
            self._transport.write(WHOLE)
        elif b'"quick"' in body:
            self._transport.write(HEAD + CONTENT + CONTENT + END)
        else:
            self._transport.write(HEAD + CONTENT)
            self._world.streaming.add(self._transport)


class World:
    """A provider in this process, an edge with one worker in front of it, and the worker's memory."""

    def __init__(self, edge: EdgeProcess, streaming: set[Any], tls: ssl.SSLContext | None = None) -> None:
        self.port = port_of(edge.url)
        self.tls = tls
        self.streaming = streaming
        self._worker = processes(edge)["worker 0"]

    def rss_kib(self) -> int:
        """Return the resident memory of the worker."""
        # Summed up page by page when asked; VmRSS in status may lag by what each CPU has not yet reported.
        lines = Path(f"/proc/{self._worker}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Rss:"))

    def send(self, data: bytes) -> None:
        """Write to every open stream."""
        for transport in list(self.streaming):
            transport.write(data)


class Caller(asyncio.Protocol):
    """One client that reads a stream."""

    def __init__(self) -> None:
        self.events = 0
        self.ended = self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.write(_post("chat", stream=True))

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True

    def data_received(self, data: bytes) -> None:
        self.events += data.count(b" hello")
        self.ended = self.ended or data.endswith(b"0\r\n\r\n")


@pytest.fixture(autouse=True)
def descriptors() -> Iterator[None]:
    """Raise the descriptor limit: two connections of each stream end in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        pytest.skip(f"this system allows {hard} open files, {DESCRIPTORS} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, DESCRIPTORS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """An edge with one worker and the default limits."""
    async with _world() as found:
        yield found


@pytest.fixture
async def tls_world(tmp_path: Path) -> AsyncIterator[World]:
    """The same with TLS on both sides."""
    authority = trustme.CA()
    ours = authority.issue_cert("127.0.0.1")
    ours.private_key_pem.write_to_path(tmp_path / "key.pem")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with _world(tmp_path) as found:
        yield found


@contextlib.asynccontextmanager
async def _world(folder: Path | None = None) -> AsyncIterator[World]:
    """Run provider and edge, with TLS if the folder has the files of a certificate."""
    streaming: set[Any] = set()
    place: list[World] = []
    provider: dict[str, Any] = {"dialect": "openai", "api_key": "sk-not-a-key"}
    files, shown, trusted = None, None, None
    if folder is not None:
        files = {"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
        shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        shown.load_cert_chain(files["cert"], files["key"])
        trusted = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        provider["tls"] = {"ca": str(folder / "ca.pem")}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(place[0]), "127.0.0.1", 0, backlog=STREAMS, ssl=shown)
    scheme, port = "https" if folder else "http", server.sockets[0].getsockname()[1]
    config = {
        "providers": {"local": {**provider, "base_url": f"{scheme}://127.0.0.1:{port}/v1"}},
        "models": {"chat": {"targets": ["local/m"]}, "quick": {"targets": ["local/quick"]}},
    }
    async with EdgeProcess(config, workers=1, tls=files) as edge:
        place.append(World(edge, streaming, trusted))
        yield place[0]
    server.close()
    await server.wait_closed()


MIX = (
    # (of how many requests one is like this, the request, its status, what its answer ends with)
    (50, _post("quick", stream=True, close=True), 200, b"data: [DONE]\n\n"),
    (25, _post("nobody-knows-it"), 404, b"}"),
    (10, _post("quick", stream=True), 200, b"data: [DONE]\n\n"),
    (1, _post("chat"), 200, JSON_BODY),
)


def _kind(number: int) -> tuple[int, bytes, int, bytes]:
    return next(kind for kind in MIX if number % kind[0] == 0)


def _verify(number: int, answer: Answered) -> str | None:
    _, _, status, end = _kind(number)
    right = answer.status == status and answer.body.endswith(end)
    return None if right else f"status {answer.status}, {answer.body[-80:]!r}"


async def _ask(world: World, count: int, limit_s: float = 60.0) -> None:
    """Send a mix of complete answers, streams, errors and new connections; every answer is right."""
    closed_loop = ClosedLoopLoad(
        world.port, lambda number: _kind(number)[1], count=count, verify=_verify, tls=world.tls
    )
    await closed_loop.run(limit_s)
    assert closed_loop.reasons == {}
    assert closed_loop.right == count


async def _until(condition: Callable[[], bool], what: str, limit_s: float = 30.0) -> None:
    for _ in range(int(limit_s / 0.02)):
        if condition():
            return
        await clock.sleep(0.02)
    pytest.fail(f"after {limit_s:g} s not yet: {what}")


async def _open_streams(world: World) -> list[Caller]:
    """Open all streams, half a second between two events, and see three events on each."""
    loop = asyncio.get_running_loop()
    callers: list[Caller] = []
    while len(callers) < STREAMS:
        opened = await asyncio.gather(
            *(loop.create_connection(Caller, "127.0.0.1", world.port) for _ in range(OPENING))
        )
        callers += [caller for _, caller in opened]
    for seen in (1, 2, 3):
        await _until(lambda: all(caller.events >= seen for caller in callers), f"event {seen} of every stream")  # noqa: B023
        await clock.sleep(0.5)
        if seen < 3:
            world.send(CONTENT)
    assert not any(caller.lost or caller.ended for caller in callers)
    assert len(world.streaming) == STREAMS
    return callers


async def _close_streams(world: World, callers: list[Caller]) -> None:
    """Let half of the callers leave in the middle; the others read the end."""
    leaving, staying = callers[::2], callers[1::2]
    for caller in leaving:
        caller.transport.abort()
    await _until(lambda: len(world.streaming) == len(staying), "the provider hears that half of the callers left")
    world.send(END)
    world.streaming.clear()
    await _until(lambda: all(caller.ended for caller in staying), "the end of every stream")
    for caller in staying:
        caller.transport.close()
    await _until(lambda: all(caller.lost for caller in callers), "every connection closed")


async def test_slow_streams_are_small(world: World) -> None:
    """2,000 concurrent streams cost less than 12 KiB each in the worker, and a second 2,000 reuse the memory."""
    await _ask(world, 2000)
    before = world.rss_kib()
    callers = await _open_streams(world)
    first = world.rss_kib()
    await _close_streams(world, callers)
    callers = await _open_streams(world)
    second = world.rss_kib()
    await _close_streams(world, callers)
    each = (first - before) / STREAMS
    logger.warning("%.1f KiB for each of %d streams; %d KiB for as many again", each, STREAMS, second - first)
    assert each < STREAM_KIB, f"{each:.1f} KiB a stream: {before} KiB grew to {first}"
    assert second - first < FLAT_MIB * 1024, f"{first} KiB grew to {second} with streams that had room before"


@pytest.mark.timeout(300)
async def test_memory_is_flat(world: World) -> None:
    """After 50,000 requests of every kind, 200,000 more add less than 4 MiB."""
    await _ask(world, WARM_UP, 120.0)
    before = world.rss_kib()
    await _ask(world, REQUESTS, 240.0)
    after = world.rss_kib()
    logger.warning("%d KiB for %d requests", after - before, REQUESTS)
    assert after - before < FLAT_MIB * 1024, f"{before} KiB grew to {after} over {REQUESTS} requests"


@pytest.mark.timeout(300)
async def test_memory_is_flat_over_tls(tls_world: World) -> None:
    """With TLS on both sides a tenth of the requests, with as many handshakes as new connections, adds no more."""
    await _ask(tls_world, WARM_UP // 10, 120.0)
    before = tls_world.rss_kib()
    await _ask(tls_world, REQUESTS // 10, 240.0)
    after = tls_world.rss_kib()
    logger.warning("%d KiB for %d requests", after - before, REQUESTS // 10)
    assert after - before < FLAT_MIB * 1024, f"{before} KiB grew to {after} over {REQUESTS // 10} requests"
