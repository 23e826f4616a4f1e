"""TLS sessions are resumed where nothing else would be verified, and nowhere else."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from nodes import RunningNode, chat_config
from one_data_plane import models, one_data_plane, post, whole

from edge.listen.server import open_listeners
from edge.listen.tls import server_context
from edge.sim.wire import Close, Peer, ReadMessage, ReadToEnd, ScriptedServer, Send, play_client
from edge.sim.wire_tls import TlsWire
from edge.terms.snapshot import ListenTls
from tests.snapshots import listener as an_address

if TYPE_CHECKING:
    from pathlib import Path

    from secure import Secure

    from edge.native import TlsContext

HEALTH = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
CONFIG = models("http://127.0.0.1:9")


def trusting(secure: Secure, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Return a client's context for one version of TLS."""
    context = ssl.create_default_context()
    secure.authority.configure_trust(context)
    context.minimum_version = context.maximum_version = version
    return context


async def visit(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> tuple[Peer, TlsWire]:
    """Ask over one connection; return the client's side."""
    tls = TlsWire(context, "edge.test", session)
    return await play_client(port, Send(HEALTH), ReadToEnd(), tls=tls), tls


@VERSIONS
async def test_a_client_resumes(secure: Secure, version: ssl.TLSVersion) -> None:
    """A client that comes again resumes, and its request is answered as before."""
    async with one_data_plane(CONFIG + secure.listen) as data_plane:
        context = trusting(secure, version)
        first, tls = await visit(data_plane.port, context)
        again, resumed = await visit(data_plane.port, context, tls.session)
        assert (tls.resumed, resumed.resumed) == (False, True)
        assert first.received[:15] == again.received[:15] == b"HTTP/1.1 200 OK"
        assert (first.said_goodbye, again.said_goodbye) == (True, True)


@VERSIONS
async def test_workers_resume_each_others_sessions(tmp_path: Path, secure: Secure, version: ssl.TLSVersion) -> None:
    """A session that began at one worker of a node is resumed at whichever worker accepts."""
    files = {"cert": str(secure.pem), "key": str(secure.pem)}
    config = {"listen": [{"address": "127.0.0.1:0", "tls": files}], **chat_config("http://127.0.0.1:9")}
    async with RunningNode(tmp_path, config, "--workers", "2") as node:
        port = int(node.url.rpartition(":")[2])
        context = trusting(secure, version)
        _, tls = await visit(port, context)
        for _ in range(24):  # the kernel chooses the worker by the client's port
            _, tls = await visit(port, context, tls.session)
            assert tls.resumed
        page = (await node.get("/metrics"))[1]
        accepted = re.findall(r"^edge_worker_accepted_total\{.*\} (\d+)", page, re.MULTILINE)
        assert len(accepted) == 2
        assert all(int(count) > 0 for count in accepted), accepted


@VERSIONS
async def test_a_session_that_cannot_be_opened(secure: Secure, version: ssl.TLSVersion) -> None:
    """A ticket of another node, whose keys are unknown here, leads to a full handshake."""
    async with one_data_plane(CONFIG + secure.listen) as one, one_data_plane(CONFIG + secure.listen) as other:
        context = trusting(secure, version)
        _, tls = await visit(one.port, context)
        peer, fresh = await visit(other.port, context, tls.session)
        assert not fresh.resumed
        assert peer.received.startswith(b"HTTP/1.1 200 OK")


@VERSIONS
async def test_tickets_outlive_their_hour(
    secure: Secure, version: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ticket of the hour before is opened and replaced; an older one leads to a full handshake."""
    made: list[TlsContext] = []

    def make(*given: Any) -> TlsContext:
        made.append(server_context(*given))
        return made[-1]

    monkeypatch.setattr("edge.listen.server.server_context", make)
    async with one_data_plane(CONFIG + secure.listen) as data_plane:
        keys = made[0].ticket_keys
        assert keys is not None
        context = trusting(secure, version)
        _, tls = await visit(data_plane.port, context)
        keys.ahead_s = 3600
        _, renewed = await visit(data_plane.port, context, tls.session)
        assert renewed.resumed
        keys.ahead_s = 2 * 3600
        assert [(await visit(data_plane.port, context, each.session))[1].resumed for each in (renewed, tls)] == [
            True,
            False,
        ]


@VERSIONS
async def test_a_session_proves_no_certificate(secure: Secure, version: ssl.TLSVersion) -> None:
    """A session that began where no client certificate was asked for is not resumed where one is required."""
    pem, ca = str(secure.pem), str(secure.ca)
    addresses = [an_address("127.0.0.1", 0, tls=(ListenTls(pem, pem, trusted),)) for trusted in (None, ca)]
    async with one_data_plane(CONFIG) as data_plane:

        async def begin() -> list[Any]:
            return open_listeners(addresses, data_plane.data_plane, b"s" * 32)

        listeners = await data_plane.thread.run(begin())
        free, certified = (listener.address()[1] for listener in listeners)
        context = trusting(secure, version)
        _, tls = await visit(free, context)
        peer, refused = await visit(certified, context, tls.session)
        assert not refused.resumed
        assert peer.received == b""
        known = trusting(secure, version)
        secure.authority.issue_cert("client.test").configure_cert(known)
        _, tls = await visit(certified, known)
        peer, again = await visit(certified, known, tls.session)
        assert again.resumed
        assert peer.received.startswith(b"HTTP/1.1 200 OK")

        async def end() -> None:
            for listener in listeners:
                listener.close()

        await data_plane.thread.run(end())


@VERSIONS
async def test_sessions_to_providers(secure: Secure, version: ssl.TLSVersion) -> None:
    """Edge resumes its own sessions to a provider, one after the other and several at once."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secure.authority.issue_cert("provider.test").configure_cert(context)
    context.minimum_version = context.maximum_version = version
    script = (ReadMessage(), Send(whole().replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1)), Close())
    async with ScriptedServer(script, tls=context) as upstream:
        text = models(upstream.url).replace("/v1'}", f"/v1', {secure.verified}}}")
        async with one_data_plane(text) as data_plane:
            for _ in range(6):
                assert b" 200 OK" in await data_plane.ask(post(), b"}}")
        resumed = [peer.tls.resumed for peer in upstream.peers if peer.tls is not None]
        assert resumed == [False] + 5 * [True]
