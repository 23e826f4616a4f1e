"""Which tests hold whatever wire the client speaks?  Those that ask for ``both_wires``."""

from __future__ import annotations

import onelane
import pytest


@pytest.fixture(params=["http1", "http2"])
def both_wires(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test twice: ``OneLane.ask`` and ``OneLane.raw`` speak one wire, then the other."""
    wire = str(request.param)
    monkeypatch.setattr(onelane, "WIRE", wire)
    return wire
