"""Which tests hold whatever wire the client speaks?  Those that ask for ``both_wires``."""

from __future__ import annotations

import one_data_plane
import pytest


@pytest.fixture(params=["http1", "http2"])
def both_wires(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test twice: ``OneDataPlane.ask`` and ``OneDataPlane.raw`` speak one wire, then the other."""
    wire = str(request.param)
    monkeypatch.setattr(one_data_plane, "WIRE", wire)
    return wire
