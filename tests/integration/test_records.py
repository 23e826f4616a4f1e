"""Records of exchanges: one trace through caller, edge and targets, with every attempt, and no secrets."""

from __future__ import annotations

import hashlib
import re

import grpc
import grpc.aio
import pytest
from one_data_plane import DONE, HELLO, ROLE, STOP, STREAM, models, one_data_plane, post, sse, whole

from edge.sim.wire import Again, Close, ReadHead, ReadMessage, ScriptedServer, Send, refused_port

pytestmark = pytest.mark.usefixtures("both_wires")

GOOD = (ReadMessage(), Send(whole()), Again())
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = f"00-{TRACE}-{SPAN}-01".encode()
ALL = "telemetry: {sample: 100%}"
NONE = "telemetry: {sample: 0%}"


def sent_traceparent(received: bytes) -> tuple[str, str, str]:
    """Return (trace id, span id, flags) that an upstream received, exactly once."""
    found = re.findall(rb"(?i)\r\ntraceparent: 00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\r\n", received)
    assert len(found) == 1, received
    trace, span, flags = found[0]
    return trace.decode(), span.decode(), flags.decode()


async def test_failover() -> None:
    """Each attempt has its reason, in order and in time, and its target has got its span."""
    async with ScriptedServer((ReadHead(), Close())) as bad, ScriptedServer(GOOD) as good:
        async with one_data_plane(models(bad.url, good.url, extra=ALL)) as data_plane:
            await data_plane.ask(
                post(fields=b"traceparent: " + CALLER + b"\r\ntracestate: a=1\r\nbaggage: b=2\r\n"), b"}}"
            )
            (record,) = await data_plane.recorded(1)
            first, second = record.attempts
            assert (record.trace_id, record.parent_span_id, record.kept) == (TRACE, SPAN, "sampled")
            assert (record.route, record.kind, record.operation, record.model) == ("chat", "model", "chat", "chat")
            assert (record.status, record.grpc_status, record.worker) == (200, -1, 0)
            assert (first.target, first.outcome, first.status) == ("p0/m", "fail_reset", 0)
            assert (second.target, second.outcome, second.status) == ("p1/m", "ok", 200)
            assert first.detail
            assert second.detail == ""
            for attempt, server in ((first, bad), (second, good)):
                received = server.peers[0].received
                assert sent_traceparent(received) == (TRACE, attempt.span_id, "01")
                assert b"tracestate" not in received
                assert b"baggage" not in received
            assert len({record.span_id, first.span_id, second.span_id, SPAN}) == 4
            assert 0 <= first.started_ns <= first.connected_ns <= first.asked_ns <= first.ended_ns <= second.started_ns
            assert second.asked_ns <= second.head_ns <= second.content_ns <= second.ended_ns <= record.duration_ns
            assert record.first_ns == second.content_ns
            assert first.content_ns == -1


async def test_stream() -> None:
    """A stream is recorded as such, with separate times of first content and end."""
    script = (ReadMessage(), Send(sse(ROLE, HELLO, STOP, DONE)), Again())
    async with ScriptedServer(script) as good, one_data_plane(models(good.url, extra=ALL)) as data_plane:
        await data_plane.ask(post(STREAM), b"[DONE]")
        (record,) = await data_plane.recorded(1)
        assert record.stream
        assert record.parent_span_id == ""
        assert 0 < record.first_ns <= record.duration_ns
        assert sent_traceparent(good.peers[0].received)[::2] == (record.trace_id, "03")


async def test_unsampled_is_not_told() -> None:
    """An exchange that is neither sampled nor failed leaves no record, and its target gets an unsampled context."""
    async with ScriptedServer(GOOD) as good, one_data_plane(models(good.url, extra=NONE)) as data_plane:
        for _ in range(3):
            await data_plane.ask(post(), b"}}")
        await data_plane.ask(post(fields=b"traceparent: " + CALLER + b"\r\n"), b"}}")
        (record,) = await data_plane.recorded(1)  # the caller asked for it
        assert record.trace_id == TRACE
        received = b"".join(peer.received for peer in good.peers)
        flags = re.findall(rb"\r\ntraceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-([0-9a-f]{2})\r\n", received)
        assert sorted(flags) == [b"01", b"02", b"02", b"02"]


async def test_failures_are_told_though_not_sampled() -> None:
    """A refusal of edge is kept with the attempts that led to it."""
    with refused_port() as port:
        async with one_data_plane(models(f"http://127.0.0.1:{port}", extra=NONE)) as data_plane:
            answer = await data_plane.ask(post(), b"}")
            assert b" 503 " in answer.splitlines()[0]
            (record,) = await data_plane.recorded(1)
            assert (record.kept, record.status, record.sampled) == ("failed", 503, False)
            assert {attempt.outcome for attempt in record.attempts} == {"fail_connect"}
            assert record.reason.startswith("fail_connect: ")
            assert record.request_id.encode() in answer


@pytest.mark.parametrize("bad", [b"00-" + b"0" * 32 + CALLER[35:], b"nonsense", CALLER[:-3]])
async def test_malformed(bad: bytes) -> None:
    """A malformed traceparent is ignored: a new trace begins."""
    async with ScriptedServer(GOOD) as good, one_data_plane(models(good.url, extra=ALL)) as data_plane:
        await data_plane.ask(post(fields=b"traceparent: " + bad + b"\r\n"), b"}}")
        (record,) = await data_plane.recorded(1)
        assert record.trace_id != TRACE
        assert record.parent_span_id == ""
        assert sent_traceparent(good.peers[0].received)[0] == record.trace_id


SERVICE = "services: {{billing: {{match: {{path: /api/}}, targets: ['{0}'], protocol: http1}}}}\n{1}\n"


@pytest.mark.parametrize("propagation", ["continue", "restart"])
async def test_service(propagation: str) -> None:
    """A service gets tracestate and baggage; a restarted trace links to the caller's and drops its state."""
    telemetry = f"telemetry: {{sample: 100%, propagation: {propagation}}}"
    async with ScriptedServer(GOOD) as good, one_data_plane(SERVICE.format(good.address, telemetry)) as data_plane:
        fields = b"traceparent: " + CALLER + b"\r\ntracestate: a=1\r\nbaggage: b=2\r\n"
        await data_plane.ask(b"GET /api/x?secret=1 HTTP/1.1\r\nhost: edge\r\n" + fields + b"\r\n", b"}}")
        (record,) = await data_plane.recorded(1)
        received = good.peers[0].received.lower()
        assert b"\r\nbaggage: b=2\r\n" in received
        assert (b"\r\ntracestate: a=1\r\n" in received) == (propagation == "continue")
        assert (record.trace_id == TRACE) == (propagation == "continue")
        assert record.link == ("" if propagation == "continue" else f"{TRACE}-{SPAN}")
        assert sent_traceparent(received)[0] == record.trace_id
        assert (record.kind, record.path, record.method) == ("service", "/api/x", "GET")


async def test_refused_before_routing() -> None:
    """A request without a route is recorded too, without the name that the caller invented."""
    async with ScriptedServer(GOOD) as good, one_data_plane(models(good.url, extra=ALL)) as data_plane:
        await data_plane.ask(post(b'{"model":"invented"}'), b"}")
        (record,) = await data_plane.recorded(1)
        assert (record.status, record.route, record.model, record.attempts) == (404, "", "", ())


async def test_a_call_refused_before_routing_has_its_status() -> None:
    """A refusal over gRPC is recorded with gRPC's status: an unknown method is UNIMPLEMENTED."""
    async with one_data_plane(models("http://127.0.0.1:1", extra=ALL)) as data_plane:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/no.Such/Method")(b"", timeout=20)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        (record,) = await data_plane.recorded(1)
        assert (record.grpc, record.grpc_status, record.route) == (True, 12, "")


async def test_who_is_over_the_limit_is_told_once() -> None:
    """A refusal for a limit is in the caller's trace and route, with the key's name but not its secret."""
    secret = "sk-edge-0123456789abcdef0123456789abcdef"
    digest = hashlib.sha256(secret.encode()).hexdigest()
    keys = f"keys: [{{name: team-a, sha256: {digest}, requests_per_minute: 1}}]"
    async with ScriptedServer(GOOD) as good, one_data_plane(models(good.url, extra=f"{ALL}\n{keys}")) as data_plane:
        fields = b"authorization: Bearer " + secret.encode() + b"\r\ntraceparent: " + CALLER + b"\r\n"
        for _ in range(3):
            await data_plane.ask(post(fields=fields), b"}")
        records = await data_plane.recorded(3)
        assert 429 in {record.status for record in records}
        assert {(record.trace_id, record.key, record.route) for record in records} == {(TRACE, "team-a", "chat")}
        assert secret not in str(records)
