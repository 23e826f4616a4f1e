"""``edge keys spend`` and its admin API: what each node has spent, and how it is forgotten."""

from __future__ import annotations

import asyncio
import io
import socket
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from edge import clock
from edge.admin.server import AdminServer
from edge.cli import keys_spend
from edge.cli.main import parser
from edge.config.load import read_text
from edge.control.compose import checked, compile_config
from edge.control.node import Node
from edge.control.node_spending import NodeAliveError, UnknownNodeError, forget, node_spending
from edge.control.operations import Operations
from edge.control.publish import Publisher
from edge.native import SharedState
from edge.regions.budgets import Part
from edge.telemetry.usage import month_of

if TYPE_CHECKING:
    from edge.terms.snapshot import Snapshot

CONFIG = f"""
node: {{region: eu, name: n1}}
providers: {{p: {{base_url: "http://127.0.0.1:9/v1", prices: {{m: {{input: 1}}}}}}}}
models: {{chat: {{targets: [p/m]}}}}
keys:
  - {{name: a, sha256: "{"ab" * 32}", budget: 5}}
  - {{name: b, sha256: "{"cd" * 32}"}}
"""


class OtherNodes:
    """A sharing that knows a node that is gone and one that is alive."""

    def __init__(self) -> None:
        self.forgotten: list[str] = []

    def spending(self) -> dict[str, tuple[float | None, dict[str, Part]]]:
        """Return what they have published."""
        parts = {"a": Part(2_500_000_000, 3_000_000_000)}
        return {"us/gone": (None, parts), "us/alive": (1.5, parts)}

    async def forget(self, name: str) -> None:
        """Note what was forgotten."""
        self.forgotten.append(name)


def node() -> tuple[Node, OtherNodes]:
    """Return a node that has spent 1.25 USD with its key a."""
    plan: Snapshot = compile_config(checked(read_text(CONFIG, environ={})), now=clock.wall())
    shared_state = SharedState.create(8, 8, 1, allowance_capacity=8)
    found = Node(shared_state, Publisher(plan), 1, dict)
    others = OtherNodes()
    found.sharing = others  # type: ignore[assignment]
    slot = next(key.allowance.slot for key in plan.keys if key.allowance is not None)
    shared_state.set_spent(slot, month_of(clock.wall()), 1_250_000_000)
    return found, others


def shown(nodes: list[dict[str, Any]]) -> str:
    """Return the table as text."""
    out = io.StringIO()
    Console(file=out, width=100).print(keys_spend.table(nodes))
    return out.getvalue()


async def test_every_node_is_listed_with_what_it_has_spent() -> None:
    """This node's keys with a budget, and what others have published, with the age of their heartbeat."""
    here, gone, alive = sorted(node_spending(node()[0]), key=lambda each: (not each.here, each.silent_s is not None))
    assert (here.node, [(key.key, key.spent, key.may_spend) for key in here.keys]) == ("eu/n1", [("a", 1.25, None)])
    assert (gone.node, gone.silent_s, gone.keys[0].spent, gone.keys[0].may_spend) == ("us/gone", None, 2.5, 3.0)
    assert (alive.node, alive.silent_s) == ("us/alive", 1.5)


async def test_what_may_be_forgotten() -> None:
    """This node and nodes without a heartbeat; another one that is alive would only tell it again."""
    found, others = node()
    with pytest.raises(UnknownNodeError, match="eu/n1, us/alive, us/gone"):
        await forget(found, "us/no")
    with pytest.raises(NodeAliveError, match="ask that node itself"):
        await forget(found, "us/alive")
    assert (await forget(found, "us/gone")).keys[0].spent == 2.5
    assert (await forget(found, "eu/n1")).keys[0].spent == 1.25
    assert others.forgotten == ["us/gone", "eu/n1"]
    assert node_spending(found)[0].keys[0].spent == 0


async def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The table names nodes, keys and dollars; forgetting says what it was, and a refusal why."""
    found, _ = node()
    found.operations = Operations.__new__(Operations)  # only its presence matters here
    found.operations.acted = lambda *_: None
    monkeypatch.setattr(Node, "state", lambda _: None)
    sock = socket.create_server(("127.0.0.1", 0))
    server = AdminServer(found, "")
    await server.start(sock)
    admin = ["--admin", f"http://127.0.0.1:{sock.getsockname()[1]}"]

    def run(*words: str) -> int:
        args = parser().parse_args(["keys", "spend", *words, *admin])
        return int(args.run(args))

    try:
        assert await asyncio.to_thread(run) == 0
        table = capsys.readouterr().out
        assert all(word in table for word in ("eu/n1", "this node", "$1.25", "us/gone", "none", "$2.50", "2 s ago"))
        assert await asyncio.to_thread(run, "forget", "us/gone") == 0
        assert "forgotten: a $2.50" in capsys.readouterr().out
        for name in ("us/alive", "us/no"):
            with pytest.raises(Exception, match=name):
                await asyncio.to_thread(run, "forget", name)
    finally:
        await server.stop()


def test_a_node_that_has_spent_nothing_has_a_row() -> None:
    """A node without budgets is shown too."""
    assert "eu/n1" in shown([{"node": "eu/n1", "here": True, "silent_s": 0.0, "keys": []}])
