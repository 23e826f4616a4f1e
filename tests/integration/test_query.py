"""What targets see of a query string that a caller has added."""

from __future__ import annotations

import pytest
from one_data_plane import models, one_data_plane, post, whole
from test_services import request, services

from edge.sim.wire import Again, ReadMessage, ScriptedServer, Send

pytestmark = pytest.mark.usefixtures("both_wires")

GOOD = (ReadMessage(), Send(whole()), Again())


@pytest.mark.parametrize(
    ("query", "seen"),
    [
        ("", ""),
        ("?", ""),
        ("?key=edge-secret", ""),
        ("?beta=true&alt=sse", ""),
        ("?api-version=2025-04-01-preview", "?api-version=2025-04-01-preview"),
        ("?key=edge-secret&api-version=v1&api-version=v2", "?api-version=v1"),
        ("?api-version=", ""),
        ("?api-version=%65dge-secret", ""),
        (f"?api-version={'a' * 33}", ""),
        ("?api-version=a=edge-secret", ""),
        ("?API-VERSION=1;key=edge-secret", ""),
    ],
)
async def test_a_provider_sees_no_query(query: str, seen: str) -> None:
    """A caller's query does not reach a provider, except for a valid api-version."""
    async with ScriptedServer(GOOD) as upstream, one_data_plane(models(upstream.url)) as data_plane:
        answer = await data_plane.ask(post(path=f"/v1/chat/completions{query}"), b"}}")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert upstream.peers[0].received.startswith(f"POST /v1/chat/completions{seen} HTTP/1.1\r\n".encode())


async def test_a_service_sees_its_query() -> None:
    """A service's path and query are forwarded unchanged."""
    async with ScriptedServer(GOOD) as upstream, one_data_plane(services(upstream.address)) as data_plane:
        await data_plane.ask(request(path=b"/api/x?key=a%20b&&c=%7E"), b"hello")
        assert upstream.peers[0].received.startswith(b"GET /api/x?key=a%20b&&c=%7E HTTP/1.1\r\n")
