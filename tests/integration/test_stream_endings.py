"""After the commit point nothing is retried: a stream ends complete or visibly broken."""

from __future__ import annotations

import pytest
from one_data_plane import (
    DONE,
    HELLO,
    ROLE,
    SSE_HEAD,
    STOP,
    STREAM,
    chunk,
    models,
    one_data_plane,
    post,
    server_tls,
    sse,
)

from edge.native import Outcome
from edge.sim.wire import Again, Close, ReadMessage, ReadToEnd, Reset, ScriptedServer, Send, Step

pytestmark = pytest.mark.usefixtures("both_wires", "with_tls_too")

ERROR = b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n'
BEGUN = SSE_HEAD + chunk(ROLE) + chunk(HELLO)

BROKEN: dict[str, tuple[tuple[Step, ...], Outcome]] = {
    "cut": ((ReadMessage(), Send(BEGUN), Close()), Outcome.FAIL_TRUNCATED),
    "reset": ((ReadMessage(), Send(BEGUN), Reset()), Outcome.FAIL_TRUNCATED),
    "stalled": ((ReadMessage(), Send(BEGUN), ReadToEnd()), Outcome.FAIL_STALLED),
    "clean-end-without-finish": ((ReadMessage(), Send(BEGUN + b"0\r\n\r\n"), ReadToEnd()), Outcome.FAIL_TRUNCATED),
    "half-an-event": ((ReadMessage(), Send(BEGUN + chunk(b'data: {"choi')), Close()), Outcome.FAIL_TRUNCATED),
    "chunk-malformed": ((ReadMessage(), Send(BEGUN + b"zz\r\n"), ReadToEnd()), Outcome.FAIL_MALFORMED),
}


@pytest.mark.parametrize("fault", BROKEN)
async def test_broken(fault: str) -> None:
    """The client gets the data so far, an error event and no [DONE]; behind the event the framing ends well."""
    script, outcome = BROKEN[fault]
    backup_script = (ReadMessage(), Send(sse(ROLE, HELLO, STOP, DONE)), Again())
    async with (
        ScriptedServer(script, tls=server_tls()) as primary,
        ScriptedServer(backup_script, tls=server_tls()) as backup,
    ):
        async with one_data_plane(models(primary.url, backup.url)) as data_plane:
            peer = await data_plane.raw(post(STREAM, fields=b"connection: close\r\n"))
            assert peer.ended == "peer_closed"
            assert HELLO in peer.received
            assert b'"code":"stream_broken"' in peer.received
            assert b"[DONE]" not in peer.received
            assert peer.received.endswith(b"0\r\n\r\n")
            assert b'data: {"choi\n' not in peer.received
            assert backup.peers == []
            assert data_plane.outcomes("p0/m")[outcome] == 1


async def test_error_in_the_middle() -> None:
    """A provider's own error event is relayed, and no other event follows it."""
    script = (ReadMessage(), Send(BEGUN + chunk(HELLO + ERROR + DONE) + b"0\r\n\r\n"), ReadToEnd())
    async with ScriptedServer(script, tls=server_tls()) as primary, one_data_plane(models(primary.url)) as data_plane:
        peer = await data_plane.raw(post(STREAM, fields=b"connection: close\r\n"))
        assert peer.ended == "peer_closed"
        assert peer.received.count(HELLO) == 2
        assert ERROR in peer.received
        assert b"[DONE]" not in peer.received
        assert peer.received.endswith(b"0\r\n\r\n")
        assert data_plane.outcomes("p0/m")[Outcome.FAIL_INBAND] == 1


COMPLETE: dict[str, tuple[Step, ...]] = {
    "plain": (ReadMessage(), Send(sse(ROLE, HELLO, STOP, DONE)), Again()),
    "no-done": (ReadMessage(), Send(sse(ROLE, HELLO, STOP)), Again()),
    "done-without-last-chunk": (ReadMessage(), Send(sse(ROLE, HELLO, STOP, DONE, end=False)), Close()),
    "one-write-per-byte": (ReadMessage(), Send(sse(ROLE, HELLO, STOP, DONE), piece=7), Again()),
    "crlf-events": (ReadMessage(), Send(sse(*(e.replace(b"\n", b"\r\n") for e in (ROLE, HELLO, STOP, DONE)))), Again()),
    "until-close": (
        ReadMessage(),
        Send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + ROLE + HELLO + STOP + DONE),
        Close(),
    ),
}


@pytest.mark.parametrize("kind", COMPLETE)
async def test_complete(kind: str) -> None:
    """A stream that has sent its end mark ends cleanly and with [DONE], whatever its framing."""
    async with (
        ScriptedServer(COMPLETE[kind], tls=server_tls()) as primary,
        one_data_plane(models(primary.url)) as data_plane,
    ):
        answer = await data_plane.ask(post(STREAM), b"0\r\n\r\n")
        assert b"hello" in answer
        assert answer.count(b"[DONE]") == 1
        assert b"stream_broken" not in answer
        assert data_plane.outcomes("p0/m")[Outcome.OK] == 1
