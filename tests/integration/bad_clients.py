"""Clients that behave well or badly, or leave, by chance, over HTTP/1.1 and HTTP/2.

All choices come from the given ``random.Random``, so that a seed reproduces a run. Every exchange ends within its
limit, and answers are read strictly.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.errors
import h2.events
from bad_upstream import RESET, cut, reset
from callers import bearer
from msgspec import Struct
from one_data_plane import client_side, client_tls, post

if TYPE_CHECKING:
    from random import Random

    from edge.sim.wire_tls import TlsWire


EXPECT = b"expect: 100-continue\r\n"


class Answer(Struct):
    """The answer to one request; status 0 = none. ``whole`` = it ended as it should."""

    status: int = 0
    body: bytes = b""
    whole: bool = True


def asked(chance: Random) -> bytes:
    """One request to a model or a service, with a key or none, with or without a body."""
    filling = b" " * chance.choice((0, 10, 3_000, 100_000))
    stream = chance.choice((b"", b',"stream":true'))
    body = b'{"model":"chat","max_tokens":9' + stream + b',"messages":[' + filling + b"]}"
    fields = bearer(chance.choice(("alice", "bob")))
    if chance.random() < 0.1:
        fields += b"x-request-timeout: %.3f\r\n" % chance.choice((0.001, 0.02, 0.2))
    if chance.random() < 0.1:
        fields += EXPECT
    kind = chance.random()
    if kind < 0.5:
        return post(body, fields=fields)
    if kind < 0.55:
        return post(body.replace(b"chat", b"nope"), fields=fields)
    if kind < 0.6:
        return post(body)
    if kind < 0.7:
        path = chance.choice((b"/svc/a", b"/two/a"))
        return b"GET " + path + b" HTTP/1.1\r\nhost: edge\r\n" + fields.replace(EXPECT, b"") + b"\r\n"
    return post(
        body + b" " * chance.choice((0, 0, 0, 1_500_000)), chance.choice(("/svc/upload", "/two/upload")), fields
    )


def called(chance: Random) -> bytes:
    """One gRPC call, as it would look over HTTP/1.1; only its own deadline limits it."""
    message = b"q" * chance.choice((0, 10, 3_000, 100_000))
    body = b"\0" + len(message).to_bytes(4, "big") + message
    fields = bearer(chance.choice(("alice", "bob"))) + b"te: trailers\r\n"
    fields += b"grpc-timeout: %dm\r\n" % chance.choice((1, 20, 200, 1_000, 1_000, 1_000))
    return post(body, "/odd.Service/Do", fields).replace(b"application/json", b"application/grpc")


async def over_http1(chance: Random, port: int, limit_s: float) -> list[Answer]:
    """Send one to four requests on a connection, pipelined or in turn; return the answers that were waited for.

    Raises:
        TimeoutError: an answer that was waited for did not end in time.
        ValueError: what came is no HTTP/1.1.
    """
    requests = [asked(chance) for _ in range(chance.randint(1, 4))]
    pipelined = chance.random() < 0.3
    came: list[Answer] = []
    with socket.socket() as sock:
        sock.setblocking(False)
        async with asyncio.timeout(limit_s):
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
            client = _Http1(chance, sock, client_side())
            await client.shake()
            if pipelined:
                await client.send(b"".join(requests))
            for one in requests:
                if not pipelined:
                    if chance.random() < 0.15:
                        await client.send(one[: chance.randrange(1, len(one))])
                        break
                    await client.send(one)
                    if chance.random() < 0.1:
                        await asyncio.sleep(chance.choice((0, 0.001, 0.01)))
                        break
                came.append(answer := Answer())
                if not await client.read(answer):
                    break
        if chance.random() < 0.5:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    return came


class _Http1:
    """A connection whose answers are read to their last byte, even if sending has failed."""

    def __init__(self, chance: Random, sock: socket.socket, tls: TlsWire | None) -> None:
        self.chance = chance
        self.sock = sock
        self.tls = tls
        self.unread = b""

    async def shake(self) -> None:
        """Begin TLS, if there is any."""
        loop = asyncio.get_running_loop()
        if self.tls is None:
            return
        done, data = self.tls.shake()
        while not done:
            await loop.sock_sendall(self.sock, data)
            if not (came := await loop.sock_recv(self.sock, 65536)):
                raise ConnectionError("edge closed the connection during the handshake")
            done, data = self.tls.shake(came)
        await loop.sock_sendall(self.sock, data)
        self.unread, _ = self.tls.open(b"")

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            for piece in cut(self.chance, data, 4):
                wire = piece if self.tls is None else self.tls.seal(piece)
                await asyncio.get_running_loop().sock_sendall(self.sock, wire)
                await asyncio.sleep(self.chance.choice((0, 0, 0.001, 0.005)))

    async def read(self, answer: Answer) -> bool:
        """Read one answer; return False if it was the connection's last."""
        head = b""
        try:
            while answer.status < 200:
                head = await self._until(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 "):
                    raise ValueError(f"not an answer: {head!r}")
                answer.status = int(head[9:12])
            if b"\r\ntransfer-encoding: chunked\r\n" in head:
                while size := int(await self._until(b"\r\n"), 16):
                    answer.body += await self._exactly(size)
                    if await self._exactly(2) != b"\r\n":
                        raise ValueError("a chunk does not end where it says")
                while await self._until(b"\r\n") != b"\r\n":
                    pass
            elif answer.status not in (204, 304):
                answer.body = await self._exactly(int(head.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0]))
        except (EOFError, ConnectionError):
            answer.whole = False
        return answer.whole and b"\r\nconnection: close\r\n" not in head

    async def _more(self) -> None:
        if self.chance.random() < 0.05:
            await asyncio.sleep(0.02)
        data = await asyncio.get_running_loop().sock_recv(self.sock, self.chance.choice((100, 65536)))
        if not data:
            raise EOFError
        if self.tls is not None:
            data, over = self.tls.open(data)
            if over and not data:
                raise EOFError
        self.unread += data

    async def _exactly(self, size: int) -> bytes:
        while len(self.unread) < size:
            await self._more()
        data, self.unread = self.unread[:size], self.unread[size:]
        return data

    async def _until(self, mark: bytes) -> bytes:
        while mark not in self.unread:
            await self._more()
        return await self._exactly(self.unread.index(mark) + len(mark))


async def over_http2(chance: Random, port: int, limit_s: float) -> list[Answer]:
    """Send one to six concurrent requests on a connection, and cancel some; return the answers to the others.

    Raises:
        TimeoutError: an answer that was waited for did not end in time.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_tls("h2"))
    client = _Http2(chance, reader, writer)
    try:
        async with asyncio.timeout(limit_s):
            await client.run(chance.randint(1, 6))
    finally:
        if chance.random() < 0.5:
            reset(writer)
        writer.close()
    return client.came


class _Http2:
    def __init__(self, chance: Random, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.chance = chance
        self.reader = reader
        self.writer = writer
        self.wire = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding=None))
        self.unsent: dict[int, bytes] = {}
        self.open: set[int] = set()
        self.answers: dict[int, Answer] = {}
        self.gives_up = False
        self.came: list[Answer] = []

    async def run(self, count: int) -> None:
        chance = self.chance
        self.gives_up = chance.random() < 0.3
        self.wire.initiate_connection()
        for _ in range(count):
            head, _, body = chance.choice((asked, asked, called))(chance).partition(b"\r\n\r\n")
            if self.gives_up:  # h2 takes an interim answer that crosses a reset for a fault
                head = head.replace(EXPECT.strip(), b"x-hasty: 1")
            line, *fields = head.split(b"\r\n")
            method, target, _ = line.split(b" ")
            pairs = [tuple(field.split(b": ", 1)) for field in fields if not field.startswith(b"host")]
            stream = self.wire.get_next_available_stream_id()
            pseudo = [(b":method", method), (b":scheme", b"http"), (b":authority", b"edge"), (b":path", target)]
            self.wire.send_headers(stream, pseudo + pairs, end_stream=not body)
            self.open.add(stream)
            self.answers[stream] = Answer()
            if body:
                self.unsent[stream] = body
        leaves = chance.random() < 0.15
        while self.open:
            self._push()
            self.writer.write(self.wire.data_to_send())
            if not self.open or (leaves and chance.random() < 0.3):
                return
            came = await self.reader.read(chance.choice((100, 65536)))
            if not came:
                if self.open:
                    raise ConnectionError("edge closed the connection while it was answering")
                return
            for event in self.wire.receive_data(came):
                self._take(event)

    def _push(self) -> None:
        for stream in list(self.unsent):
            body = self.unsent[stream]
            if self.gives_up and self.chance.random() < 0.1:
                self.wire.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
                self._over(stream)
                continue
            size = min(self.wire.local_flow_control_window(stream), self.wire.max_outbound_frame_size, len(body))
            if size:
                self.wire.send_data(stream, body[:size], end_stream=size == len(body))
                self.unsent[stream] = body[size:]
                if size == len(body):
                    del self.unsent[stream]

    def _over(self, stream: int) -> None:
        self.open.discard(stream)
        self.unsent.pop(stream, None)

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self.answers[event.stream_id].status = int(dict(event.headers)[b":status"])
        elif isinstance(event, h2.events.DataReceived):
            self.answers[event.stream_id].body += event.data
            self.wire.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset) and event.stream_id in self.open:
            answer = self.answers[event.stream_id]
            answer.whole = isinstance(event, h2.events.StreamEnded)
            self.came.append(answer)
            self._over(event.stream_id)
        elif isinstance(event, h2.events.ConnectionTerminated):
            raise ConnectionError(f"edge ended the connection: {event.error_code}")


def sound(answer: Answer) -> bool:
    """Return whether an answer is usable: cut off only behind its head, and JSON, events, or rightly empty."""
    if not answer.whole:
        return answer.status != 0
    if answer.body.startswith((b"data:", b":", b"event:")):
        return answer.body.endswith(b"\n\n")
    if not answer.body:
        return answer.status in (200, 204, 429, 500, 503)
    if answer.body.startswith(b"\0"):
        return True  # messages of a service
    with contextlib.suppress(ValueError):
        return isinstance(json.loads(answer.body), dict)
    return False
