"""h2spec, a conformance suite for HTTP/2, passes where it is installed; test_http2_order has its cases in Python."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from h2peer import service
from one_data_plane import one_data_plane

if TYPE_CHECKING:
    from pathlib import Path

H2SPEC = shutil.which("h2spec")
LIMIT_S = 90

FAILURES: dict[str, set[str]] = {
    # On a port for both versions an invalid preface is a request of HTTP/1.1, and gets its 400: so does Go's server.
    "plain": {"Sends invalid connection preface"},
    "tls": set(),
}


@pytest.mark.prove
@pytest.mark.skipif(
    H2SPEC is None, reason="h2spec is not on PATH; go install github.com/summerwind/h2spec/cmd/h2spec@latest"
)
async def test_h2spec(with_tls_too: str, tmp_path: Path) -> None:
    """All 145 cases pass over TLS, and all but one without."""
    report = tmp_path / "report.xml"
    async with one_data_plane(service("127.0.0.1:1")) as data_plane:
        options = ["-t", "-k"] if with_tls_too == "tls" else []
        run = await asyncio.create_subprocess_exec(
            H2SPEC or "h2spec", "-h", "127.0.0.1", "-p", str(data_plane.port), "-j", str(report), *options,
            stdout=asyncio.subprocess.DEVNULL, env={**os.environ, "NO_COLOR": "1"},
        )  # fmt: skip
        await asyncio.wait_for(run.wait(), LIMIT_S)
    cases = list(ET.parse(report).getroot().iter("testcase"))
    failed = {str(case.get("classname")) for case in cases if len(case)}
    assert len(cases) == 145
    assert failed == FAILURES[with_tls_too]
