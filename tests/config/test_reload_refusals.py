"""A running node refuses each malformed file with every place and remedy, and changes nothing.

The files are the unusable ones of ``cases/``, and some that need a restart.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
from test_cases import CASES, DASHES, ENVIRON, FILES

from edge.admin.server import AdminServer
from edge.config.load import read_text
from edge.control.compose import checked, compile_config
from edge.control.ledger import Ledger
from edge.control.memfd_cell import MemfdCell
from edge.control.node import Node
from edge.control.operations import Operations
from edge.control.publish import Publisher
from edge.listen.server import bind
from edge.native import SharedState
from edge.routing.planner import capacities
from edge.terms.snapshot import Snapshot

if TYPE_CHECKING:
    from pathlib import Path

GOOD: Final = 'providers: {openai: {api_key: "${SET}"}}\nmodels: {chat: {targets: [openai/gpt-4.1-mini]}}\n'


def _refused() -> dict[str, tuple[str, list[str]]]:
    """Return the text and the expected problems of each unusable case, by name."""
    found = {}
    for path in CASES:
        text, _, expected = path.read_text(encoding="utf-8").partition(DASHES)
        if "fine\n" not in expected:
            found[path.stem] = (text, [line for line in expected.splitlines() if ": warning: " not in line])
    return found


MANY: Final = ", ".join(f"openai/m{number}" for number in range(64))
STAYS: Final = "this cannot change while the node runs; put it back, or restart the node"
REFUSED: Final = _refused() | {
    "other_listener": (GOOD + "listen: [{address: 127.0.0.1:8081}]\n", [f"edge.yaml:3: listen: {STAYS}"]),
    "other_admin": (GOOD + "admin: {address: 127.0.0.1:9902}\n", [f"edge.yaml:3: admin.address: {STAYS}"]),
    "other_workers": (GOOD + "node: {workers: 63}\n", [f"edge.yaml:3: node.workers: {STAYS}"]),
    "other_grace": (GOOD + "node: {drain_grace: 7s}\n", [f"edge.yaml:3: node.drain_grace: {STAYS}"]),
    "other_state": (GOOD + "node: {state_dir: here}\n", [f"edge.yaml:3: node.state_dir: {STAYS}"]),
    "other_cluster": (
        GOOD + "cluster: {etcd: {endpoints: [http://127.0.0.1:2379]}}\n",
        [f"edge.yaml:3: cluster: {STAYS}"],
    ),
    "all_of_them": (
        GOOD + "listen: [{address: 127.0.0.1:8081}]\nnode: {workers: 63, drain_grace: 7s}\n",
        [
            f"edge.yaml:3: listen: {STAYS}",
            f"edge.yaml:4: node.workers: {STAYS}",
            f"edge.yaml:4: node.drain_grace: {STAYS}",
        ],
    ),
    "too_many_targets": (
        f"{GOOD.splitlines()[0]}\nmodels: {{chat: {{targets: [openai/gpt-4.1-mini]}}, many: {{targets: [{MANY}]}}}}\n",
        ["66 targets need more records than the 64 this node started with; restart it"],
    ),
}


def test_there_are_fifty() -> None:
    """The corpus has at least fifty cases."""
    assert len(REFUSED) >= 50


@pytest.mark.parametrize("name", REFUSED)
async def test_refused(name: str, tmp_path: Path) -> None:
    """The response is 422 with the problems of ``edge check``; Snapshot, ledger and shared state do not change."""
    text, expected = REFUSED[name]
    folder = tmp_path / "node"
    shutil.copytree(FILES, folder)
    file = folder / "edge.yaml"
    config = checked(read_text(GOOD, "edge.yaml", folder, ENVIRON))
    snapshot = compile_config(config, now=1.0)
    targets, routes = capacities(snapshot)
    shared_state = SharedState.create(targets, routes, 1)
    publisher = Publisher(snapshot)
    ledger = MemfdCell.create("ledger", Ledger)
    ledger.keep(Ledger(config, source=str(file)))
    last = MemfdCell.create("snapshot", Snapshot)
    touched: list[Any] = []
    operations = Operations(
        shared_state,
        publisher,
        ledger,
        last,
        applied=lambda *now_holds: touched.append(now_holds),
        leave=lambda: touched.append("left"),
        environ=ENVIRON,
    )
    shared_state.set_quarantine(0, 12, 2**62)
    before = shared_state.read_target(0, 1)
    server = AdminServer(Node(shared_state, publisher, 1, dict, operations=operations), "")
    sock = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}/api/reload"
    await server.start(sock)
    try:
        file.write_text(text, encoding="utf-8")
        async with aiohttp.ClientSession() as client, client.post(url) as answer:
            status, said = answer.status, await answer.json()
        kept = ledger.recall()
        sent = last.recall()
    finally:
        await server.stop()
        os.close(ledger.fd)
        os.close(last.fd)
    assert (status, said["error"]) == (422, "the configuration is refused; nothing has changed")
    problems = [line.replace(str(file), "edge.yaml").replace(str(folder), "DIR") for line in said["problems"]]
    assert problems == expected
    assert publisher.snapshot is snapshot
    assert shared_state.read_target(0, 1) == before
    assert (touched, sent) == ([], None)
    assert kept is not None
    assert kept.config == config
    assert (kept.reloads.refused, kept.reloads.applied) == (1, 0)
    assert kept.reloads.problems == tuple(said["problems"])
    assert "sk-secret" not in str(said)
