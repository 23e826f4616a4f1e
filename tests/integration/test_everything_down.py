"""Without a usable target: 503 with Retry-After, a trickle of trials, and a fast recovery."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from one_data_plane import OneDataPlane, models, one_data_plane, whole
from witness import Witness, asking, set_manual

from edge import clock
from edge.sim.asked import Pace
from edge.sim.faults import Fault
from edge.sim.wire import Close, ReadMessage, ScriptedServer, Send, refused_port
from edge.sim.world import SimulatedProviders
from edge.terms.target_state import MANUAL, QUARANTINE, RATE_LIMITED

if TYPE_CHECKING:
    from collections.abc import Mapping

BAD = (ReadMessage(), Send(whole(b"{}", b"500 Internal Server Error")), Close())
OPEN_S = 1.0


def configured(*urls: str, breaker: str) -> str:
    """Return a data plane's configuration with this breaker."""
    return models(*urls, defaults=f"defaults: {{breaker: {breaker}}}")


async def ask(data_plane: OneDataPlane) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Send a request; return the status, the fields and the body."""
    answer = await data_plane.ask(asking(), b"}}")
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), fields, json.loads(body)


async def down(data_plane: OneDataPlane, *names: str) -> None:
    """Send requests until every circuit is open."""
    for _ in range(30):
        await ask(data_plane)
        if {data_plane.target(name)["state"] for name in names} == {"open"}:
            return
    pytest.fail(f"not open: {[data_plane.target(name) for name in names]}")


def wait_s(target: Mapping[str, Any]) -> float:
    """Return the seconds until an open target may be tried."""
    return float(target["until_ns"] - target["now_ns"]) / 1e9


async def test_the_503() -> None:
    """Retry-After is the earliest recovery; the body lists every target with its state, reason and time."""
    with refused_port() as dead:
        async with ScriptedServer(BAD) as bad:
            text = configured(
                f"http://127.0.0.1:{dead}", bad.url, breaker="{open_duration: 7s, open_duration_max: 60s}"
            )
            async with one_data_plane(text) as data_plane:
                await down(data_plane, "p0/m", "p1/m")
                asked_s = clock.now_ns() / 1e9
                status, fields, body = await ask(data_plane)
                told_s = clock.now_ns() / 1e9 - asked_s
                # what is left when it is asked; when it is told so much time less is left
                waits = {name: data_plane.target(name)["until_ns"] / 1e9 - asked_s for name in ("p0/m", "p1/m")}
                assert status == 503
                assert fields["content-type"] == "application/json"
                assert -told_s <= int(fields["retry-after"]) - min(waits.values()) < 1.1
                assert 2.0 < min(waits.values()) < 9.0
                error = body["error"]
                assert (error["type"], error["code"]) == ("service_unavailable", "no_usable_target")
                assert error["tried"] == []
                for item in error["targets"]:
                    assert (item["state"], item["why"]) == ("open", "too many consecutive failures")
                    assert -told_s - 0.2 < item["retry_after_s"] - waits.pop(item["target"]) < 0.2
                assert waits == {}
                assert error["message"].startswith(
                    "No target of 'chat' can answer now: p0/m is open (too many consecutive"
                )
                assert error["message"].endswith(f"Retry in {fields['retry-after']} s.")


async def test_the_503_of_the_last_attempt() -> None:
    """The body lists the targets that were tried, and how each attempt failed."""
    with refused_port() as dead:
        async with (
            ScriptedServer(BAD) as bad,
            one_data_plane(models(f"http://127.0.0.1:{dead}", bad.url)) as data_plane,
        ):
            status, fields, body = await ask(data_plane)
            assert status == 503
            assert fields["retry-after"] == "1"
            assert fields["x-edge-attempts"] == "3"
            tried = [(item["target"], item["outcome"]) for item in body["error"]["tried"]]
            assert tried[:2] == [("p0/m", "fail_connect"), ("p1/m", "fail_status")]
            assert len(tried) == 3


async def test_each_bar_has_its_reason() -> None:
    """Quarantined, rate-limited and manually ejected targets are distinguished in the list."""
    refused = (ReadMessage(), Send(whole(b"{}", b"401 Unauthorized")), Close())
    missing = (ReadMessage(), Send(whole(b'{"code":"model_not_found"}', b"404 Not Found")), Close())
    limited = (ReadMessage(), Send(b"HTTP/1.1 429 Slow\r\nretry-after: 9\r\ncontent-length: 0\r\n\r\n"), Close())
    async with ScriptedServer(refused) as one, ScriptedServer(missing) as two, ScriptedServer(limited) as three:
        text = configured(one.url, two.url, three.url, "http://127.0.0.1:1", breaker="{}, retry: {attempts: 6}")
        async with one_data_plane(text) as data_plane:
            set_manual(data_plane, "p3/m", 2)
            status, fields, body = await ask(data_plane)
            said = {item["target"]: (item["state"], item["why"]) for item in body["error"]["targets"]}
            assert (status, fields["retry-after"]) == (503, "9")
            assert said == {
                "p0/m": ("quarantined", QUARANTINE[11].sentence),
                "p1/m": ("quarantined", QUARANTINE[12].sentence),
                "p2/m": ("rate_limited", RATE_LIMITED.sentence),
                "p3/m": ("manual", MANUAL.sentence),
            }


async def test_the_trickle() -> None:
    """Under load each dead target is tried at most once per open period, whatever its back-off."""
    async with ScriptedServer(BAD) as one, ScriptedServer(BAD) as two:
        async with one_data_plane(
            configured(one.url, two.url, breaker="{open_duration: 1s, open_duration_max: 60s}")
        ) as data_plane:
            await down(data_plane, "p0/m", "p1/m")
            before = [len(server.peers) for server in (one, two)]
            load = Witness(data_plane.port, count=300, rate=60, connections=4)
            await load.run()
            assert len(load.closed_loop.failures) == 300
            assert {failure.reason.partition(":")[0] for failure in load.closed_loop.failures} == {"status 503"}
            for server, already, name in zip((one, two), before, ("p0/m", "p1/m"), strict=True):
                at_s = [peer.opened_s for peer in server.peers[already - 1 :]]
                gaps_s = [later - earlier for earlier, later in pairwise(at_s)]
                assert len(gaps_s) >= 3
                # seen from the provider, which may look late at one and in time at the next
                assert min(gaps_s) > 0.4 * OPEN_S
                assert sum(gaps_s) > 0.9 * OPEN_S * (len(gaps_s) - 1)
                assert wait_s(data_plane.target(name)) > 2 * OPEN_S


async def test_the_way_back() -> None:
    """A recovered target is found within an open period, although its back-off is longer."""
    pace = Pace(ttft_s=0.002, tps=0.0, tokens=4)
    async with SimulatedProviders("a", "b", pace=pace) as world:
        text = configured(world["a"].url, world["b"].url, breaker="{open_duration: 1s, open_duration_max: 60s}")
        async with one_data_plane(text) as data_plane:
            await world["a"].switch(Fault(kind="error"))
            await world["b"].switch(Fault(kind="reset"))
            await down(data_plane, "p0/m", "p1/m")
            dark = Witness(data_plane.port, count=240, rate=60, connections=2)
            await dark.run()
            assert len(dark.closed_loop.failures) == 240
            await world["b"].switch()
            repaired_s = clock.now_ns() / 1e9
            alone_s = wait_s(data_plane.target("p1/m"))
            assert alone_s > 2 * OPEN_S
            light = Witness(data_plane.port, count=240, rate=60, connections=2)
            await light.run()
            first_s = light.first_s("p1/m", repaired_s)
            assert first_s is not None
            assert first_s < alone_s
            late = [failure for failure in light.closed_loop.failures if failure.at_s - repaired_s > first_s + 0.5]
            assert late == []
            assert data_plane.target("p1/m")["state"] == "closed"
            assert data_plane.target("p0/m")["state"] != "closed"


async def test_the_last_target_alone() -> None:
    """A pool of one target answers 503 while the target is dead, and answers soon after its recovery."""
    async with SimulatedProviders("a", pace=Pace(ttft_s=0.002, tps=0.0, tokens=4)) as world:
        async with one_data_plane(
            configured(world["a"].url, breaker="{open_duration: 500ms, open_duration_max: 60s}")
        ) as data_plane:
            await world["a"].switch(Fault(kind="error"))
            await down(data_plane, "p0/m")
            dark = Witness(data_plane.port, count=120, rate=60, connections=2)
            await dark.run()
            assert len(dark.closed_loop.failures) == 120
            await world["a"].switch()
            repaired_s = clock.now_ns() / 1e9
            alone_s = wait_s(data_plane.target("p0/m"))
            light = Witness(data_plane.port, count=120, rate=60, connections=2)
            await light.run()
            first_s = light.first_s("p0/m", repaired_s)
            assert first_s is not None
            assert first_s < max(alone_s, 0.7)
