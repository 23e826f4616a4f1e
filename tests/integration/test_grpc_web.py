"""Clients of gRPC-Web call gRPC services through edge, over HTTP/1.1 and HTTP/2, in binary and in text."""

from __future__ import annotations

import base64
import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import pytest
from h2peer import Call, Upstream, service
from one_data_plane import OneDataPlane, one_data_plane
from soon import until

from edge.sim.service import ServiceSpec, SimService
from edge.sim.wire import Close, ReadUntil, ScriptedServer, Send, refused_port
from edge.wire.edge.sim.v1 import service_pb2
from edge.wire.grpc.testing import test_pb2
from edge.wire.helloworld import helloworld_pb2
from native.codec.grpc import frame_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAGE = "https://app.example"
LISTEN = f'\nlisten: [{{address: "127.0.0.1:0", cors: ["{PAGE}"], hosts: [edge]}}]\n'
HELLO = "/helloworld.Greeter/SayHello"
STREAM = "/helloworld.Greeter/SayHelloStreamReply"


class Reply(NamedTuple):
    """A response of gRPC-Web: its HTTP part, its messages, and the trailers in its body."""

    response: httpx.Response
    messages: list[bytes]
    trailers: dict[str, str]

    def greetings(self) -> list[str]:
        """Return what was said."""
        return [helloworld_pb2.HelloReply.FromString(message).message for message in self.messages]


def read_body(response: httpx.Response) -> Reply:
    """Read the frames of a body; the last one must be the trailers."""
    body = response.content
    if response.headers["content-type"].startswith("application/grpc-web-text"):
        # each flush may end with padding
        body = b"".join(base64.b64decode(body[at : at + 4], validate=True) for at in range(0, len(body), 4))
    messages = []
    while body:
        flag, size = body[0], int.from_bytes(body[1:5], "big")
        content, body = body[5 : 5 + size], body[5 + size :]
        assert len(content) == size
        if flag == 0x80:
            assert body == b""
            pairs = [line.split(":", 1) for line in content.decode().split("\r\n") if line]
            return Reply(response, messages, {name: value.strip() for name, value in pairs})
        messages.append(content)
    raise AssertionError("the body has no trailers")


async def call(client: httpx.AsyncClient, path: str, message: bytes, text: bool = False, **fields: str) -> Reply:
    """Make a call with one message, in binary or in text."""
    kind = "application/grpc-web-text" if text else "application/grpc-web+proto"
    body = frame_message(message)
    if text:
        body = base64.b64encode(body[:4]) + base64.b64encode(body[4:])  # padded twice
    headers = {"content-type": kind, "accept": kind, "x-grpc-web": "1", "x-user-agent": "grpc-web-test"}
    headers |= {name.replace("_", "-"): value for name, value in fields.items()}
    return read_body(await client.post(path, content=body, headers=headers))


def hello(name: str = "you") -> bytes:
    """Return a request of the Greeter."""
    return helloworld_pb2.HelloRequest(name=name).SerializeToString()


def greeter(*addresses: str, extra: str = "") -> str:
    """Return configuration text: the simulated service's two services over these addresses."""
    targets = ", ".join(f'"{address}"' for address in addresses)
    return f"""
services:
  greeter: {{match: {{grpc: helloworld.Greeter}}, targets: [{targets}]{extra}}}
  testing: {{match: {{grpc: grpc.testing.TestService}}, targets: [{targets}]{extra}}}
{LISTEN}"""


@contextlib.asynccontextmanager
async def web_client(data_plane: OneDataPlane, http2: bool) -> AsyncIterator[httpx.AsyncClient]:
    """A client of one version of HTTP."""
    async with httpx.AsyncClient(base_url=data_plane.url, http1=not http2, http2=http2, timeout=10) as client:
        yield client


@pytest.fixture(params=[(h2, text) for h2 in (False, True) for text in (False, True)], ids=str)
async def web(request: pytest.FixtureRequest) -> AsyncIterator[tuple[SimService, httpx.AsyncClient, bool]]:
    """A simulated service behind edge, a client, and whether it writes text."""
    http2, text = request.param
    async with SimService(ServiceSpec(name="s")) as sim, one_data_plane(greeter(sim.address)) as data_plane:
        async with web_client(data_plane, http2) as client:
            yield sim, client, text


Web = tuple[SimService, httpx.AsyncClient, bool]


async def test_a_unary_call(web: Web) -> None:
    """A call returns its message, its status in the body, and the fields that name the target."""
    sim, client, text = web
    told = await call(client, HELLO, hello(), text, origin=PAGE)
    assert told.greetings() == ["Hello you, from s"]
    assert told.trailers["grpc-status"] == "0"
    headers = told.response.headers
    assert told.response.status_code == 200
    assert headers["content-type"].startswith(f"application/grpc-web{'-text' if text else '+proto'}")
    assert (headers["access-control-allow-origin"], headers["x-edge-attempts"]) == (PAGE, "1")
    assert {"grpc-status", "grpc-message"} <= set(headers["access-control-expose-headers"].split(", "))
    assert "grpc-status" not in headers
    assert headers["x-edge-target"] == f"greeter/{sim.address}"


async def test_a_streamed_answer(web: Web) -> None:
    """Every message of a stream comes, then the trailers."""
    _, client, text = web
    told = await call(client, STREAM, hello(), text)
    assert told.greetings() == ["Hello you, from s"] * 3
    assert told.trailers["grpc-status"] == "0"


async def test_metadata_and_trailers_pass(web: Web) -> None:
    """Metadata comes back in the head, trailing metadata in the body."""
    _, client, text = web
    fields = {"x_grpc_test_echo_initial": "begin", "x_grpc_test_echo_trailing_bin": "q6ur"}
    path = "/grpc.testing.TestService/UnaryCall"
    told = await call(client, path, test_pb2.SimpleRequest(response_size=100_000).SerializeToString(), text, **fields)
    assert len(test_pb2.SimpleResponse.FromString(told.messages[0]).payload.body) == 100_000
    assert told.response.headers["x-grpc-test-echo-initial"] == "begin"
    assert told.trailers["x-grpc-test-echo-trailing-bin"].rstrip("=") == "q6ur"


async def test_a_status_of_the_service(web: Web) -> None:
    """A call that fails without a message says so in the body, not in the head alone."""
    _, client, text = web
    asked = test_pb2.SimpleRequest(response_status=test_pb2.EchoStatus(code=9, message="not now, \u00e9"))
    told = await call(client, "/grpc.testing.TestService/UnaryCall", asked.SerializeToString(), text)
    assert told.messages == []
    assert (told.trailers["grpc-status"], told.trailers["grpc-message"]) == ("9", "not now, %C3%A9")


async def test_a_deadline(web: Web) -> None:
    """grpc-timeout bounds the call; the end is DEADLINE_EXCEEDED in the body."""
    sim, client, text = web
    await sim.switch(service_pb2.Fault(latency_s=5))
    told = await call(client, HELLO, hello(), text, grpc_timeout="200m")
    assert told.trailers["grpc-status"] == "4"


async def test_errors_of_edge(web: Web) -> None:
    """What edge itself refuses has the framing of gRPC-Web, and a page may read it."""
    _, client, text = web
    told = await call(client, "/no.such.Service/Call", b"", text, origin=PAGE)
    assert told.response.status_code == 200
    assert told.messages == []
    assert told.trailers["grpc-status"] == "12"
    assert told.trailers["grpc-message"]
    assert told.response.headers["access-control-allow-origin"] == PAGE
    assert told.response.headers["x-edge-request-id"]


async def test_edges_own_calls(web: Web) -> None:
    """A call that edge answers itself is answered in gRPC-Web too."""
    _, client, text = web
    told = await call(client, "/grpc.health.v1.Health/Check", b"", text)
    assert (told.messages, told.trailers["grpc-status"]) == ([b"\x08\x01"], "0")


async def test_a_preflight(web: Web) -> None:
    """A browser learns that it may send gRPC-Web's fields; another origin learns nothing."""
    _, client, _ = web
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type,x-grpc-web"}
    allowed = await client.options(HELLO, headers={"origin": PAGE, **asked})
    assert allowed.status_code in (200, 204)
    assert allowed.headers["access-control-allow-origin"] == PAGE
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert allowed.headers["access-control-allow-headers"] == "content-type,x-grpc-web"
    exposed = allowed.headers["access-control-expose-headers"].split(", ")
    assert {"grpc-status", "grpc-message"} <= set(exposed)
    refused = await client.options(HELLO, headers={"origin": "https://other.example", **asked})
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("http2", [False, True])
async def test_no_target_is_left(http2: bool) -> None:
    """UNAVAILABLE comes in the body when nothing listens."""
    with refused_port() as port:
        async with one_data_plane(greeter(f"127.0.0.1:{port}")) as data_plane, web_client(data_plane, http2) as client:
            told = await call(client, HELLO, hello(), True)
    assert told.trailers["grpc-status"] == "14"


@pytest.mark.parametrize("http2", [False, True])
async def test_a_call_that_breaks_off(http2: bool) -> None:
    """A backend that dies after a message leaves UNAVAILABLE in the trailers of the body."""

    async def answer(call: Call) -> None:
        await call.body()
        await call.head(200, ("content-type", "application/grpc"))
        await call.data(frame_message(b"one"))
        call.wire.writer.transport.abort()

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address, extra=LISTEN)) as data_plane:
        async with web_client(data_plane, http2) as client:
            told = await call(client, HELLO, hello())
    assert told.messages == [b"one"]
    assert told.trailers["grpc-status"] == "14"


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("body", [b"AAAA!AAA", b"AAA", b"A===", b"AA=A"])
async def test_a_body_that_is_no_base64(http2: bool, body: bytes) -> None:
    """INVALID_ARGUMENT, no call at the service, and the next call works."""
    async with SimService(ServiceSpec(name="s")) as sim, one_data_plane(greeter(sim.address)) as data_plane:
        async with web_client(data_plane, http2) as client:
            kind = {"content-type": "application/grpc-web-text"}
            told = read_body(await client.post(HELLO, content=body, headers=kind))
            assert (told.messages, told.trailers["grpc-status"]) == ([], "3")
            assert "base64" in told.trailers["grpc-message"]
            assert (await call(client, HELLO, hello(), True)).trailers["grpc-status"] == "0"
            await until(lambda: data_plane.data_plane.active == 0)


async def test_the_accept_field_chooses_the_form() -> None:
    """A binary request may have its answer in text."""
    async with SimService(ServiceSpec(name="s")) as sim, one_data_plane(greeter(sim.address)) as data_plane:
        async with web_client(data_plane, http2=False) as client:
            told = await call(client, HELLO, hello(), accept="application/grpc-web-text")
    assert told.response.headers["content-type"] == "application/grpc-web-text+proto"
    assert told.greetings() == ["Hello you, from s"]


async def test_an_answer_that_is_no_grpc_passes() -> None:
    """A service that answers with a page, as a proxy before it may, is relayed as it is."""

    async def answer(call: Call) -> None:
        await call.body()
        await call.head(404, ("content-type", "text/plain"))
        await call.data(b"not here", end=True)

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address, extra=LISTEN)) as data_plane:
        async with web_client(data_plane, http2=False) as client:
            headers = {"content-type": "application/grpc-web-text"}
            told = await client.post(HELLO, content=base64.b64encode(frame_message(b"")), headers=headers)
    assert (told.status_code, told.content) == (404, b"not here")


async def test_a_service_of_http1_gets_the_request_as_it_is() -> None:
    """A target that speaks HTTP/1.1 is a translator of gRPC-Web itself: nothing is changed for it."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc-web-text\r\ncontent-length: 4\r\n\r\nAAAA"
    async with ScriptedServer((ReadUntil(b"\r\n\r\nAAAA"), Send(answer), Close())) as upstream:
        text = service(upstream.address, protocol="http1", extra=LISTEN)
        async with one_data_plane(text) as data_plane, web_client(data_plane, http2=False) as client:
            headers = {"content-type": "application/grpc-web-text"}
            told = await client.post(HELLO, content=b"AAAA", headers=headers)
        asked = bytes(upstream.peers[0].received)
    assert (told.headers["content-type"], told.content) == ("application/grpc-web-text", b"AAAA")
    assert b"content-type: application/grpc-web-text" in asked


async def test_the_service_sees_grpc() -> None:
    """The service is sent application/grpc, the caller's metadata and what is left of the deadline."""
    seen: dict[str, Any] = {}

    async def answer(call: Call) -> None:
        seen.update(call.fields)
        seen["body"] = await call.body()
        await call.head(200, ("content-type", "application/grpc"), ("grpc-status", "0"), end=True)

    async with Upstream(answer) as upstream, one_data_plane(service(upstream.address, extra=LISTEN)) as data_plane:
        async with web_client(data_plane, http2=False) as client:
            told = await call(client, HELLO, hello(), True, grpc_timeout="5S", x_mine="1")
    assert told.trailers == {"grpc-status": "0"}
    assert (seen["content-type"], seen["te"], seen["x-mine"]) == ("application/grpc", "trailers", "1")
    assert "x-grpc-web" not in seen
    assert seen["grpc-timeout"].endswith(("m", "u", "n"))
    assert seen["body"] == frame_message(hello())
