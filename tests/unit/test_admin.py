"""The admin listener tells operators the truth, and shows secrets to nobody."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import pytest
from plans import SECRET, shared_state_for, snapshot

from edge import clock
from edge.admin.server import AdminServer
from edge.admin.views import keys_view, snapshot_view
from edge.control.frames import Serving
from edge.control.node import Node
from edge.control.publish import Publisher
from edge.listen.server import bind
from edge.telemetry.usage import month_of
from edge.terms.snapshot import Key, Target
from tests.snapshots import key

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKEN = "operators-only-token"


class Running:
    """An admin server with a client."""

    def __init__(self, token: str) -> None:
        plan = snapshot()
        self.shared_state = shared_state_for(plan)
        self.publisher = Publisher(plan)
        self.server = AdminServer(Node(self.shared_state, self.publisher, 2, lambda: {"control": 1}), token)

    async def __aenter__(self) -> Self:
        sock = bind("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        await self.server.start(sock)
        self.client = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.close()
        await self.server.stop()

    async def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, Any, Any]:
        """Send a GET; return status, body (parsed if JSON), headers."""
        async with self.client.request(method, self.url + path, headers=headers) as answer:
            text = await answer.text()
            body = json.loads(text) if answer.content_type == "application/json" and text else text
            return answer.status, body, answer.headers


@pytest.fixture
async def admin() -> AsyncIterator[Running]:
    """Run an admin server without a token."""
    async with Running("") as running:
        yield running


async def test_ready_follows_the_workers_and_not_the_upstreams(admin: Running) -> None:
    """Not ready before a worker serves or while all drain; ready even if every target is quarantined."""
    status, body, _ = await admin.get("/ready")
    assert (status, body["ready"], body["why"]) == (503, False, "no worker serves yet")
    admin.publisher.serving[0] = Serving(0, 1, 1)
    status, body, _ = await admin.get("/ready")
    assert (status, body["workers"], body["of"]) == (200, 1, 2)
    for target in admin.publisher.snapshot.targets:
        admin.shared_state.set_quarantine(target.slot, 11, 2**62)
    status, body, _ = await admin.get("/ready")
    assert (status, body["pools"]["chat"]) == (200, {"usable": 0, "of": 2})
    admin.publisher.serving[0] = Serving(0, 1, 1, draining=True)
    status, body, _ = await admin.get("/ready")
    assert (status, body["why"]) == (503, "every worker is draining")


async def test_targets(admin: Running) -> None:
    """Every target is listed with its routes, its tier in each, its state and the reason."""
    slot = next(target.slot for target in admin.publisher.snapshot.targets if target.id == "two/big")
    admin.shared_state.set_quarantine(slot, 12, 2**62)
    status, body, _ = await admin.get("/api/targets")
    assert status == 200
    by_id = {target["id"]: target for target in body}
    assert by_id["one/small"]["state"] == "usable"
    direct = {"route": "one/small", "tier": 1, "weight": 1.0, "state": "usable"}
    assert by_id["one/small"]["routes"] == [{**direct, "route": "chat"}, direct]
    two = by_id["two/big"]
    assert two["routes"][0] == {"route": "chat", "tier": 2, "weight": 1.0, "state": "quarantined"}
    assert (two["state"], two["usable"]) == ("quarantined", False)
    assert "404" in two["why"]
    assert two["until_s"] > 0
    assert any(target["id"].startswith("billing/") for target in body)


async def test_no_answer_holds_a_secret(admin: Running) -> None:
    """The credential of the targets is in no response of the admin listener."""
    assert SECRET in str(admin.publisher.snapshot)
    for path in ("/live", "/ready", "/metrics", "/api/targets", "/api/snapshot", "/api/keys", "/nowhere"):
        async with admin.client.get(admin.url + path) as answer:
            text = await answer.text()
        assert SECRET not in text, path
        assert SECRET[3:] not in text, path


def test_the_snapshot_view_is_decided_field_by_field() -> None:
    """Every field of a Target is either shown or listed as hidden, so that a new field needs a decision."""
    plan = snapshot()
    shown = snapshot_view(plan)["targets"][0]
    assert set(shown) == set(Target.__struct_fields__)
    assert shown["fields"] == ["authorization"]
    with_keys = snapshot_view(
        type(plan)(**{**{f: getattr(plan, f) for f in plan.__struct_fields__}, "keys": (key("a", "ab" * 32, 0),)})
    )
    (shown,) = with_keys["keys"]
    assert set(shown) == set(Key.__struct_fields__) - {"sha256", "slot"}
    assert "abab" not in str(with_keys)


KEYED = f"""
providers:
  one:
    base_url: "http://127.0.0.1:9/v1"
    api_key: "{SECRET}"
    limits: {{requests_per_minute: 60}}
    prices: {{small: {{input: 1}}}}
models: {{chat: {{targets: [one/small]}}}}
keys:
  - {{name: plain, sha256: "{"ab" * 32}"}}
  - name: bound
    sha256: "{"cd" * 32}"
    models: [chat]
    requests_per_minute: 600
    tokens_per_minute: 1000
    concurrent: 4
    budget: 2.5
    priority: low
    scope: global
"""


def test_keys_tell_what_is_left() -> None:
    """Each limit as in the shared state, this month's spending and the refusals, but neither key nor hash."""
    plan = snapshot(KEYED)
    shared_state = shared_state_for(plan)
    node = Node(shared_state, Publisher(plan), 2, dict)
    now_ns = clock.now_ns()
    shared_state.set_spent(1, month_of(clock.wall()), 1_250_000_000)
    shared_state.set_ceiling(1, month_of(clock.wall()), 1_500_000_000)
    told = keys_view(node.keys(now_ns), node.credentials(now_ns))
    plain, bound = told["keys"]
    assert (plain["name"], plain["requests"], plain["tokens"], plain["budget"]) == ("plain", None, None, None)
    assert bound == {
        "name": "bound",
        "priority": "low",
        "models": ("chat",),
        "scope": "global",
        "requests": {"limit": 600, "burst": 60, "remaining": 60, "reset_s": 0.0, "share": None},
        "tokens": {"limit": 1000, "burst": 1000, "remaining": 1000, "reset_s": 0.0, "share": None},
        "concurrent": 4,
        "budget": 2.5,
        "inflight": 0,
        "admitted": 0,
        "refused": {"requests": 0, "tokens": 0, "concurrent": 0, "budget": 0},
        "prompt_tokens": 0,
        "output_tokens": 0,
        "cost": 0.0,
        "spent": 1.25,
        "may_spend_here": 1.5,
    }
    assert [(each["name"], each["requests"]["burst"]) for each in told["credentials"]] == [("one", 6)]
    assert SECRET not in str(told)
    assert "cdcd" not in str(told)
    shared_state.clear_allowance(1)
    shared_state.set_spent(1, month_of(clock.wall()) - 1, 1_250_000_000)
    assert node.keys(now_ns)[1].spent == 0.0, "that was last month's"


async def test_the_token_guards_all_but_health() -> None:
    """With a token, only health is open; everything else requires the token and says how to send it."""
    async with Running(TOKEN) as admin:
        for path in ("/live", "/ready"):
            assert (await admin.get(path))[0] in (200, 503)
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": TOKEN},
            {"Authorization": f"Basic {TOKEN}"},
        ):
            for path in ("/metrics", "/api/targets", "/api/snapshot", "/api/keys", "/nowhere"):
                status, body, answered = await admin.get(path, **headers)
                assert (status, answered["WWW-Authenticate"]) == (401, "Bearer")
                assert "Authorization: Bearer" in body["error"]
        assert (await admin.get("/api/targets", Authorization=f"Bearer {TOKEN}"))[0] == 200


async def test_mistakes_are_answered_in_json(admin: Running) -> None:
    """The response to an unknown path or a wrong method names the possible ones."""
    status, body, _ = await admin.get("/nowhere")
    assert (status, "/api/targets" in body["error"]) == (404, True)
    status, body, headers = await admin.get("/api/targets", "POST")
    assert (status, "only GET" in body["error"]) == (405, True)
    assert "GET" in headers["Allow"]
    assert (await admin.get("/live", "HEAD"))[0] == 200


async def test_metrics_are_served_as_prometheus_reads_them(admin: Running) -> None:
    """The content type is that of the text format, and the page has the node's own facts."""
    status, body, headers = await admin.get("/metrics")
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert 'edge_restarts_total{process="control"} 1' in body


async def test_a_defect_does_not_end_control(admin: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception gives a 500 and a log line, and the next request is answered."""

    def broken(_now_ns: int) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(admin.server._node, "targets", broken)
    status, body, _ = await admin.get("/api/targets")
    assert (status, body["error"]) == (500, "internal error; the log has the cause")
    assert (await admin.get("/live"))[0] == 200
