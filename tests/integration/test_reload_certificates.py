"""A reload applies what certificate files hold now, for listeners and for upstreams, without a failed request."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import trustme
from nodes import CHAT, FAST, KEY, RunningNode, chat_config
from secure import Secure
from soon import until

from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from pathlib import Path

CLIENTS = 8


def listening(secure: Secure) -> dict[str, Any]:
    """Return the listener of a node over TLS."""
    return {"listen": [{"address": "127.0.0.1:0", "tls": {"cert": str(secure.pem), "key": str(secure.pem)}}]}


def shown(port: int, secure: Secure) -> bytes:
    """Return the certificate that a new connection is shown."""
    return ssl.get_server_certificate(("127.0.0.1", port), ca_certs=str(secure.ca)).encode()


async def shown_by_all(node: RunningNode, secure: Secure) -> set[bytes]:
    """Return what many new connections are shown, which more than one worker accepts."""
    port = int(node.url.rpartition(":")[2])
    return set(await asyncio.gather(*[asyncio.to_thread(shown, port, secure) for _ in range(16)]))


async def load(node: RunningNode, secure: Secure, statuses: list[int], stop: asyncio.Event) -> None:
    """Ask again and again, each second time on a new connection."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as client:
        fresh = True
        while not stop.is_set():
            fields = {"connection": "close"} if fresh else {}
            url = f"{node.url}/v1/chat/completions"
            async with client.post(url, json=CHAT, headers=fields, ssl=secure.trusting()) as answer:
                await answer.read()
                statuses.append(answer.status)
            fresh = not fresh


@pytest.mark.timeout(240)
async def test_renewed_under_load(tmp_path: Path) -> None:
    """Every worker shows the renewed certificate after the reload; a bad one is refused, and nothing changes."""
    secure = Secure(tmp_path)
    provider = SimProvider(ProviderSpec(name="p0", pace=FAST, key=KEY), tls=secure.upstream())
    async with provider:
        config = {**listening(secure), **chat_config(provider.url)}
        config["providers"]["p0"]["tls"] = {"ca": str(secure.ca), "server_name": "provider.test"}
        async with RunningNode(tmp_path, config, "--workers", "2") as node:
            stop = asyncio.Event()
            statuses: list[int] = []
            clients = [asyncio.create_task(load(node, secure, statuses, stop)) for _ in range(CLIENTS)]
            before = await shown_by_all(node, secure)
            assert len(before) == 1
            assert (await node.send("POST", "/api/reload"))[1]["changed"] is False
            for _ in range(3):
                secure.renew()
                assert (await node.send("POST", "/api/reload"))[0] == 200
                after = await shown_by_all(node, secure)
                assert len(after) == 1
                assert after.isdisjoint(before)
                before = after
            secure.pem.write_bytes(b"no certificate")
            status, said = await node.send("POST", "/api/reload")
            assert status == 422
            assert "are not PEM files" in str(said)
            assert await shown_by_all(node, secure) == before
            await until(lambda: len(statuses) > 5 * CLIENTS)  # a busy machine may have answered fewer so far
            stop.set()
            await asyncio.gather(*clients)
            assert set(statuses) == {200}
            assert (await node.target("p0/sim-small"))["trips"] == 0


async def test_renewed_without_a_reload(tmp_path: Path) -> None:
    """A certificate whose file changes is shown to new connections without a reload; a broken file changes nothing."""
    secure = Secure(tmp_path)
    config = {**listening(secure), **chat_config("http://127.0.0.1:9/v1")}
    async with RunningNode(tmp_path, config, "--workers", "1") as node:
        before = await shown_by_all(node, secure)
        secure.renew()
        async with asyncio.timeout(60):
            while True:
                after = await shown_by_all(node, secure)
                if len(after) == 1 and after.isdisjoint(before):
                    break
        assert (await node.get("/api/node"))[1]["reloads_applied"] == 0
        secure.pem.write_bytes(b"no certificate")
        async with asyncio.timeout(60):
            while "those from before stay in use" not in node.log():  # noqa: ASYNC110  # the log has no event
                await asyncio.sleep(0.05)
        assert await shown_by_all(node, secure) == after


async def test_authorities_of_a_provider(tmp_path: Path) -> None:
    """After a reload a provider is verified by the authorities that its file holds now."""
    secure = Secure(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    other = trustme.CA()
    other.issue_cert("provider.test").configure_cert(context)
    async with SimProvider(ProviderSpec(name="p0", pace=FAST, key=KEY), tls=context) as provider:
        config = chat_config(provider.url, breaker={"consecutive_failures": 50})
        config["providers"]["p0"]["tls"] = {"ca": str(secure.ca), "server_name": "provider.test"}
        async with RunningNode(tmp_path, config, "--workers", "1") as node:
            assert (await node.ask()).status == 503
            other.cert_pem.write_to_path(str(secure.ca))
            assert (await node.send("POST", "/api/reload"))[0] == 200
            assert (await node.ask()).status == 200
            secure.ca.write_bytes(b"nothing")
            status, said = await node.send("POST", "/api/reload")
            assert status == 422
            assert "is not a PEM file of certificates" in str(said)
            with contextlib.suppress(aiohttp.ClientError):
                assert (await node.ask()).status == 200
