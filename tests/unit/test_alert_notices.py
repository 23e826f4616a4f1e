"""Receivers are told of an incident once over all nodes, in their own language, until they take it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from functools import partial
from typing import Any, Self

import pytest
from aiohttp import web
from soon import until

from edge.cluster.memory import MemoryCluster, MemoryStore
from edge.config.fields import Secret
from edge.config.schema_incidents import Alert
from edge.control import alerting as alerting_module
from edge.control.alerting import Alerting, unfinished
from edge.control.claims import Claims, key_of
from edge.incidents import notices, receiver
from edge.incidents.incident import Incident, decode, encode
from edge.incidents.notices import notice_of

NOW = 1_778_232_728.0


def incident(name: str = "20260508-0932-provider-p", kind: str = "target_down", **given: Any) -> Incident:
    """Return an incident of the provider p."""
    facts = {"kinds": [kind], "targets": ["p/m"], "regions": ["eu"], **given}
    return Incident(name, "provider:p", NOW + 5, NOW, **facts)


class Hook:
    """A webhook that keeps what it gets; ``statuses`` are its next answers, then 200."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[tuple[dict[str, str], Any]] = []
        self.arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._take)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/secret-path"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), json.loads(await request.text())))
        self.arrived.set()
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200, headers={"Location": "/elsewhere"})

    def told(self) -> list[str]:
        """Return what happened, in order."""
        return [body["event"] for _, body in self.got]


def alert(url: str, *on: str, **given: Any) -> Alert:
    """Return a webhook of the configuration."""
    return Alert(Secret(url), on, **given)  # type: ignore[arg-type]


def _same(store: MemoryStore | None) -> MemoryStore | None:
    return store


class Nodes:
    """Some nodes with one store; ``pass_`` lets each take its turn."""

    def __init__(self, *names: str, cluster: MemoryCluster | None = None) -> None:
        self.cluster = cluster
        self.kept: list[str] = []
        self.nodes = {
            name: Alerting(
                f"eu/{name}",
                partial(_same, None if cluster is None else MemoryStore(cluster)),
                lambda changed: self.kept.append(changed.id),
            )
            for name in names
        }
        self.incidents = {name: incident() for name in names}
        self.wall = NOW + 5

    def follow(self, *alerts: Alert) -> None:
        """Tell these receivers."""
        for node in self.nodes.values():
            node.follow(alerts)

    async def pass_(self, seconds: float = 11.0, only: tuple[str, ...] = ()) -> None:
        """Let time pass, and each node do what is due."""
        self.wall += seconds
        for name, node in self.nodes.items():
            if only and name not in only:
                continue
            node.poll(self.wall)
            if node._task is not None:
                await node._task

    async def stop(self) -> None:
        """Stop the nodes."""
        for node in self.nodes.values():
            await node.stop()


async def test_three_nodes_tell_once() -> None:
    """Opening and end arrive once each, although every node sees the incident, closes it, and goes on looking."""
    async with Hook() as hook:
        world = Nodes("a", "b", "c", cluster=MemoryCluster())
        world.follow(alert(hook.url))
        for name, node in world.nodes.items():
            node.take(world.incidents[name])
        for _ in range(4):
            await world.pass_()
        await until(lambda: len(hook.got) == 1)
        for each in world.incidents.values():
            each.recovered = world.wall
        await world.pass_()
        for name in ("b", "a", "c"):  # not the teller first
            world.incidents[name].closed = world.wall
            world.nodes[name].take(world.incidents[name])
        for _ in range(6):
            await world.pass_(3.0)
        await until(lambda: len(hook.got) == 2)
        for _ in range(4):
            await world.pass_()
        assert hook.told() == ["opened", "resolved"]
        assert {body["incident"] for _, body in hook.got} == {world.incidents["a"].id}
        assert all(not node._incidents for node in world.nodes.values())
        await world.stop()


async def test_another_node_tells_the_end_when_the_teller_died() -> None:
    """A node that had told and then died is replaced after its claim's lease; nothing is told twice."""
    async with Hook() as hook:
        cluster = MemoryCluster()
        world = Nodes("a", "b", cluster=cluster)
        world.incidents["b"].id = "20260508-0933-provider-p"
        world.follow(alert(hook.url))
        for name, node in world.nodes.items():
            node.take(world.incidents[name])
            await world.pass_(0.1, only=(name,))
        await until(lambda: world.incidents["a"].told != [])
        for lease in list(world.nodes["a"]._claims._leases.values()):  # type: ignore[union-attr]
            await MemoryStore(cluster).revoke(lease)  # as the store does when the node is dead
        await world.pass_(only=("b",))
        world.incidents["b"].closed = world.wall
        world.nodes["b"].take(world.incidents["b"])
        await world.pass_(1.0, only=("b",))
        await until(lambda: len(hook.got) == 2)
        assert [(body["event"], body["incident"], body["from"]) for _, body in hook.got] == [
            ("opened", world.incidents["a"].id, "eu/a"),
            ("resolved", world.incidents["a"].id, "eu/b"),
        ]
        await world.stop()


async def test_without_an_answer_of_the_store_a_node_tells_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that hangs delays a notice by seconds and does not swallow it."""
    monkeypatch.setattr(alerting_module, "PATIENCE_S", 0.05)

    class Hanging(MemoryStore):
        async def get(self, key: str) -> Any:
            await asyncio.Event().wait()

    async with Hook() as hook:
        world = Nodes("a")
        world.nodes["a"]._store = lambda: Hanging(MemoryCluster())
        world.follow(alert(hook.url))
        world.nodes["a"].take(world.incidents["a"])
        await world.pass_()
        await until(lambda: hook.told() == ["opened"])
        await world.stop()


async def test_a_receiver_that_refuses_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of the receiver are retried in order; its refusal and a redirect are not; each is counted."""
    monkeypatch.setattr(receiver, "FIRST_PAUSE_S", 0.01)
    async with Hook(500, 429, 200, 404, 302) as hook:
        world = Nodes("a")
        world.follow(alert(hook.url))
        node = world.nodes["a"]
        (to,) = node.receivers
        for name in ("one", "two", "three"):
            to.offer(notice_of(incident(name), "opened", "eu/a", NOW))
        await until(lambda: to.state.waiting == 0 or (to.state.failed == 1 and len(hook.got) >= 6))
        assert [body["incident"] for _, body in hook.got][:5] == ["one", "one", "one", "two", "three"]
        await until(lambda: to.state.waiting == 0)
        assert (to.state.sent, to.state.failed, to.state.host) == (2, 1, "127.0.0.1")
        assert "secret-path" not in repr(to.state)
        await world.stop()


async def test_a_queue_is_bounded() -> None:
    """A receiver that never answers costs a bounded number of notices; the oldest are dropped and counted."""
    world = Nodes("a")
    world.follow(alert("http://127.0.0.1:9/x"))
    (to,) = world.nodes["a"].receivers
    for number in range(receiver.MOST_WAITING + 20):
        to.offer(notice_of(incident(str(number)), "opened", "eu/a", NOW))
    assert (to.state.waiting, to.state.dropped) == (receiver.MOST_WAITING, 20)
    assert world.nodes["a"].counts == {"sent": 0, "failed": 0, "dropped": 20}
    world.follow()
    assert world.nodes["a"].counts["dropped"] == 20
    await world.stop()


@pytest.mark.parametrize(
    ("kind", "on", "told"),
    [
        ("target_down", (), ["opened", "resolved"]),
        ("target_down", ("target_down",), ["opened"]),
        ("target_down", ("target_down", "target_recovered"), ["opened", "resolved"]),
        ("target_down", ("target_recovered",), ["resolved"]),
        ("target_down", ("credential",), []),
        ("credential", ("credential",), ["opened", "resolved"]),
        ("slow", (), []),
    ],
)
async def test_what_a_receiver_asked_for(kind: str, on: tuple[str, ...], told: list[str]) -> None:
    """``on`` chooses the kinds; recovery of a target is a word of its own, and slowness alone alerts nobody."""
    async with Hook() as hook:
        world = Nodes("a")
        world.follow(alert(hook.url, *on))
        world.incidents["a"] = one = incident(kind=kind)
        world.nodes["a"].take(one)
        await world.pass_()
        await until(lambda: all(each.state.waiting == 0 for each in world.nodes["a"].receivers))
        one.closed = world.wall
        world.nodes["a"].take(one)
        await world.pass_(1.0)
        await until(lambda: all(each.state.waiting == 0 for each in world.nodes["a"].receivers))
        assert hook.told() == told
        await world.stop()


async def test_a_restarted_control_tells_what_was_not_delivered() -> None:
    """What was delivered is stored with the incident; a new process repeats nothing and tells the missing end."""
    async with Hook() as hook:
        world = Nodes("a")
        world.follow(alert(hook.url))
        world.nodes["a"].take(world.incidents["a"])
        await world.pass_()
        await until(lambda: world.incidents["a"].told != [])
        again = decode(encode(world.incidents["a"]))
        assert unfinished(again)
        later = Nodes("a")
        later.follow(alert(hook.url))
        later.nodes["a"].take(again)
        await later.pass_()
        again.closed = later.wall
        later.nodes["a"].take(again)
        await later.pass_(1.0)
        await until(lambda: len(again.told) == 2)
        assert hook.told() == ["opened", "resolved"]
        assert not unfinished(again)
        await world.stop()
        await later.stop()


async def test_json_is_signed() -> None:
    """The signature is HMAC-SHA256 over the time and the body, and a receiver can check it."""
    async with Hook() as hook:
        world = Nodes("a")
        world.follow(alert(hook.url, secret=Secret("hook-secret"), playbooks="https://wiki.test/edge/"))
        world.nodes["a"].take(world.incidents["a"])
        await world.pass_()
        await until(lambda: len(hook.got) == 1)
        await world.stop()
    fields, body = hook.got[0]
    moment, signature = (part.partition("=")[2] for part in fields["X-Edge-Signature"].split(","))
    content = notices.body(
        notice_of(world.incidents["a"], "opened", "eu/a", world.wall), "json", "", "https://wiki.test/edge/"
    )
    assert signature == hmac.new(b"hook-secret", moment.encode() + b"." + content, hashlib.sha256).hexdigest()
    assert body["playbook_url"] == "https://wiki.test/edge/provider-dark.md"
    assert (body["alert"], body["title"], body["since"]) == ("target_down", "p is down in eu", "2026-05-08T09:32:08Z")
    assert fields["X-Edge-Delivery"] == f"{world.incidents['a'].id}:opened"


def test_each_language() -> None:
    """Slack gets escaped text, PagerDuty trigger and resolve with one key, Alertmanager labels and times."""
    one = incident(missing=["eu: <p> & q"])
    opened, over = (notice_of(one, step, "eu/a", NOW + 60) for step in ("opened", "resolved"))  # type: ignore[arg-type]
    slack = json.loads(notices.body(opened, "slack", "", ""))
    assert "still missing: eu: &lt;p&gt; &amp; q" in slack["text"]
    trigger = json.loads(notices.body(opened, "pagerduty", "routing", "https://w.test"))
    resolve = json.loads(notices.body(over, "pagerduty", "routing", ""))
    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"] == f"edge-{one.id}"
    assert (trigger["routing_key"], trigger["payload"]["severity"]) == ("routing", "critical")
    assert trigger["links"][0]["href"] == "https://w.test/provider-dark.md"
    (firing,), (ended,) = (json.loads(notices.body(each, "alertmanager", "", "")) for each in (opened, over))
    assert firing["labels"] == ended["labels"]
    assert (firing["endsAt"], ended["endsAt"]) == ("2026-05-08T10:03:08Z", "2026-05-08T09:33:08Z")


async def test_alertmanager_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alertmanager forgets what is not repeated, so an open incident is repeated to it, and to no other."""
    async with Hook() as hook, Hook() as other:
        world = Nodes("a")
        world.follow(alert(hook.url, format="alertmanager"), alert(other.url))
        world.nodes["a"].take(world.incidents["a"])
        for _ in range(2):
            await world.pass_()
            await until(lambda: len(world.incidents["a"].told) == 2)
        await world.pass_(alerting_module.REPEAT_S)
        await until(lambda: len(hook.got) == 2)
        assert len(other.got) == 1
        await world.stop()


async def test_a_test_goes_to_every_receiver() -> None:
    """``edge alerts test`` reports for each webhook whether it took the notice, and leaves no alert open."""
    async with Hook() as good, Hook() as pager, Hook(403) as bad:
        world = Nodes("a")
        world.follow(
            alert(good.url),
            alert(pager.url, format="pagerduty", secret=Secret("k")),
            alert(bad.url),
            alert("http://127.0.0.1:9/x"),
        )
        found = await world.nodes["a"].test()
        assert [each["accepted"] for each in found] == [True, True, False, False]
        assert found[2]["error"] == "status 403"
        assert [body["event_action"] for _, body in pager.got] == ["trigger", "resolve"]
        assert good.told() == ["test"]
        await world.stop()


async def test_a_claim_that_cannot_be_read_is_replaced() -> None:
    """Garbage under the key of a claim does not silence an alert."""
    store = MemoryStore(MemoryCluster())
    await store.put(key_of("provider:p"), b"\xff{")
    assert await Claims(store, "eu/a").claim("provider:p", "i", "") == ("ours", "i")
    assert await Claims(store, "eu/b").claim("provider:p", "j", "") == ("theirs", "i")
    assert key_of("provider:a/b\n") == "incidents/provider:a_b_"
