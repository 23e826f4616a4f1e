"""The Python client sends the given request and returns the response, synchronously and asynchronously."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
import trustme
from one_data_plane import models, one_data_plane

from edge.client import AsyncClient, Client, connect, connect_async, message, new_text, text
from edge.sim.asked import Pace
from edge.sim.provider import ProviderSpec, SimProvider
from edge.wire.edge.v1 import inference_pb2 as wire
from edge.wire.edge.v1 import inference_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LARGE = 8 << 20  # twice what gRPC takes where nobody says otherwise


class Echo(inference_pb2_grpc.InferenceServicer):
    """Records requests, and answers briefly."""

    def __init__(self) -> None:
        self.request: Any = None
        self.metadata: dict[str, Any] = {}
        self.left = asyncio.Event()

    def remember(self, request: Any, told: Any) -> None:
        """Record the request."""
        self.request, self.metadata = request, dict(told.invocation_metadata())

    async def Chat(self, request: Any, told: Any) -> Any:  # noqa: N802  # the proto's
        self.remember(request, told)
        content = "x" * LARGE if request.user == "large" else "one"
        message = wire.Message(role=wire.ROLE_ASSISTANT, parts=[wire.Part(text=content), wire.Part(text="two")])
        return wire.ChatResponse(choices=[wire.Choice(message=message)])

    async def ChatStream(self, request: Any, told: Any) -> AsyncIterator[Any]:  # noqa: N802
        self.remember(request, told)
        try:
            while True:
                deltas = [wire.ChoiceDelta(index=1, text="no"), wire.ChoiceDelta(text="a")]
                yield wire.ChatChunk(choices=deltas)
                await asyncio.sleep(0.01)
        finally:
            self.left.set()

    async def ListModels(self, request: Any, told: Any) -> Any:  # noqa: N802
        self.remember(request, told)
        return wire.ListModelsResponse(models=[wire.Model(id="m", owned_by="edge")])


class Running:
    """A server, in plain and over TLS."""

    def __init__(self) -> None:
        self.echo = Echo()
        self.authority = trustme.CA()
        self.ca = self.authority.cert_pem.bytes()

    async def start(self) -> None:
        """Listen."""
        own = self.authority.issue_cert("localhost")
        pair = (own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes())
        self.server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
        inference_pb2_grpc.add_InferenceServicer_to_server(self.echo, self.server)
        self.plain = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        port = self.server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        self.secure = f"localhost:{port}"
        await self.server.start()


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """Run one."""
    running = Running()
    await running.start()
    yield running
    await running.server.stop(None)


OPTIONS: dict[str, Any] = {
    "tools": [wire.Tool(function=wire.Function(name="f"))],
    "tool_choice": wire.ToolChoice(function="f"),
    "parallel_tool_calls": False,
    "sampling": wire.Sampling(temperature=0.5),
    "response_format": wire.ResponseFormat(json_object=wire.ResponseFormat.JsonObject()),
    "stop": ["END"],
    "user": "u",
    "extra": {"top_k": 4},
}


async def test_everything_that_is_said_is_sent(running: Running) -> None:
    """Model, messages, every option and the key arrive; a plain text is the user's message."""
    async with connect_async(running.plain, key="secret") as client:
        answer = await client.chat("m", [message("Be brief.", wire.ROLE_SYSTEM), message("Hi")], **OPTIONS)
        assert text(answer) == "onetwo"
        messages = [message("Be brief.", wire.ROLE_SYSTEM), message("Hi")]
        expected = wire.ChatRequest(model="m", messages=messages, **OPTIONS)
        assert running.echo.request == expected
        assert running.echo.metadata["authorization"] == "Bearer secret"
        await client.chat("m", "Hi")
        assert running.echo.request == wire.ChatRequest(model="m", messages=[message("Hi", wire.ROLE_USER)])
        assert [model.id for model in await client.models()] == ["m"]
    async with connect_async(running.plain) as client:
        await client.models()
    assert "authorization" not in running.echo.metadata


async def test_every_field_of_a_request_can_be_said() -> None:
    """The client has every field of the proto."""
    fields = set(wire.ChatRequest.DESCRIPTOR.fields_by_name)
    assert fields == {"model", "messages", *OPTIONS}


async def test_who_stops_listening_frees_the_server(running: Running) -> None:
    """A stream that is left early is cancelled on the server; only the first choice is returned as text."""
    async with connect_async(running.plain) as client:
        chunks = client.chat_stream("m", "Hi")
        assert [new_text(await anext(chunks)) for _ in range(2)] == ["a", "a"]
        await chunks.aclose()  # type: ignore[attr-defined]  # it is a generator
        await asyncio.wait_for(running.echo.left.wait(), 60)


async def test_waiting_calls(running: Running) -> None:
    """The synchronous client does the same, and cancels in the same way."""

    def talk() -> tuple[str, list[str], list[str]]:
        with connect(running.plain, key="k") as client:
            whole = text(client.chat("m", "Hi", user="u"))
            chunks = client.chat_stream("m", "Hi")
            pieces = [new_text(next(chunks)) for _ in range(2)]
            chunks.close()  # type: ignore[attr-defined]  # it is a generator
            return whole, pieces, [model.id for model in client.models()]

    assert await asyncio.to_thread(talk) == ("onetwo", ["a", "a"], ["m"])
    assert running.echo.metadata["authorization"] == "Bearer k"
    await asyncio.wait_for(running.echo.left.wait(), 60)


async def test_large_answers(running: Running) -> None:
    """An answer larger than gRPC's default limit arrives."""
    async with connect_async(running.plain) as client:
        assert len(text(await client.chat("m", "Hi", user="large"))) == LARGE + len("two")


async def test_tls(running: Running) -> None:
    """The given certificates replace the system's, which do not trust this server."""
    async with connect_async(running.secure, ca=running.ca) as client:
        assert [model.id for model in await client.models(timeout_s=5)] == ["m"]
    async with connect_async(running.secure, tls=True) as client:
        with pytest.raises(grpc.RpcError) as refused:
            await client.models(timeout_s=5)
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE

    def talk() -> list[str]:
        with connect(running.secure, ca=running.ca) as client:
            return [model.id for model in client.models(timeout_s=5)]

    assert await asyncio.to_thread(talk) == ["m"]


def test_an_answer_without_choices_has_no_text() -> None:
    """An answer without choices gives an empty text."""
    assert text(wire.ChatResponse()) == ""
    assert new_text(wire.ChatChunk()) == ""


@pytest.mark.parametrize("name", ["chat", "chat_stream", "models", "close"])
def test_both_clients_are_asked_alike(name: str) -> None:
    """Both clients have the same methods with the same arguments."""
    one, two = (inspect.signature(getattr(kind, name)) for kind in (Client, AsyncClient))
    assert str(one.replace(return_annotation=None)) == str(two.replace(return_annotation=None))


async def test_through_edge() -> None:
    """Against a real data plane: an answer, a stream, the models, and an error's message."""
    async with (
        SimProvider(ProviderSpec(pace=Pace(ttft_s=0.01, tps=0, tokens=12))) as provider,
        one_data_plane(models(provider.url)) as data_plane,
        connect_async(f"127.0.0.1:{data_plane.port}") as client,
    ):
        whole = await client.chat("chat", "Hi", timeout_s=10)
        assert whole.answered.target == "p0/m"
        assert whole.usage.output_tokens > 0
        chunks = [chunk async for chunk in client.chat_stream("chat", "Hi", timeout_s=10)]
        assert len("".join(map(new_text, chunks)).split()) == len(text(whole).split())
        assert chunks[0].answered.target == "p0/m"
        assert chunks[-1].usage.output_tokens == whole.usage.output_tokens
        assert [model.id for model in await client.models(timeout_s=5)] == ["chat", "p0/m"]
        bare = wire.Message(parts=[wire.Part(text="who says this?")])
        with pytest.raises(grpc.RpcError) as refused:
            await client.chat("chat", [bare], timeout_s=5)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "messages[0].role" in refused.value.details()
