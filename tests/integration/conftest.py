"""Runs the tests that use the fixture ``both_wires`` with clients of HTTP/1.1 and of HTTP/2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import one_data_plane
import pytest
from nodes import quick_provider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from edge.sim.provider import SimProvider


@pytest.fixture(params=["http1", "http2"])
def both_wires(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test twice: ``OneDataPlane.ask`` and ``OneDataPlane.raw`` use HTTP/1.1, then HTTP/2."""
    wire = str(request.param)
    monkeypatch.setattr(one_data_plane, "WIRE", wire)
    return wire


@pytest.fixture
async def provider() -> AsyncIterator[SimProvider]:
    """A provider ``p0`` that answers at once."""
    async with quick_provider() as running:
        yield running
