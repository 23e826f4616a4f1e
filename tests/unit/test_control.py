"""What control finishes before it ends, whatever it is waiting for."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from edge import clock
from edge.app.bootstrap import from_file
from edge.app.control import Control
from edge.app.start import Options, _share
from edge.control.ledger import Ledger
from edge.control.measuring import Measuring
from edge.control.memfd_cell import MemfdCell
from edge.control.spend import SpendFile, Spent
from edge.control.tracing import Tracing
from edge.telemetry.usage import month_of

if TYPE_CHECKING:
    from pathlib import Path

    from edge.control.node import Node

pytestmark = pytest.mark.timeout(60)

CONFIG = """
listen: [{address: 127.0.0.1:0}]
admin: {address: 127.0.0.1:0}
providers: {p: {base_url: "http://127.0.0.1:9/v1", jurisdiction: local, prices: {"*": {input: 1, output: 1}}}}
models: {chat: {targets: [p/m]}}
keys: [{name: a, sha256: SUM, budget: 1000}]
""".replace("SUM", "a" * 64)


@pytest.mark.parametrize("hangs", ["metrics", "traces"])
async def test_spending_is_kept_before_a_collector_is_waited_for(
    hangs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spending is on disk before the last export waits for a collector that never answers."""
    waits, goes_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        waits.set()
        await goes_on.wait()

    async def run(_measuring: Measuring, _node: Node) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await wait()

    if hangs == "traces":
        monkeypatch.setattr(Tracing, "stop", lambda _: wait())
    else:
        monkeypatch.setattr(Measuring, "run", run)
    file, folder = tmp_path / "edge.yaml", tmp_path / "state"
    file.write_text(CONFIG)
    with contextlib.ExitStack() as held:
        begun = from_file(file, str(folder), {})
        launch, shared_state = _share(Options(), begun, 1, held)
        serves = asyncio.Event()
        control = Control(launch, MemfdCell(launch.ledger_fd, Ledger), shared_state, serves.set)
        running = asyncio.create_task(control.run())
        try:
            async with asyncio.timeout(30):
                await serves.wait()
                spent = Spent(month_of(clock.wall()), 7_000_000_000)
                allowance = begun.snapshot.keys[0].allowance
                assert allowance is not None
                assert shared_state.set_spent(allowance.slot, spent.month, spent.nano)
                control.stop()
                await waits.wait()
                assert SpendFile(folder, str(file)).read() == {"a": spent}
                assert not running.done()
        finally:
            goes_on.set()
            control.stop()
            await running
