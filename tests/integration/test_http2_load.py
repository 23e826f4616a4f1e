"""A data plane under HTTP/2 load: h2load through a data plane to another, over HTTP/1.1 and HTTP/2 upstream."""

from __future__ import annotations

import asyncio
import re
import shutil

import pytest
from one_data_plane import models, one_data_plane

H2LOAD = shutil.which("h2load")


async def load(port: int, *arguments: str) -> dict[str, int]:
    """Run h2load; return how many requests ended in which way."""
    assert H2LOAD is not None
    command = [H2LOAD, *arguments, "-H", ":authority: inner", f"http://127.0.0.1:{port}/healthz"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said = (await asyncio.wait_for(process.communicate(), 60))[0].decode()
    found = re.search(r"(\d+) total, .* (\d+) succeeded, (\d+) failed, (\d+) errored", said)
    statuses = re.search(r"status codes: (\d+) 2xx", said)
    assert found is not None
    assert statuses is not None
    return {"total": int(found[1]), "failed": int(found[3]) + int(found[4]), "2xx": int(statuses[1])}


@pytest.mark.skipif(H2LOAD is None, reason="needs h2load (Debian: nghttp2-client)")
@pytest.mark.parametrize("protocol", ["h2c", "http1"])
async def test_20_000_requests_over_64_streams(protocol: str) -> None:
    """20,000 requests over 64 streams, of four connections and of one, all get 200, and nothing leaks."""
    async with one_data_plane(models("http://127.0.0.1:1")) as inner:
        text = f'services: {{s: {{match: {{host: inner}}, protocol: {protocol}, targets: ["127.0.0.1:{inner.port}"]}}}}'
        async with one_data_plane(text) as data_plane:
            for clients, streams in (("1", "64"), ("4", "16")):
                got = await load(data_plane.port, "-n", "10000", "-c", clients, "-m", streams)
                assert got == {"total": 10_000, "failed": 0, "2xx": 10_000}
            assert data_plane.data_plane.active == 0
