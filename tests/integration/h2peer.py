"""HTTP/2 peers without edge's code: a client that sends single frames, and an upstream that follows a script.

Under ``with_tls_too`` both speak TLS, and :func:`service` names the authority.

``FrameClient`` uses hyperframe and hpack only, so it can send frames that no library would send. ``Upstream`` uses h2,
which checks every frame of edge; each request runs a coroutine of the test.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from one_data_plane import client_tls, server_tls, verified
from soon import handed_over

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

Fields = list[tuple[str, str]]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LIMIT_S = 30.0


def request(method: str = "GET", path: str = "/healthz", authority: str = "edge", *fields: tuple[str, str]) -> Fields:
    """Return the fields of a request, pseudo-header fields first."""
    return [(":method", method), (":scheme", "http"), (":path", path), (":authority", authority), *fields]


class RawFrame(Frame):
    """A frame of any type with any body, also those that hyperframe's classes would not write."""

    def __init__(self, kind: int, stream: int, body: bytes, flags: int = 0) -> None:
        super().__init__(stream)
        self._said = len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body

    def serialize(self) -> bytes:
        """Return the frame as it is sent."""
        return self._said


class FrameClient:
    """A connection whose frames the test writes itself; the received frames are in ``frames``, in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.encoder = hpack.Encoder()
        self._decoder = hpack.Decoder()
        self.frames: list[Frame] = []
        self.fields: dict[int, list[Fields]] = {}
        self.closed = False
        self.counted = 0
        self.granted: Counter[int] = Counter()  # window given by edge beyond the first, by stream; 0 is the connection
        self.sent: Counter[int] = Counter()  # bytes that ``data`` sent, likewise
        self.give_back = False  # open the windows again as DATA comes
        self.forget = False  # count the bytes of DATA, and keep none of them
        self._news = asyncio.Condition()
        self._task = asyncio.create_task(self._read())

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(
        cls, port: int, *, settings: dict[int, int] | None = None, hello: bool = True
    ) -> AsyncIterator[Self]:
        """Connect, and send the preface unless the test does that itself."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_tls("h2"))
        client = cls(reader, writer)
        try:
            if hello:
                client.write(PREFACE)
                client.send(SettingsFrame(settings=settings or {}))
            yield client
        finally:
            client._task.cancel()
            writer.transport.abort()
            await asyncio.gather(client._task, return_exceptions=True)

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)

    def send(self, *frames: Frame) -> None:
        """Send frames in one write."""
        self._writer.write(b"".join(frame.serialize() for frame in frames))

    def block(self, fields: Fields) -> bytes:
        """Encode a header block; the encoder's table keeps it."""
        return self.encoder.encode(fields)

    def headers(self, stream: int, fields: Fields, *flags: str) -> HeadersFrame:
        """One HEADERS frame with END_HEADERS; ``flags`` are added."""
        return HeadersFrame(stream, self.block(fields), flags=["END_HEADERS", *flags])

    def continuations(self, stream: int, parts: list[bytes]) -> list[ContinuationFrame]:
        """Return the rest of a header block; the last frame ends it."""
        frames = [ContinuationFrame(stream, part) for part in parts]
        if frames:
            frames[-1].flags.add("END_HEADERS")
        return frames

    def ask(self, stream: int, fields: Fields | None = None) -> None:
        """Send a request without a body."""
        self.send(self.headers(stream, fields or request(), "END_STREAM"))

    def data(self, stream: int, data: bytes, *flags: str) -> None:
        """Send one DATA frame."""
        self.sent[0] += len(data)
        self.sent[stream] += len(data)
        self.send(DataFrame(stream, data, flags=list(flags)))

    async def _read(self) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame, length = Frame.parse_frame_header(memoryview(await self._reader.readexactly(9)))
                frame.parse_body(memoryview(await self._reader.readexactly(length)))
                if isinstance(frame, (HeadersFrame, ContinuationFrame)):
                    self.fields.setdefault(frame.stream_id, []).append(self._decoder.decode(frame.data))
                if isinstance(frame, DataFrame):
                    self.counted += len(frame.data)
                    if self.give_back and frame.data:
                        self.open_windows(len(frame.data), frame.stream_id)
                        self.open_windows(len(frame.data))
                    frame.data = b"" if self.forget else bytes(frame.data)
                if isinstance(frame, WindowUpdateFrame):
                    self.granted[frame.stream_id] += frame.window_increment
                if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
                    self.send(SettingsFrame(flags=["ACK"]))
                self.frames.append(frame)
                async with self._news:
                    self._news.notify_all()
        self.closed = True
        async with self._news:
            self._news.notify_all()

    async def until(self, met: Callable[[], object], limit_s: float = LIMIT_S) -> None:
        """Wait until ``met`` holds; it is checked after every frame and at the end of the connection."""
        async with asyncio.timeout(limit_s), self._news:
            await self._news.wait_for(met)

    def of(self, kind: type[Frame], stream: int | None = None) -> list[Any]:
        """Return the received frames of one type, of one stream or of all."""
        return [frame for frame in self.frames if isinstance(frame, kind) and stream in (None, frame.stream_id)]

    def ended(self, stream: int) -> bool:
        """Return whether edge has ended or reset the stream."""
        return bool(self.of(RstStreamFrame, stream)) or any(
            "END_STREAM" in frame.flags for frame in self.frames if frame.stream_id == stream
        )

    def body(self, stream: int) -> bytes:
        """Return the bytes of a stream so far."""
        return b"".join(frame.data for frame in self.of(DataFrame, stream))

    def status(self, stream: int) -> int:
        """Return the status of an answer, or -1 before it."""
        heads = self.fields.get(stream, [])
        return int(dict(heads[0])[":status"]) if heads else -1

    async def answer(self, stream: int, limit_s: float = LIMIT_S) -> int:
        """Wait for the end of an answer; return its status, or minus the code of its reset."""
        await self.until(lambda: self.ended(stream) or self.closed, limit_s)
        resets = self.of(RstStreamFrame, stream)
        return -int(resets[0].error_code) if resets else self.status(stream)

    async def goaway(self, limit_s: float = LIMIT_S) -> int:
        """Wait for a GOAWAY and the end of the connection; return its code, or -1 when none came."""
        await self.until(lambda: self.closed, limit_s)
        said = self.of(GoAwayFrame)
        return int(said[-1].error_code) if said else -1

    async def ping(self, limit_s: float = LIMIT_S) -> None:
        """Wait until everything that was sent has been processed."""
        before = len(self.of(PingFrame))
        self.send(PingFrame(opaque_data=b"are you?"))
        await self.until(lambda: len(self.of(PingFrame)) > before or self.closed, limit_s)

    def stop_reading(self) -> None:
        """Stop reading: edge's output fills the kernel's buffers, then its own."""
        self._task.cancel()
        transport: Any = self._writer.transport
        transport.pause_reading()

    def read_on(self) -> None:
        """Resume reading after ``stop_reading``, which must not have been called in the middle of a frame."""
        transport: Any = self._writer.transport
        transport.resume_reading()
        self._task = asyncio.create_task(self._read())

    def lost(self) -> bool:
        """Return whether the connection is closed."""
        return self._writer.transport.is_closing()

    async def drain(self) -> None:
        """Wait until the kernel has taken everything that was sent, unless the connection is lost."""
        with contextlib.suppress(OSError):
            await self._writer.drain()

    def room(self, stream: int) -> int:
        """Return how many more bytes ``data`` may send on a stream."""
        return 65535 + min(self.granted[name] - self.sent[name] for name in (0, stream))

    def open_windows(self, size: int = 2**30, stream: int = 0) -> None:
        """Let edge send without limit, on the connection or on one stream."""
        self.send(WindowUpdateFrame(stream, window_increment=size))


class Call:
    """One request at the upstream, and the test's answer to it."""

    def __init__(self, wire: Wire, stream: int, fields: Fields) -> None:
        self.wire = wire
        self.stream = stream
        self.fields = fields
        self.trailers: Fields = []
        self.ended = False
        self.reset_code: int | None = None
        self._chunks: list[bytes] = []
        self.news = asyncio.Event()
        self.taking = True

    def field(self, name: str) -> str | None:
        """Return the first value of a field."""
        return next((value for key, value in self.fields if key == name), None)

    async def read(self) -> bytes:
        """Return the next bytes of the body and replenish its window; empty at the end.

        Raises:
            ConnectionResetError: the stream was reset, or the connection lost.
        """
        while not self._chunks and not self.ended:
            if self.reset_code is not None:
                raise ConnectionResetError
            self.news.clear()
            await self.news.wait()
        data = b"".join(self._chunks)
        self._chunks.clear()
        if data:
            self.wire.taken(self.stream, len(data))
        return data

    async def body(self) -> bytes:
        """Return the complete body."""
        parts = []
        while part := await self.read():
            parts.append(part)
        return b"".join(parts)

    async def head(self, status: int = 200, *fields: tuple[str, str], end: bool = False) -> None:
        """Send the head of the answer, or an interim one."""
        self.wire.h2.send_headers(self.stream, [(":status", str(status)), *fields], end_stream=end)
        await self.wire.flush()

    async def data(self, data: bytes = b"", *, end: bool = False) -> None:
        """Send a part of the body, as fast as edge takes it."""
        view = memoryview(data)
        while view:
            room = min(self.wire.h2.local_flow_control_window(self.stream), 16384)
            if room <= 0:
                self.news.clear()
                if self.reset_code is not None:
                    raise ConnectionResetError
                await self.news.wait()
                continue
            self.wire.h2.send_data(self.stream, bytes(view[:room]), end_stream=end and room >= len(view))
            view = view[room:]
            await self.wire.flush()
        if end and not data:
            self.wire.h2.end_stream(self.stream)
            await self.wire.flush()

    async def end(self, *trailers: tuple[str, str]) -> None:
        """End the answer with trailers."""
        self.wire.h2.send_headers(self.stream, list(trailers), end_stream=True)
        await self.wire.flush()

    async def reset(self, code: int) -> None:
        """Reset the stream."""
        self.wire.h2.reset_stream(self.stream, code)
        await self.wire.flush()

    async def until_reset(self, limit_s: float = LIMIT_S) -> int:
        """Wait until edge resets the stream or is gone; return the code."""
        async with asyncio.timeout(limit_s):
            while self.reset_code is None:
                self.news.clear()
                await self.news.wait()
        return self.reset_code


class Wire:
    """One connection from edge."""

    def __init__(self, home: Upstream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.home = home
        self.reader = reader
        self.writer = writer
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        self.h2 = h2.connection.H2Connection(config=config)
        self.calls: dict[int, Call] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.most = 0
        self.pings = 0
        self.goaway: int | None = None
        self.closed = False
        self.last: int | None = None  # the last stream that is served

    async def flush(self) -> None:
        """Send what h2 has to say."""
        data = self.h2.data_to_send()
        if data and not self.closed:
            self.writer.write(data)
            await self.writer.drain()

    def taken(self, stream: int, size: int) -> None:
        """Replenish the window for these bytes."""
        with contextlib.suppress(h2.exceptions.StreamClosedError):
            self.h2.acknowledge_received_data(size, stream)
        self.writer.write(self.h2.data_to_send())

    def freeze(self) -> None:
        """Stop reading and writing."""
        transport: Any = self.writer.transport
        transport.pause_reading()

    async def say_goodbye(self, last: int | None = None, code: int = 0) -> None:
        """Send GOAWAY; ``last`` is the last stream that is served, by default the last received."""
        self.last = max(self.calls, default=0) if last is None else last
        frame = GoAwayFrame(0, last_stream_id=self.last, error_code=code)
        self.writer.write(frame.serialize())
        await self.writer.drain()

    async def run(self) -> None:
        """Serve until the connection ends."""
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values={3: 100} | self.home.settings)
        self.h2.initiate_connection()
        try:
            await self.flush()
            while data := await self.reader.read(65536):
                for event in self.h2.receive_data(data):
                    self.hear(event)
                await self.flush()
        except (OSError, h2.exceptions.ProtocolError) as error:
            self.home.faults.append(error)
        finally:
            self.closed = True
            for call in self.calls.values():
                if call.reset_code is None:
                    call.reset_code = -1
                call.news.set()
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)
            self.writer.close()

    def hear(self, event: h2.events.Event) -> None:
        """Record an event."""
        if isinstance(event, h2.events.RequestReceived):
            call = Call(self, event.stream_id, list(event.headers))
            self.calls[event.stream_id] = call
            self.home.calls.append(call)
            self.most = max(self.most, self.h2.open_inbound_streams)
            task = asyncio.create_task(self.serve(call))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            return
        call = self.calls.get(getattr(event, "stream_id", 0))
        if call is None:
            self.hear_connection(event)
        else:
            self.hear_stream(call, event)

    def hear_connection(self, event: h2.events.Event) -> None:
        """Record an event of the connection."""
        if isinstance(event, h2.events.PingReceived):
            self.pings += 1
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = int(event.error_code or 0)
        for call in self.calls.values():
            call.news.set()

    def hear_stream(self, call: Call, event: h2.events.Event) -> None:
        """Record an event of a stream."""
        if isinstance(event, h2.events.DataReceived):
            call._chunks.append(event.data)
        elif isinstance(event, h2.events.TrailersReceived):
            call.trailers = list(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            call.ended = True
        elif isinstance(event, h2.events.StreamReset):
            call.reset_code = int(event.error_code)
        call.news.set()

    async def serve(self, call: Call) -> None:
        """Run the test's answer; keep its exception for the test."""
        try:
            await self.home.answer(call)
        except (ConnectionResetError, BrokenPipeError, h2.exceptions.StreamClosedError):
            return
        except Exception as error:  # noqa: BLE001  # raised where the test ends
            if self.goaway is None and not self.closed and call.reset_code is None:
                self.home.faults.append(error)


class Upstream:
    """An HTTP/2 service on a free loopback port; ``answer`` runs for each request.

    ``calls`` and ``wires`` keep every request and connection in order; ``faults`` what went wrong, protocol errors of
    edge above all, and the test fails on them at the end.
    """

    def __init__(
        self,
        answer: Callable[[Call], Awaitable[None]],
        *,
        settings: dict[int, int] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answer = answer
        self.tls = tls or server_tls("h2")
        self.settings = settings or {}
        self.calls: list[Call] = []
        self.wires: list[Wire] = []
        self.faults: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self.tls)
        self.port = int(self._server.sockets[0].getsockname()[1])
        self.address = f"127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await handed_over()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        unexpected = [fault for fault in self.faults if not isinstance(fault, OSError)]
        assert not unexpected, unexpected

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        wire = Wire(self, reader, writer)
        self.wires.append(wire)
        await wire.run()


def plain(content: bytes = b"hello") -> Callable[[Call], Awaitable[None]]:
    """Answer every complete request with 200 and this content."""

    async def answer(call: Call) -> None:
        await call.body()
        await call.head(200, ("content-type", "text/plain"), ("content-length", str(len(content))))
        await call.data(content, end=True)

    return answer


def service(*addresses: str, protocol: str = "h2c", extra: str = "") -> str:
    """Return configuration text: one service for every path, over these addresses."""
    targets = ", ".join(f'"{address}"' for address in addresses)
    return f"""
services:
  echo:
    match: {{path: /}}
    protocol: {protocol}
    targets: [{targets}]
    timeouts: {{connect: 1s, first_byte: 5s, stream_idle: 5s, total: 30s}}
{verified().replace(", ", "    ", 1)}
{extra}
"""


def lower(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the fields as a mapping, with the last value of each name."""
    return {name.lower(): value for name, value in fields}
