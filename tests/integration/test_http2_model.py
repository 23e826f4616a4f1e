"""Models answer over HTTP/2 as over HTTP/1.1: complete, streamed, failed over, and with the same errors."""

from __future__ import annotations

import httpx
import pytest
from h2peer import FrameClient, request
from one_data_plane import DONE, HELLO, ROLE, STOP, STREAM, models, one_data_plane, sse, whole

from edge.sim.wire import Close, ReadMessage, ReadToEnd, ScriptedServer, Send

HTTP2 = pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
ASK = {"model": "chat", "messages": []}


def client_of(url: str, http2: bool) -> httpx.AsyncClient:
    """Return a client of one HTTP version only."""
    return httpx.AsyncClient(base_url=url, http1=not http2, http2=http2, timeout=10)


@HTTP2
async def test_a_whole_answer(http2: bool) -> None:
    """The answer and edge's fields do not depend on the HTTP version."""
    async with ScriptedServer((ReadMessage(), Send(whole()), ReadToEnd())) as upstream:
        async with one_data_plane(models(upstream.url)) as data_plane, client_of(data_plane.url, http2) as client:
            answer = await client.post("/v1/chat/completions", json=ASK, headers={"x-extra": "1"})
            assert answer.status_code == 200
            assert answer.json()["choices"][0]["message"]["content"] == "hello"
            assert answer.headers["x-edge-target"] == "p0/m"
            assert answer.headers["x-edge-attempts"] == "1"
        received = upstream.peers[0].received
        assert received.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: ")
        assert b"\r\nx-extra: 1\r\n" in received
        assert received.endswith(b'{"model":"m","messages":[]}')


@HTTP2
async def test_a_stream(http2: bool) -> None:
    """Events arrive as they were sent, all of them."""
    async with ScriptedServer((ReadMessage(), Send(sse(ROLE, HELLO, STOP, DONE)), ReadToEnd())) as upstream:
        async with one_data_plane(models(upstream.url)) as data_plane, client_of(data_plane.url, http2) as client:
            async with client.stream("POST", "/v1/chat/completions", json={**ASK, "stream": True}) as answer:
                assert answer.headers["content-type"] == "text/event-stream"
                assert b"".join([part async for part in answer.aiter_bytes()]) == ROLE + HELLO + STOP + DONE


@HTTP2
async def test_failover(http2: bool) -> None:
    """A failure of the first choice is not visible to the client."""
    async with ScriptedServer((ReadMessage(), Close())) as bad:
        async with ScriptedServer((ReadMessage(), Send(whole()), ReadToEnd())) as good:
            async with (
                one_data_plane(models(bad.url, good.url)) as data_plane,
                client_of(data_plane.url, http2) as client,
            ):
                answer = await client.post("/v1/chat/completions", json=ASK)
                assert (answer.status_code, answer.headers["x-edge-target"]) == (200, "p1/m")


@HTTP2
@pytest.mark.parametrize(
    ("path", "content", "status", "code"),
    [
        ("/v1/chat/completions", b"{", 400, "malformed_json"),
        ("/v1/chat/completions", b'{"model":"none"}', 404, "model_not_found"),
        ("/v1/chat/completions", b"", 400, "body_missing"),
        ("/v1/nothing", b"{}", 404, "unknown_path"),
    ],
)
async def test_errors(http2: bool, path: str, content: bytes, status: int, code: str) -> None:
    """Edge's own errors have the same status and body in both versions, and the connection goes on."""
    async with one_data_plane(models("http://127.0.0.1:1")) as data_plane, client_of(data_plane.url, http2) as client:
        for _ in range(2):
            answer = await client.request("POST", path, content=content or None)
            assert answer.status_code == status
            if content or status == 404:
                assert answer.json()["error"]["code"] == code


@HTTP2
async def test_a_stream_that_breaks(http2: bool) -> None:
    """A stream that dies after its first content ends in an error event without [DONE], and the framing ends well."""
    async with ScriptedServer((ReadMessage(), Send(sse(ROLE, HELLO, end=False)), Close())) as upstream:
        async with one_data_plane(models(upstream.url)) as data_plane, client_of(data_plane.url, http2) as client:
            taken = bytearray()

            async def take() -> None:
                async with client.stream("POST", "/v1/chat/completions", json={**ASK, "stream": True}) as answer:
                    async for part in answer.aiter_bytes():
                        taken.extend(part)

            await take()
            assert taken.startswith(ROLE + HELLO)
            assert b"stream_broken" in taken
            assert DONE not in taken


async def test_many_streams_of_models_on_one_connection() -> None:
    """Fifty concurrent answers on one connection reach their own requests."""
    once = sse(ROLE, HELLO, STOP, DONE).replace(b"\r\n", b"\r\nconnection: close\r\n", 1)
    async with ScriptedServer((ReadMessage(), Send(once), Close())) as upstream:
        async with one_data_plane(models(upstream.url)) as data_plane, FrameClient.connect(data_plane.port) as client:
            client.open_windows(2**20)
            for n in range(50):
                stream = 2 * n + 1
                length = ("content-length", str(len(STREAM)))
                client.send(client.headers(stream, request("POST", "/v1/chat/completions", "edge", length)))
                client.data(stream, STREAM, "END_STREAM")
            for n in range(50):
                assert await client.answer(2 * n + 1) == 200
                assert client.body(2 * n + 1) == ROLE + HELLO + STOP + DONE
