"""edge's own gRPC API reaches the same models and pools, with the same failover, as HTTP."""

from __future__ import annotations

import gzip

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from h2peer import FrameClient, request
from one_data_plane import DONE, HELLO, ROLE, SSE_HEAD, STOP, chunk, models, one_data_plane, sse, whole
from wires import over_http2

from edge.native import Outcome
from edge.sim.wire import Again, Close, ReadMessage, ReadToEnd, ScriptedServer, Send, refused_port
from edge.wire.edge.v1 import inference_pb2, inference_pb2_grpc

ANSWER = (
    b'{"id":"c1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}'
)
GOOD = (ReadMessage(), Send(whole(ANSWER)), Again())
GOOD_STREAM = (ReadMessage(), Send(sse(ROLE, HELLO, STOP, DONE)), Again())


def hello(model: str = "chat") -> inference_pb2.ChatRequest:
    """One user message."""
    message = inference_pb2.Message(role=inference_pb2.ROLE_USER, parts=[inference_pb2.Part(text="hi")])
    return inference_pb2.ChatRequest(model=model, messages=[message])


async def test_chat() -> None:
    """A chat fails over as over HTTP, names the target, and has usage."""
    with refused_port() as port:
        async with (
            ScriptedServer(GOOD) as backup,
            one_data_plane(models(f"http://127.0.0.1:{port}", backup.url)) as data_plane,
        ):
            async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
                answer = await inference_pb2_grpc.InferenceStub(channel).Chat(hello(), timeout=20)
        assert "hello" in str(answer)
        assert "p1/m" in str(answer)
        sent = backup.peers[0].received
        assert sent.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
        assert b"application/json" in sent
        assert b"grpc" not in sent
        assert b'"model":"m"' in sent.replace(b" ", b"")


async def test_chat_stream() -> None:
    """A stream arrives chunk by chunk and ends with OK."""
    async with ScriptedServer(GOOD_STREAM) as primary, one_data_plane(models(primary.url)) as data_plane:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
            stub = inference_pb2_grpc.InferenceStub(channel)
            chunks = [piece async for piece in stub.ChatStream(hello(), timeout=20)]
        assert "hello" in "".join(str(piece) for piece in chunks)
        assert b'"stream":true' in primary.peers[0].received.replace(b" ", b"")


async def test_broken_stream() -> None:
    """A stream that breaks after its first content ends with an error status, never with OK."""
    script = (ReadMessage(), Send(SSE_HEAD + chunk(ROLE) + chunk(HELLO)), Close())
    async with ScriptedServer(script) as primary, one_data_plane(models(primary.url)) as data_plane:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
            call = inference_pb2_grpc.InferenceStub(channel).ChatStream(hello(), timeout=20)
            seen = 0
            with pytest.raises(grpc.aio.AioRpcError) as caught:  # noqa: PT012 - the loop is the statement
                async for _ in call:
                    seen += 1
        assert seen >= 1
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "broke off" in (caught.value.details() or "")


@pytest.mark.parametrize(
    ("script", "model", "code"),
    [
        (
            (ReadMessage(), Send(whole(b'{"error":{"message":"too long"}}', b"400 Bad")), Again()),
            "chat",
            "INVALID_ARGUMENT",
        ),
        (GOOD, "nope", "NOT_FOUND"),
        (GOOD, "", "INVALID_ARGUMENT"),
        ((ReadMessage(), Send(whole(b"{}", b"503 Busy")), Again()), "chat", "UNAVAILABLE"),
        ((ReadMessage(), Send(whole(b'{"id":"x"}')), Again()), "chat", "UNAVAILABLE"),
        ((ReadToEnd(),), "chat", "DEADLINE_EXCEEDED"),
    ],
)
async def test_errors(script: tuple[object, ...], model: str, code: str) -> None:
    """The statuses for gRPC callers correspond to those of HTTP."""
    text = models("http://127.0.0.1:1")
    async with ScriptedServer(script) as primary:  # type: ignore[arg-type]
        text = models(primary.url).replace("total: 5s", "total: 1s").replace("first_byte: 500ms", "first_byte: 3s")
        async with one_data_plane(text) as data_plane:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await inference_pb2_grpc.InferenceStub(channel).Chat(hello(model), timeout=20)
        assert caught.value.code().name == code, caught.value.details()


def odd(content: bytes, kind: bytes = b"application/json", fields: bytes = b"") -> tuple[object, ...]:
    """Return an upstream that answers with this content of this type."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: " + kind + b"\r\n" + fields
    return ReadMessage(), Send(head + b"content-length: %d\r\n\r\n" % len(content) + content), Again()


EVENTS = b"".join((ROLE, HELLO, STOP, DONE))
ZIPPED = b"content-encoding: compress\r\n"  # a coding that edge does not know


@pytest.mark.parametrize(
    ("streamed", "script"),
    [
        (False, odd(gzip.compress(ANSWER), fields=ZIPPED)),
        (True, odd(gzip.compress(EVENTS), b"text/event-stream", ZIPPED)),
        (False, odd(EVENTS, b"text/event-stream")),
        (True, odd(ANSWER)),
        (False, odd(ANSWER.replace(b"hello", b"x" * 200_000))),
    ],
    ids=["zipped", "zipped-events", "events", "whole", "large"],
)
async def test_what_cannot_be_told_is_asked_elsewhere(streamed: bool, script: tuple[object, ...]) -> None:
    """An answer in the wrong form is a failure before the commit point, and never an empty OK."""
    good = GOOD_STREAM if streamed else GOOD
    async with ScriptedServer(script) as first, ScriptedServer(good) as second:  # type: ignore[arg-type]
        async with one_data_plane(models(first.url, second.url, extra="limits: {max_response: 100KiB}")) as data_plane:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
                stub = inference_pb2_grpc.InferenceStub(channel)
                if streamed:
                    text = "".join([str(chunk) async for chunk in stub.ChatStream(hello(), timeout=10)])
                else:
                    text = str(await stub.Chat(hello(), timeout=10))
            assert "hello" in text
            assert data_plane.outcomes("p0/m")[Outcome.FAIL_MALFORMED] == 1


@pytest.mark.parametrize(("second", "code"), [(b"\1\0\0\0\1x", b"12"), (b"\0\0\0\x20\0" + b"y" * 8192, b"8")])
async def test_a_conversation_ends_with_its_status(second: bytes, code: bytes) -> None:
    """Streaming methods of edge end with a status, even after messages."""
    ask = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    fields = [("content-type", "application/grpc"), ("te", "trailers")]
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    async with ScriptedServer(GOOD) as primary, one_data_plane(models(primary.url)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            client.send(client.headers(1, request("POST", path, "edge", *fields)))
            client.data(1, b"\0" + len(ask).to_bytes(4, "big") + ask)
            await client.until(lambda: client.body(1), 10)
            client.data(1, second)
            await client.until(lambda: client.ended(1), 10)
            assert dict(client.fields[1][-1])["grpc-status"] == code.decode()


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("application/grpc", "application/grpc"),
        ("application/grpc+proto", "application/grpc+proto"),
        ("application/grpc+json", "application/grpc+json"),
        ("application/grpc+" + "x" * 200, "application/grpc"),
    ],
)
async def test_an_error_of_edge_has_the_format_that_was_asked(asked: str, told: str) -> None:
    """A call that edge refuses is answered in the content type of the call: clients compare it."""
    async with ScriptedServer(GOOD) as primary, one_data_plane(models(primary.url)) as data_plane:
        async with FrameClient.connect(data_plane.port) as client:
            fields = request("POST", "/nobody.Knows/This", "localhost", ("content-type", asked), ("te", "trailers"))
            client.send(client.headers(1, fields))
            await client.until(lambda: client.ended(1), 10)
            said = dict(client.fields[1][0])
    assert (said["content-type"], said["grpc-status"]) == (told, "12")


@pytest.mark.parametrize(("wanted", "said"), [("soon", b"grpc-timeout"), ("0n", b"deadline")])
async def test_a_deadline_that_is_none_or_over(wanted: str, said: bytes) -> None:
    """A malformed timeout is refused by name; with no time left no target is tried."""
    fields = f"content-type: application/grpc\r\nte: trailers\r\ngrpc-timeout: {wanted}\r\n\r\n"
    message = hello().SerializeToString()
    data = b"POST /edge.v1.Inference/Chat HTTP/1.1\r\nhost: edge\r\n" + fields.encode()
    async with ScriptedServer(GOOD) as primary, one_data_plane(models(primary.url)) as data_plane:
        told = await over_http2(data_plane.port, data + b"\0" + len(message).to_bytes(4, "big") + message, None, 10)
        assert b"grpc-status: " + (b"3" if wanted == "soon" else b"4") in told.received
        assert said in told.received
        assert not primary.peers


async def test_what_edge_answers_itself() -> None:
    """The list of models, health and reflection are served on the client port."""
    async with ScriptedServer(GOOD) as primary, one_data_plane(models(primary.url)) as data_plane:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{data_plane.port}") as channel:
            listed = await inference_pb2_grpc.InferenceStub(channel).ListModels(
                inference_pb2.ListModelsRequest(), timeout=5
            )
            assert "chat" in str(listed)
            stub = health_pb2_grpc.HealthStub(channel)
            health = await stub.Check(health_pb2.HealthCheckRequest(), timeout=20)
            assert health.status == health_pb2.HealthCheckResponse.SERVING
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.Check(health_pb2.HealthCheckRequest(service="no.Such"), timeout=20)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            watch = stub.Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            watch.cancel()
            reflect = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo
            ask = [
                reflection_pb2.ServerReflectionRequest(list_services=""),
                reflection_pb2.ServerReflectionRequest(file_containing_symbol="edge.v1.Inference"),
            ]
            told = [answer async for answer in reflect(iter(ask), timeout=20)]
            names = [service.name for service in told[0].list_services_response.service]
            assert "edge.v1.Inference" in names
            assert told[1].file_descriptor_response.file_descriptor_proto
