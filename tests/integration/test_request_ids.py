"""A client's x-request-id is kept: it reaches the service, and comes back with the answer or the error."""

from __future__ import annotations

import httpx
import pytest
from h2peer import Call, Upstream, plain, service
from one_data_plane import one_data_plane


@pytest.mark.parametrize("http2", [False, True])
@pytest.mark.parametrize("path", ["/a", "/v1/models", "/v1/chat/completions"])
async def test_it_comes_back(http2: bool, path: str) -> None:
    """Answers of services, and edge's own answers and errors, have the client's id beside edge's."""
    async with (
        Upstream(plain()) as upstream,
        one_data_plane(service(upstream.address)) as data_plane,
        httpx.AsyncClient(base_url=data_plane.url, http1=not http2, http2=http2) as client,
    ):
        answer = await client.get(path, headers={"x-request-id": "mine-1"})
        assert answer.headers.get_list("x-request-id") == ["mine-1"]
        assert answer.headers["x-edge-request-id"] not in ("", "mine-1")
        answer = await client.get(path)
        assert answer.headers["x-request-id"] == answer.headers["x-edge-request-id"]


async def test_the_service_gets_it_and_may_choose_another() -> None:
    """The service sees the client's id; one that it sends itself stands."""
    seen = []

    async def answer(call: Call) -> None:
        seen.append(call.field("x-request-id"))
        await call.head(200, ("x-request-id", "theirs"), end=True)

    async with (
        Upstream(answer) as upstream,
        one_data_plane(service(upstream.address)) as data_plane,
        httpx.AsyncClient(base_url=data_plane.url) as client,
    ):
        told = await client.get("/a", headers={"x-request-id": "mine-2"})
    assert (seen, told.headers.get_list("x-request-id")) == (["mine-2"], ["theirs"])
