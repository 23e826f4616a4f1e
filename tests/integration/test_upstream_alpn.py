"""Providers over https are asked in the protocol that they offer; a burst opens only the connections that it needs."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from typing import TYPE_CHECKING, Self

import pytest
import trustme
from h2peer import Call, Upstream
from one_data_plane import DONE, HELLO, ROLE, STOP, STREAM, models, one_data_plane, patient, post, whole

from edge.native import Outcome

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b'{"id":"a","choices":[{"message":{"content":"hello"}}]}'
BURST = 60


def offering(folder: Path, *protocols: str) -> tuple[ssl.SSLContext, str]:
    """Return a server's context that offers these protocols, and the configuration text that trusts it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("provider.test").configure_cert(context)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context, f"tls: {{ca: {folder / 'ca.pem'}, server_name: provider.test}}"


def over_tls(port: int, tls: str, more: str = "") -> str:
    """Return configuration text of one provider over https, with deadlines that a slow machine does not reach."""
    text = patient(models(f"https://127.0.0.1:{port}").replace("/v1'}", f"/v1', {tls}{more}}}"))
    return text.replace("connect: 2s", "connect: 20s")


async def model(call: Call) -> None:
    """Answer as a provider does, whole or as a stream."""
    body = await call.body()
    await asyncio.sleep(0.05)
    if b'"stream":true' in body:
        await call.head(200, ("content-type", "text/event-stream"))
        for event in (ROLE, HELLO, STOP, DONE):
            await call.data(event)
        await call.data(end=True)
        return
    await call.head(200, ("content-type", "application/json"), ("content-length", str(len(CONTENT))))
    await call.data(CONTENT, end=True)


class Http1Provider:
    """Answers HTTP/1.1 over TLS, and counts its connections."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.protocols: Counter[str | None] = Counter()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = int(self.server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.protocols[writer.get_extra_info("ssl_object").selected_alpn_protocol()] += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                await asyncio.sleep(0.05)
                writer.write(whole(CONTENT))
        except (asyncio.IncompleteReadError, OSError):
            writer.close()


async def test_http2_where_it_is_offered(tmp_path: Path) -> None:
    """A cold burst shares a few connections, whole answers and streams alike, with the provider's model name."""
    context, tls = offering(tmp_path, "h2", "http/1.1")
    async with Upstream(model, tls=context) as provider:
        async with one_data_plane(over_tls(provider.port, tls)) as data_plane:
            asked = [post() if n % 2 else post(STREAM) for n in range(BURST)]
            answers = await asyncio.gather(
                *(data_plane.ask(data, b"}}]}" if n % 2 else b"[DONE]") for n, data in enumerate(asked))
            )
            assert {answer[:12] for answer in answers} == {b"HTTP/1.1 200"}
            assert all((b"hello" in answer) for answer in answers)
            assert data_plane.outcomes("p0/m")[Outcome.OK] == BURST
    assert len(provider.wires) <= 5
    assert len(provider.calls) == BURST
    assert {call.field(":scheme") for call in provider.calls} == {"https"}


@pytest.mark.parametrize("protocols", [("http/1.1",), ()], ids=["http/1.1", "none"])
async def test_http1_where_nothing_else_is_offered(tmp_path: Path, protocols: tuple[str, ...]) -> None:
    """A cold burst waits for one handshake, then has a connection each."""
    context, tls = offering(tmp_path, *protocols)
    async with Http1Provider(context) as provider, one_data_plane(over_tls(provider.port, tls)) as data_plane:
        answers = await asyncio.gather(*(data_plane.ask(post(), b"}}]}") for _ in range(BURST)))
        assert {answer[:12] for answer in answers} == {b"HTTP/1.1 200"}
        assert set(provider.protocols) == {protocols[0] if protocols else None}
        assert 1 < provider.protocols.total() <= BURST


async def test_http1_where_the_file_says_so(tmp_path: Path) -> None:
    """``protocol: http1`` offers nothing else."""
    context, tls = offering(tmp_path, "h2", "http/1.1")
    async with Http1Provider(context) as provider:
        async with one_data_plane(over_tls(provider.port, tls, ", protocol: http1")) as data_plane:
            assert (await data_plane.ask(post(), b"}}]}")).startswith(b"HTTP/1.1 200 ")
        assert set(provider.protocols) == {"http/1.1"}


async def test_a_provider_that_changes_its_protocol(tmp_path: Path) -> None:
    """Each handshake decides anew: after a restart with another offer requests are answered as before."""
    context, tls = offering(tmp_path, "h2", "http/1.1")
    async with Upstream(model, tls=context) as provider:
        port = provider.port
        async with one_data_plane(over_tls(port, tls)) as data_plane:
            assert (await data_plane.ask(post(), b"}}]}")).startswith(b"HTTP/1.1 200 ")
            context.set_alpn_protocols(["http/1.1"])
            for wire in provider.wires:
                wire.writer.close()
            provider._server.close()
            old = Http1Provider(context)
            old.server = await asyncio.start_server(old._serve, "127.0.0.1", port, ssl=context, reuse_address=True)
            try:
                answers = await asyncio.gather(*(data_plane.ask(post(), b"}}]}") for _ in range(20)))
                assert {answer[:12] for answer in answers} == {b"HTTP/1.1 200"}
                assert set(old.protocols) == {"http/1.1"}
            finally:
                old.server.close()


async def test_a_dead_provider_fails_every_waiter(tmp_path: Path) -> None:
    """A burst at a provider whose handshakes fail is answered, not left waiting."""
    context, _ = offering(tmp_path, "h2")
    other = tmp_path / "other"
    other.mkdir()
    _, distrusting = offering(other)
    async with Upstream(model, tls=context) as provider:
        async with one_data_plane(over_tls(provider.port, distrusting)) as data_plane:
            answers = await asyncio.gather(*(data_plane.ask(post(), b"}}") for _ in range(BURST)))
            assert {answer[:12] for answer in answers} == {b"HTTP/1.1 503"}
            assert data_plane.outcomes("p0/m")[Outcome.FAIL_CONNECT] >= 1
