"""What a connection repeats is not looked up again, and yet nothing that has ended is believed on it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from issuer import NAME, Issuer
from one_data_plane import models, one_data_plane, post, whole

from edge.admission.keys import new_key, sha256_of
from edge.admission.signing_keys import read_keys
from edge.sim.wire import Again, ReadMessage, ScriptedServer, Send
from edge.terms.snapshot import SigningKeys
from native.state.callers import Callers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from one_data_plane import OneDataPlane

SOURCE = "https://id.example/keys"
ANSWER = (
    b'{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":'
    b'"assistant","content":"hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,'
    b'"total_tokens":4}}'
)
GOOD = (ReadMessage(), Send(whole(ANSWER)), Again())
KEY, OTHER = new_key(), new_key()
AUTH = f'auth: {{jwt: [{{issuer: "{NAME}", jwks: "{SOURCE}", audience: edge}}]}}\n'


def keys(*named: tuple[str, str]) -> str:
    """Return the configuration of keys by (name, key)."""
    return "keys:\n" + "".join(f"  - {{name: {name}, sha256: {sha256_of(key)}}}\n" for name, key in named)


class Connection:
    """One connection of a client, on which requests follow each other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, credential: str, more: bytes = b"") -> int:
        """Send a chat request; return the status of its answer, which is read to its end."""
        return await self.send(post(fields=f"authorization: Bearer {credential}\r\n".encode() + more))

    async def send(self, request: bytes) -> int:
        """Send a request; return the status of its answer, which is read to its end."""
        self.writer.write(request)
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)
        size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
        await asyncio.wait_for(self.reader.readexactly(size), 20)
        return int(head.split(b" ", 2)[1])


@contextlib.asynccontextmanager
async def connected(plane: OneDataPlane) -> AsyncIterator[Connection]:
    """Open a connection that is kept alive."""
    place = urlsplit(plane.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def test_a_withdrawn_key_ends_on_an_open_connection() -> None:
    """A key is known as long as the Snapshot has it, and another key in its place is told from it."""
    async with (
        ScriptedServer(GOOD) as server,
        one_data_plane(models(server.url, extra=keys(("a", KEY), ("b", OTHER)))) as plane,
    ):
        for wrong in (KEY[:-1] + "_", new_key()):
            async with connected(plane) as client:  # a refusal before the body has come ends the connection
                assert [await client.ask(KEY) for _ in range(4)] == [200] * 4
                assert await client.ask(OTHER) == 200
                assert [await client.ask(KEY) for _ in range(4)] == [200] * 4
                assert await client.ask(wrong) == 401
        async with connected(plane) as client, connected(plane) as other:
            assert [await client.ask(KEY) for _ in range(4)] == [200] * 4
            assert [await other.ask(OTHER) for _ in range(4)] == [200] * 4
            await plane.swap(models(server.url, extra=keys(("b", OTHER))))
            assert await client.ask(KEY) == 401
            assert await other.ask(OTHER) == 200


async def test_an_idle_connection_keeps_no_table_of_keys() -> None:
    """What is known of a connection's caller does not keep all keys of a Snapshot that is gone."""
    async with (
        ScriptedServer(GOOD) as server,
        one_data_plane(models(server.url, extra=keys(("a", KEY)))) as plane,
        connected(plane) as client,
    ):
        assert [await client.ask(KEY) for _ in range(4)] == [200] * 4
        gc.collect()
        before = {id(each) for each in gc.get_objects() if isinstance(each, Callers)}
        await plane.swap(models(server.url, extra=keys(("b", OTHER))))
        gc.collect()
        assert len([each for each in gc.get_objects() if isinstance(each, Callers)]) <= len(before)
        assert await client.ask(KEY) == 401


async def test_a_token_ends_on_an_open_connection() -> None:
    """A verified token is refused from exp on, however often the connection has shown it."""
    issuer = Issuer()
    extra = f"{AUTH}keys:\n  - {{name: team-a, identities: [ann@id.example]}}\n"
    signing = {SOURCE: SigningKeys(read_keys(issuer.key_set()), time.time())}
    async with (
        ScriptedServer(GOOD) as server,
        one_data_plane(models(server.url, extra=extra), signing=signing) as plane,
        connected(plane) as client,
    ):
        end = time.time() + 2
        token = issuer.token(exp=int(end) + 1)
        assert [await client.ask(token) for _ in range(4)] == [200] * 4
        while (code := await client.ask(token)) == 200:
            assert time.time() < end + 10
            await asyncio.sleep(0.1)
        assert (code, time.time() >= int(end) + 1) == (401, True)


async def test_a_timeout_is_read_each_time() -> None:
    """A deadline in the fields of a request counts from that request, on a connection that repeats it."""
    late = (ReadMessage(), Send(whole(ANSWER)), Again())
    async with (
        ScriptedServer(late) as server,
        one_data_plane(models(server.url)) as plane,
        connected(plane) as client,
    ):
        fine = [await client.ask("x", b"x-request-timeout: 5\r\n") for _ in range(4)]
        assert fine == [200] * 4
        assert [await client.ask("x", b"x-request-timeout: no\r\n") for _ in range(4)] == [400] * 4
        assert await client.ask("x") == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/x"])
@pytest.mark.parametrize("option", [b"x-one", b"x-two"])
async def test_a_field_that_one_request_nominates_goes_no_further(path: str, option: bytes) -> None:
    """What Connection names is left out of the request that names it alone, and no upstream gets the caller's key."""
    async with ScriptedServer(GOOD) as server, ScriptedServer(GOOD) as behind:
        service = f"services: {{api: {{match: {{path: /api}}, targets: ['{behind.address}']}}}}\n"
        text = models(server.url, extra=keys(("a", KEY)) + service)
        fields = f"x-one: 1\r\nauthorization: Bearer {KEY}\r\nx-two: 2\r\n".encode()
        async with one_data_plane(text) as plane, connected(plane) as client:
            for more in (b"", b"", b"", b"connection: " + option + b"\r\n", b""):
                assert await client.send(post(path=path, fields=fields + more)) == 200
        got = b"".join(peer.received for peer in (*server.peers, *behind.peers))
        heads = [part for part in got.split(b"\r\n\r\n") if b"POST " in part]
        assert [(b"x-one: 1" in head, b"x-two: 2" in head) for head in heads] == [
            *[(True, True)] * 3,
            (option != b"x-one", option != b"x-two"),
            (True, True),
        ]
        assert KEY.encode() not in got
