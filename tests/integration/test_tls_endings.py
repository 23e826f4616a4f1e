"""The ends of TLS connections are told apart: whole, cut off, reset, in the middle of an upload, in a burst."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
from bad_upstream import reset
from h2peer import Upstream as H2Upstream
from h2peer import service as h2_service
from loopback import LoopbackServer
from one_data_plane import client_side, models, one_data_plane, patient, post, server_tls, whole
from soon import until
from test_services import request, services
from test_websocket import ASK, TAKE

from edge.listen.local import Local
from edge.native import Outcome
from edge.sim.wire import (
    Close,
    HalfClose,
    Hold,
    Pause,
    ReadBytes,
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

if TYPE_CHECKING:
    from h2peer import Call
    from secure import Secure

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"
ANSWER = b'{"id":"a","choices":[{"message":{"content":"hello"}}]}'


@pytest.mark.parametrize(
    ("how", "is_whole"), [(Close(), True), (HalfClose(), True), (Truncate(), False), (Reset(), False)]
)
async def test_an_answer_that_ends_with_its_connection(
    secure: Secure, monkeypatch: pytest.MonkeyPatch, how: Step, is_whole: bool
) -> None:
    """Behind a close_notify the answer is whole. Without it something may be missing, so another target is asked."""
    monkeypatch.setattr("one_data_plane.SECURE", secure)
    backup_script = (ReadMessage(), Send(whole(ANSWER.replace(b"hello", b"backup"))), ReadToEnd())
    async with (
        ScriptedServer((ReadMessage(), Send(HEAD + ANSWER), how), tls=server_tls()) as first,
        ScriptedServer(backup_script, tls=server_tls()) as backup,
        one_data_plane(patient(models(first.url, backup.url))) as data_plane,
    ):
        received = await data_plane.ask(post(), b"}}]}")
        assert received.startswith(b"HTTP/1.1 200 OK")
        assert (b"hello" in received) is is_whole
        assert data_plane.outcomes("p0/m")[Outcome.OK if is_whole else Outcome.FAIL_TRUNCATED] == 1


@pytest.mark.parametrize("is_whole", [True, False])
async def test_a_services_answer_that_ends_with_its_connection(
    secure: Secure, monkeypatch: pytest.MonkeyPatch, is_whole: bool
) -> None:
    """What has begun goes on to the client, and its end says whether it is whole."""
    monkeypatch.setattr("one_data_plane.SECURE", secure)
    script = (ReadHead(), Send(HEAD + b"x" * 100_000), Close() if is_whole else Truncate())
    async with ScriptedServer(script, tls=server_tls()) as upstream:
        async with one_data_plane(services(upstream.address)) as data_plane:
            peer = await data_plane.raw(request(fields=b"connection: close\r\n"))
            assert peer.received.count(b"x") > 90_000
            assert peer.received.endswith(b"0\r\n\r\n") is is_whole


@pytest.mark.usefixtures("with_tls_too")
async def test_an_early_answer_to_an_upload_from_a_server_that_closes() -> None:
    """A provider that answers early and closes while edge still sends is heard, whichever of the two comes first."""
    early = b"HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno"
    statuses = set()
    async with ScriptedServer((ReadHead(), ReadBytes(200_000), Send(early), Close()), tls=server_tls()) as upstream:
        async with one_data_plane(patient(models(upstream.url))) as data_plane:
            body = b'{"model":"chat","messages":[' + b" " * 6_000_000 + b"]}"
            for _ in range(5):
                statuses.add((await data_plane.ask(post(body), b"\r\n\r\n"))[9:12])
    assert statuses == {b"413"}


@pytest.mark.usefixtures("with_tls_too")
async def test_a_reset_is_seen_while_reading_is_paused() -> None:
    """A client with pipelined requests, whom edge does not read for now, is missed at once when it resets."""
    end = asyncio.Event()
    script = (ReadMessage(), Hold(end))
    async with (
        ScriptedServer(script, tls=server_tls()) as upstream,
        one_data_plane(patient(models(upstream.url))) as data_plane,
    ):
        gone = asyncio.Event()
        steps = (Send(post() + post()), Hold(gone), Reset())
        client = asyncio.create_task(play_client(data_plane.port, *steps, tls=client_side()))
        await until(lambda: upstream.peers and upstream.peers[0].messages)
        gone.set()
        await client
        await until(lambda: data_plane.data_plane.connections == 0, 5)
        await until(lambda: data_plane.data_plane.active == 0, 5)
        end.set()


@pytest.mark.usefixtures("with_tls_too")
async def test_a_slow_reader_gets_everything_and_the_end() -> None:
    """However full the kernel's buffers are at the end, the answer is whole, and over TLS a close_notify follows it."""
    ask = request(fields=b"connection: close\r\n")
    for size in range(2_600_000, 2_690_000, 9_001):
        release = asyncio.Event()
        script = (ReadHead(), Send(whole(b"x" * size)), ReadToEnd())
        async with ScriptedServer(script, tls=server_tls()) as upstream:
            async with one_data_plane(patient(services(upstream.address))) as data_plane:
                steps = (Send(ask), ReadUntil(b"\r\n\r\n"), Hold(release), ReadToEnd())
                client = asyncio.create_task(play_client(data_plane.port, *steps, tls=client_side()))
                await asyncio.sleep(0.1)
                release.set()
                peer = await client
        assert peer.received.count(b"x") >= size
        assert peer.ended == "peer_closed"
        assert peer.said_goodbye is (peer.tls is not None)


@pytest.mark.usefixtures("with_tls_too")
async def test_the_fault_of_a_handler_ends_its_connection_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception behind one connection is reported once, and ends that connection and no other."""
    proper = Local.answer

    def answer(self: Local, *given: object) -> object:
        if any(b"fault" in part for part in given if isinstance(part, bytes)):
            raise LookupError("on purpose")
        return proper(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Local, "answer", answer)
    async with one_data_plane(models("http://127.0.0.1:9")) as data_plane:
        ask = b"GET /v1/models%b HTTP/1.1\r\nhost: localhost\r\n\r\n"
        release = asyncio.Event()
        steps = (Send(ask % b""), ReadUntil(b"\r\n\r\n"), Hold(release), Send(ask % b"?other"), ReadUntil(b" 200 OK"))
        other = asyncio.create_task(play_client(data_plane.port, *steps, tls=client_side()))
        await until(lambda: data_plane.data_plane.connections == 1)
        peer = await data_plane.raw(ask % b"/fault")
        assert (peer.received, peer.ended) in {(b"", "peer_closed"), (b"", "peer_reset")}
        release.set()
        assert (await other).ended == "script"
        assert [type(fault["exception"]) for fault in data_plane.thread.faults] == [LookupError]
        data_plane.thread.faults.clear()


class Talkative(LoopbackServer):
    """Accepts a tunnel, says more than fits on the way, and listens meanwhile."""

    def __init__(self) -> None:
        self.heard = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one tunnel."""
        await reader.readuntil(b"\r\n\r\n")
        writer.write(TAKE + b"x" * 30_000_000)
        await reader.readuntil(b"ping")
        self.heard.set()
        with contextlib.suppress(OSError):
            await reader.read()
        writer.transport.abort()


@pytest.mark.usefixtures("with_tls_too")
async def test_what_comes_is_read_while_writing_waits() -> None:
    """A client that does not read for now is heard nevertheless."""
    async with (
        Talkative() as upstream,
        one_data_plane(patient(services(upstream.address))) as data_plane,
    ):
        steps = (Send(ASK), ReadUntil(b" 101 "), Pause(0.5), Send(b"ping"), Hold(upstream.heard))
        peer = await play_client(data_plane.port, *steps, limit_s=10.0, tls=client_side())
        assert peer.ended == "script"


HTTP2_ENDS = {
    "whole": (Outcome.OK, None),
    "close": (Outcome.FAIL_TRUNCATED, lambda call: call.wire.writer.close()),
    "truncate": (Outcome.FAIL_TRUNCATED, lambda call: call.wire.writer.transport.abort()),
    "reset": (Outcome.FAIL_TRUNCATED, lambda call: reset(call.wire.writer)),
    "stall": (Outcome.FAIL_STALLED, lambda _: None),
}


@pytest.mark.usefixtures("with_tls_too")
@pytest.mark.parametrize("end", HTTP2_ENDS)
async def test_an_http2_upstream(end: str) -> None:
    """A connection that ends or stalls within an answer is a failure, and the client sees that something is missing."""
    outcome, act = HTTP2_ENDS[end]

    async def answer(call: Call) -> None:
        await call.head(200, ("content-type", "text/plain"))
        await call.data(b"x" * 1000, end=act is None)
        if act is not None:
            await asyncio.sleep(0.05)
            act(call)

    async with H2Upstream(answer, tls=server_tls("h2")) as upstream:
        text = h2_service(upstream.address).replace("idle: 5s", "idle: 1s")
        async with one_data_plane(text) as data_plane:
            peer = await data_plane.raw(b"GET /a HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            assert peer.received.count(b"x" * 1000) == 1
            assert peer.received.endswith(b"0\r\n\r\n") is (end == "whole")
            assert data_plane.outcomes(f"echo/{upstream.address}")[outcome] == 1
