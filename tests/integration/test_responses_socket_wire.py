"""A WebSocket of Responses is opened with a key, is strict about frames, and ends in order; each turn is bounded."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from callers import bearer, clear, field, keys, status
from one_data_plane import OneDataPlane, models, one_data_plane, patient, sse
from soon import until
from turns import CREATED, DELTA, answered, asked, bodies, completed, opened, said, turn

from edge.native import WorkerCounter
from edge.sim.wire import (
    Again,
    Close,
    Hold,
    Pause,
    ReadMessage,
    ReadToEnd,
    ReadUntil,
    ScriptedServer,
    Send,
    play_client,
)
from tests.reference.websocket import masked

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

GOOD = (ReadMessage(), Send(sse(CREATED, DELTA, completed("resp_1"))), Again())
NOWHERE = "http://127.0.0.1:1"
PATH = "/v1/responses"


def upgrade(fields: bytes = b"", version: bytes = b"13", key: bytes = b"dGhlIHNhbXBsZSBub25jZQ==") -> bytes:
    """Return the request that opens a WebSocket."""
    return (
        b"GET /v1/responses HTTP/1.1\r\nHost: edge\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"
        b"Sec-WebSocket-Version: " + version + b"\r\nSec-WebSocket-Key: " + key + b"\r\n" + fields + b"\r\n"
    )


def told(answer: bytes) -> str:
    """Return the code of an error body."""
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"])


async def test_who_may_open_one() -> None:
    """A key is required where requests require one, and a version, and a key of the handshake."""
    async with one_data_plane(models(NOWHERE) + keys(alice="")) as plane:
        for request, expected, code in (
            (upgrade(), 401, "missing_api_key"),
            (upgrade(b"authorization: Bearer wrong\r\n"), 401, "invalid_api_key"),
            (upgrade(bearer("alice"), version=b"8"), 426, "websocket_version"),
            (upgrade(bearer("alice"), key=b"short"), 400, "websocket_key"),
            (upgrade(bearer("alice")).replace(b"GET", b"POST"), 405, "method_not_allowed"),
            (upgrade(bearer("alice")).replace(b"Connection: Upgrade\r\n", b""), 405, "method_not_allowed"),
            (upgrade(bearer("alice")).replace(b"HTTP/1.1", b"HTTP/1.0"), 405, "method_not_allowed"),
        ):
            answer = await plane.ask(request, b"}}")
            assert (status(answer), told(answer)) == (expected, code)
        answer = await plane.ask(upgrade(bearer("alice")), b"\r\n\r\n")
        assert status(answer) == 101
        assert field(answer, "sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert field(answer, "x-edge-request-id")


async def test_a_foreign_page_may_not() -> None:
    """Where no key is required, a browser's page of elsewhere opens none."""
    async with one_data_plane(models(NOWHERE)) as plane:
        answer = await plane.ask(upgrade(b"origin: https://elsewhere.example\r\n"), b"}}")
        assert (status(answer), told(answer)) == (403, "foreign_page")


async def closed(socket: ClientConnection) -> tuple[int, str]:
    """Wait for the end; return the code and the reason that edge gave."""
    await asyncio.wait_for(socket.wait_closed(), 20)
    assert socket.close_code is not None
    return socket.close_code, socket.close_reason or ""


TEXT = json.dumps(turn()).encode()


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (b"\x81" + bytes([len(TEXT)]) + TEXT[:20], 1002),  # not masked
        (b"\xc1", 1002),
        (masked(0, b"a"), 1002),
        (masked(3, b""), 1002),
        (masked(9, b"", final=False), 1002),
        (masked(1, b"\xff"), 1007),
        (masked(2, TEXT), 1003),
        (masked(1, b"a" * 2000), 1009),
        (masked(1, b"a" * 600, final=False) + masked(0, b"a" * 600), 1009),
        (masked(8, b"\x03"), 1002),
    ],
)
async def test_frames_that_end_it(frames: bytes, code: int) -> None:
    """What is no sound frame, or no text, ends the connection with the code for it, and no turn begins."""
    text = models(NOWHERE, extra="limits: {body: 1KiB}")
    async with one_data_plane(text) as plane:
        script = (Send(upgrade()), ReadUntil(b"\r\n\r\n"), Send(frames), ReadToEnd())
        peer = await play_client(plane.port, *script)
        end = peer.received.partition(b"\r\n\r\n")[2]
        assert (end[0], int.from_bytes(end[2:4], "big")) == (0x88, code)
        assert plane.data_plane.active == 0


async def test_a_close_is_answered() -> None:
    """A Close gets one with the same code, behind what was said before it; a Ping gets its payload."""
    async with one_data_plane(models(NOWHERE)) as plane:
        frames = masked(9, b"payload") + masked(8, b"\x03\xe8bye")
        peer = await play_client(plane.port, Send(upgrade()), ReadUntil(b"\r\n\r\n"), Send(frames), ReadToEnd())
        assert peer.received.endswith(b"\r\n\r\n\x8a\x07payload\x88\x02\x03\xe8")


async def test_frames_behind_the_request() -> None:
    """Frames that come with the request, before its answer, are read behind it."""
    async with ScriptedServer(GOOD) as upstream, one_data_plane(patient(models(upstream.url))) as plane:
        peer = await play_client(plane.port, Send(upgrade() + masked(1, TEXT)), ReadUntil(b"completed"), Close())
        assert b"response.created" in peer.received


async def test_fields_of_a_turn() -> None:
    """A target gets the client's fields, but none that belongs to the handshake or names the transport."""
    async with ScriptedServer(GOOD) as upstream, one_data_plane(patient(models(upstream.url))) as plane:
        fields = b"openai-beta: responses_websockets=2026-02-06\r\nidempotency-key: one\r\nx-mine: kept\r\n"
        await play_client(plane.port, Send(upgrade(fields) + masked(1, TEXT)), ReadUntil(b"completed"), Close())
        head = upstream.peers[0].received.partition(b"\r\n\r\n")[0].lower()
        assert b"\r\nx-mine: kept" in head
        assert head.count(b"\r\ncontent-type: application/json") == 1
        for name in (b"sec-websocket", b"upgrade", b"openai-beta", b"idempotency-key", b"connection"):
            assert b"\r\n" + name not in head


async def test_messages_that_are_no_turns() -> None:
    """What is no turn gets an error, and the connection goes on."""
    async with (
        ScriptedServer(GOOD) as upstream,
        one_data_plane(patient(models(upstream.url))) as plane,
        opened(plane) as socket,
    ):
        for message, code, param in (
            ("nonsense", "malformed_json", None),
            ("[]", "malformed_json", None),
            ('{"type":"response.create","type":"x"}', "invalid_event", None),
            ('{"type":1}', "invalid_event", None),
            ("{}", "unsupported_event", "type"),
            ('{"type":"response.steer"}', "unsupported_event", "type"),
            (json.dumps(turn(background=True)), "unsupported_parameter", "background"),
            (json.dumps(turn(model="nothing")), "model_not_found", "model"),
            (json.dumps(turn(stream_options=1, MODEL="x")), "malformed_json", None),
        ):
            await socket.send(message)
            (refused,) = await answered(socket)
            assert (refused["type"], refused["error"]["code"], refused["error"]["param"]) == ("error", code, param)
            assert 400 <= refused["status"] < 500
        assert (await asked(socket))[-1]["type"] == "response.completed"
        assert len(bodies(upstream)) == 1


async def test_each_turn_is_limited() -> None:
    """A key's requests count by turns; the turn above them gets 429 with the fields of the limit."""
    text = models(NOWHERE).replace(NOWHERE, "{}") + keys(alice="requests_per_minute: 2, requests_burst: 2", bob="")
    async with (
        ScriptedServer(GOOD) as upstream,
        one_data_plane(patient(text.replace("{}", upstream.url))) as plane,
        opened(plane, "alice") as socket,
        opened(plane, "bob") as other,
    ):
        for _ in range(2):
            assert (await asked(socket))[-1]["type"] == "response.completed"
        (refused,) = await asked(socket)
        assert (refused["status"], refused["error"]["code"]) == (429, "rate_limit_exceeded")
        assert int(refused["error"]["headers"]["retry-after"]) >= 1
        assert (await asked(other))[-1]["type"] == "response.completed"
        (refused,) = await asked(other, text="more", previous_response_id="resp_unknown", model="nothing")
        assert refused["error"]["code"] == "model_not_found"


async def test_a_budget_that_is_used_up() -> None:
    """A turn of a key whose budget is used up gets 429, and no target is asked."""
    async with ScriptedServer(GOOD) as upstream:
        text = models(upstream.url).replace("/v1'", "/v1', prices: {'*': {input: 1, output: 100000}}")
        async with (
            one_data_plane(patient(text + keys(alice="budget: 0.15"))) as plane,
            opened(plane, "alice") as socket,
        ):
            for _ in range(2):
                assert (await asked(socket, max_output_tokens=1))[-1]["type"] == "response.completed"
            (refused,) = await asked(socket, max_output_tokens=1)
            assert (refused["status"], refused["error"]["code"]) == (429, "insufficient_quota")
            assert len(bodies(upstream)) == 2


async def test_a_key_is_shown_with_each_turn() -> None:
    """A key that is withdrawn gets no further turn; what its connection keeps is of no use to others."""
    async with ScriptedServer(GOOD) as upstream:
        text = patient(models(upstream.url))
        async with one_data_plane(text + keys(alice="", bob="")) as plane, opened(plane, "alice") as socket:
            assert (await asked(socket))[-1]["response"]["id"] == "resp_1"
            async with opened(plane, "bob") as other:
                await asked(other, text="mine", previous_response_id="resp_1")
                assert bodies(upstream)[-1]["input"] == "mine"  # nothing of the other key's conversation
                assert bodies(upstream)[-1]["previous_response_id"] == "resp_1"
            await plane.swap(text + keys(bob=""))
            (refused,) = await asked(socket)
            assert (refused["status"], refused["error"]["code"]) == (401, "invalid_api_key")
            assert clear("alice") not in json.dumps(refused)


async def drain(plane: OneDataPlane) -> None:
    """Let the data plane drain."""

    async def begin() -> None:
        plane.data_plane.drain()

    await plane.thread.run(begin())


async def test_a_drain() -> None:
    """The turn that runs is answered, those that wait are refused, and then the connection ends with 1001."""
    hold = asyncio.Event()
    slow = (ReadMessage(), Hold(hold), Send(sse(CREATED, DELTA, completed("resp_1"))))
    async with (
        ScriptedServer(slow) as upstream,
        one_data_plane(patient(models(upstream.url))) as plane,
        opened(plane) as socket,
        opened(plane) as idle,
    ):
        await socket.send(json.dumps(turn()))
        await upstream.wait_asked(1)
        await socket.send(json.dumps(turn(text="waits")))
        await socket.send(json.dumps(turn(background=True)))
        assert (await said(socket))["error"]["param"] == "background"  # so the one before has come
        await drain(plane)
        assert await closed(idle) == (1001, "this edge is stopping")
        hold.set()
        assert (await answered(socket))[-1]["type"] == "response.completed"
        assert (await said(socket))["error"]["code"] == "websocket_closing"
        assert await closed(socket) == (1001, "this edge is stopping")
        await until(lambda: plane.data_plane.connections == 0)


async def test_a_reload() -> None:
    """A reload leaves the connection alone; the next turn goes by it."""
    async with ScriptedServer(GOOD) as upstream, ScriptedServer(GOOD) as other:
        text = patient(models(upstream.url))
        async with one_data_plane(text) as plane, opened(plane) as socket:
            await asked(socket)
            await plane.swap(text.replace(upstream.url, other.url))
            assert (await asked(socket))[-1]["type"] == "response.completed"
        assert (len(bodies(upstream)), len(bodies(other))) == (1, 1)


async def test_its_age() -> None:
    """A connection that is too old says so, and ends; a turn that runs is answered first."""
    hold = asyncio.Event()
    slow = (ReadMessage(), Hold(hold), Send(sse(CREATED, DELTA, completed("resp_1"))))
    async with ScriptedServer(slow) as upstream:
        text = patient(models(upstream.url, extra="limits: {websocket_age: 1s}"))
        async with one_data_plane(text) as plane, opened(plane) as socket, opened(plane) as idle:
            await socket.send(json.dumps(turn()))
            assert (await said(idle))["error"]["code"] == "websocket_connection_limit_reached"
            assert await closed(idle) == (1001, "the connection is too old")
            hold.set()
            assert (await answered(socket))[-1]["type"] == "response.completed"
            assert (await said(socket))["error"]["code"] == "websocket_connection_limit_reached"
            assert await closed(socket) == (1001, "the connection is too old")


async def test_a_client_that_leaves() -> None:
    """Its turns are cancelled at their targets, and nothing of it is held any more."""
    script = (ReadMessage(), Send(sse(CREATED, DELTA, end=False)[:-1]), ReadToEnd())
    async with ScriptedServer(script) as upstream, one_data_plane(patient(models(upstream.url))) as plane:
        async with opened(plane) as socket:
            await socket.send(json.dumps(turn(text="x" * 1000)))
            await socket.send(json.dumps(turn(text="y" * 1000)))
            (peer,) = await upstream.wait_asked(1)
            socket.transport.abort()
        assert await peer.wait_end() in {"peer_closed", "peer_reset"}
        await until(lambda: plane.data_plane.active == 0 and plane.data_plane.connections == 0)
        assert plane.shared_state.read_worker(0)["counts"][WorkerCounter.W_BUFFERED] == 0


async def test_memory_is_given_back() -> None:
    """Conversations count as held while the connection is open, within limits.body, and no longer."""

    def held(plane: OneDataPlane) -> int:
        return int(plane.shared_state.read_worker(0)["counts"][WorkerCounter.W_BUFFERED])

    async with ScriptedServer(GOOD) as upstream:
        text = patient(models(upstream.url, extra="limits: {body: 8KiB}"))
        async with one_data_plane(text) as plane:
            async with opened(plane) as socket:
                await asked(socket, text="x" * 3000)
                await until(lambda: 3000 < held(plane) < 4000)
                await asked(socket, text="y" * 6000, previous_response_id="resp_1")  # too long for a body
                await until(lambda: held(plane) < 4000)
                (refused,) = await asked(socket, text="z" * 6000, previous_response_id="resp_1")
                assert refused["status"] == 413
            await until(lambda: held(plane) == 0)


async def test_a_silent_client() -> None:
    """Edge sends a Ping while nothing comes; a client that does not answer is given up."""
    extra = "limits: {keepalive_comment: 200ms, idle: 2s}"
    async with one_data_plane(models(NOWHERE, extra=extra)) as plane:
        peer = await play_client(plane.port, Send(upgrade()), ReadToEnd())
        assert peer.received.partition(b"\r\n\r\n")[2].startswith(b"\x89\x00")
        async with opened(plane) as socket:
            await asyncio.sleep(3.0)  # longer than idle: this client answers Pings
            (refused,) = await asked(socket, model="nothing")
            assert refused["error"]["code"] == "model_not_found"


async def test_its_record(tmp_path: Any) -> None:
    """Each turn has a record as a request has, and the opening one too."""
    extra = "telemetry: {sample: 100%}"
    async with ScriptedServer(GOOD) as upstream:
        text = patient(models(upstream.url, extra=extra)) + keys(alice="")
        async with one_data_plane(text, tmp_path) as plane:
            async with opened(plane, "alice") as socket:
                await asked(socket)
                await asked(socket)
            records = [record for record in await plane.recorded(3) if record.route]
            assert [(one.method, one.path, one.status, one.stream, one.key) for one in records] == [
                ("POST", PATH, 200, True, "alice")
            ] * 2
            assert {(one.prompt_tokens, one.output_tokens) for one in records} == {(5, 2)}
            assert len({one.request_id for one in records}) == 2


async def test_a_target_of_another_dialect() -> None:
    """A target that does not speak Responses answers turns too, and a conversation goes on there."""
    body = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": "hi"}, "finish_reason": None}],
    }
    stop = body | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    events = [b"data: " + json.dumps(one).encode() + b"\n\n" for one in (body, stop)] + [b"data: [DONE]\n\n"]
    script = (ReadMessage(), Send(sse(*events)), Again())
    async with ScriptedServer(script) as upstream:
        text = patient(models(upstream.url)).replace("/v1'", "/v1', capabilities: [chat]")
        async with one_data_plane(text) as plane, opened(plane) as socket:
            first = await asked(socket)
            assert (first[0]["type"], first[-1]["type"]) == ("response.created", "response.completed")
            # no provider keeps what was translated, whatever the turn says
            second = await asked(socket, text="more", store=True, previous_response_id=first[-1]["response"]["id"])
            assert second[-1]["type"] == "response.completed"
        assert [item["role"] for item in bodies(upstream)[1]["messages"]] == ["user", "assistant", "user"]


async def test_idle_ones_make_room() -> None:
    """A connection on which no turn runs gives its place to a new one; one that answers a turn keeps it."""
    hold = asyncio.Event()
    slow = (ReadMessage(), Hold(hold), Send(sse(CREATED, DELTA, completed("resp_1"))))
    async with ScriptedServer(slow) as upstream:
        text = patient(models(upstream.url, extra="limits: {connections: 2}"))
        async with one_data_plane(text) as plane, opened(plane) as socket, opened(plane) as idle:
            await socket.send(json.dumps(turn()))
            await upstream.wait_asked(1)
            async with opened(plane) as third:
                (refused,) = await asked(third, model="nothing")
                assert refused["error"]["code"] == "model_not_found"
                await asyncio.wait_for(idle.wait_closed(), 20)
                hold.set()
                assert (await answered(socket))[-1]["type"] == "response.completed"


async def test_the_age_of_a_listeners_connections() -> None:
    """Where a listener bounds the age of connections, a WebSocket is closed when no turn runs."""
    async with ScriptedServer(GOOD) as upstream:
        text = patient(models(upstream.url))
        text += '\nlisten: [{address: "127.0.0.1:0", max_connection_age: 1s, hosts: [edge]}]\n'
        async with one_data_plane(text) as plane, opened(plane) as socket:
            assert (await asked(socket))[-1]["type"] == "response.completed"
            assert await closed(socket) == (1001, "open another connection")


async def test_an_error_behind_pings() -> None:
    """A client that waits gets Pings, and an error behind them has its status."""
    slow = (ReadMessage(), Pause(0.8))
    async with ScriptedServer(slow) as upstream:
        text = patient(models(upstream.url, extra="limits: {keepalive_comment: 200ms}"))
        async with one_data_plane(text) as plane:
            script = (Send(upgrade() + masked(1, TEXT)), ReadUntil(b"\x89\x00"), ReadUntil(b"}}"), Close())
            peer = await play_client(plane.port, *script)
            message = peer.received[peer.received.index(b'{"type"') :]
            error = json.JSONDecoder().raw_decode(message.decode("latin-1"))[0]
            assert (error["type"], error["status"], error["error"]["code"]) == ("error", 503, "no_usable_target")
