"""The same fault in a drill and over real sockets: the same attempts per target, failures and takeovers, counted.

Both sides get the same requests, one after the other, and the primary fails from the same request on. Circuits stay
open to the end, so that no count depends on how long anything took.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from one_data_plane import one_data_plane, post

from edge.drills.load import Request
from edge.drills.rehearsal import BEGIN_NS, Rehearsal
from edge.drills.stage import set_stage
from edge.drills.upstream import Condition, Pace, Phase, Upstream
from edge.native import Outcome, RouteCounter, TargetCounter
from edge.sim import asked as sim
from edge.sim.faults import Fault
from edge.sim.provider import ProviderSpec, SimProvider

if TYPE_CHECKING:
    from pathlib import Path

    from edge.native import SharedState
    from edge.terms.snapshot import Snapshot

S = 1_000_000_000
HEALTHY, FAILING = 10, 12
GAP_S = 1.0  # between requests of the drill; longer than any of them takes
TARGETS = ("p0/m", "p1/m")
FAULTS = {
    "503": (Fault("error", status=503), Condition(failing=1.0)),
    "dark": (Fault("blackhole"), Condition(dark=1.0)),
    "unreachable": (Fault("refuse"), Condition(refused=True)),
    "quota": (
        Fault("error", status=429, code="insufficient_quota"),
        Condition(failing=1.0, status=429, code="insufficient_quota"),
    ),
    "429": (
        Fault("error", status=429, retry_after="60", shape="vllm"),  # that names no limit of which some is left
        Condition(failing=1.0, status=429, code="rate_limit_exceeded", retry_after=60),
    ),
}
BODY = b'{"model":"chat","messages":[{"role":"user","content":"#%d; Hello"}]}'


def text(primary: str, backup: str) -> str:
    """Return the configuration of both sides."""
    return f"""
listen: [{{address: "127.0.0.1:0"}}]
providers:
  p0: {{dialect: openai, base_url: '{primary}/v1'}}
  p1: {{dialect: openai, base_url: '{backup}/v1'}}
models:
  chat:
    targets: [p0/m, {{target: p1/m, tier: 2}}]
    timeouts: {{connect: 2s, first_byte: 400ms, first_token: 400ms, total: 20s}}
    breaker: {{open_duration: 60s, open_duration_max: 60s}}
"""


def counted(state: SharedState, snapshot: Snapshot, now_ns: int) -> dict[str, Any]:
    """Return what was counted for each target and the route, and the circuits' states."""
    found: dict[str, Any] = {}
    for target in snapshot.targets:
        if target.id in TARGETS:
            view = state.read_target(target.slot, now_ns)
            counts = view["counts"]
            found[target.id] = {
                "state": view["state"],
                "attempts": counts[TargetCounter.T_ATTEMPTS],
                "trips": counts[TargetCounter.T_TRIPS],
                "trials": counts[TargetCounter.T_TRIALS],
                "retried": counts[TargetCounter.T_RETRIED],
                "spilled": counts[TargetCounter.T_SPILLED],
                "outcomes": {outcome.name: counts[outcome] for outcome in Outcome if counts[outcome]},
            }
    counts = state.read_route(snapshot.routes[snapshot.models["chat"]].slot)["counts"]
    for counter in (RouteCounter.R_REQUESTS, RouteCounter.R_RETRIES, RouteCounter.R_FAILOVERS, RouteCounter.R_2XX):
        found[counter.name] = counts[counter]
    return found


def in_a_drill(file: Path, condition: Condition) -> tuple[list[tuple[int, str, str]], dict[str, Any]]:
    """Play the fault in virtual time; return status, target and attempts of each answer, and the counters."""
    stage = set_stage(file, environ={}, now=1.0)
    phases = (Phase((HEALTHY + 0.5) * GAP_S, condition, "ill"),)
    pace = Pace(first_s=0.02, spread=0.1, tokens=10_000)
    upstreams = {
        name: Upstream(name, 100, phases if name == TARGETS[0] else (), Random(name), pace) for name in TARGETS
    }
    rehearsal = Rehearsal(stage.snapshot, "chat", upstreams, minutes=1, wall_s=1.7e9, seed=1, patience_s=30)
    rehearsal.keeps = True
    count = HEALTHY + FAILING
    rehearsal.run(
        Request(n, int(n * GAP_S * S), 2, 3, stream=False, image=False, caller=0) for n in range(1, count + 1)
    )
    answers = [(call.status, dict(call.fields)) for _, call in rehearsal.calls]
    seen = [
        (status, fields[b"x-edge-target"].decode(), fields[b"x-edge-attempts"].decode()) for status, fields in answers
    ]
    return seen, counted(rehearsal.state, stage.snapshot, BEGIN_NS + int((count + 1) * GAP_S * S))


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_drill_counts_what_sockets_count(fault: str, tmp_path: Path) -> None:
    """Each answer comes from the same target after as many attempts, and all counters of health are equal."""
    real, condition = FAULTS[fault]
    quick = sim.Pace(ttft_s=0.0, tps=0.0, tokens=3)
    specs = [ProviderSpec(name=name, pace=quick) for name in ("p0", "p1")]
    async with SimProvider(specs[0]) as primary, SimProvider(specs[1]) as backup:
        written = text(primary.url, backup.url)
        file = tmp_path / "edge.yaml"
        file.write_text(written)
        expected, counts = in_a_drill(file, condition)
        seen = []
        async with one_data_plane(written) as data_plane:
            for number in range(1, HEALTHY + FAILING + 1):
                if number == HEALTHY + 1:
                    await primary.switch(real)
                peer = await data_plane.raw(post(BODY % number, fields=b"connection: close\r\n"))
                head = peer.received.partition(b"\r\n\r\n")[0].split(b"\r\n")
                fields = dict(line.split(b": ", 1) for line in head[1:])
                status = int(head[0].split()[1])
                seen.append((status, fields[b"x-edge-target"].decode(), fields[b"x-edge-attempts"].decode()))
            now_ns = data_plane.target(TARGETS[0])["now_ns"]
            assert seen == expected
            assert counted(data_plane.shared_state, data_plane.snapshot, now_ns) == counts
    assert [target for _, target, _ in expected] == [TARGETS[0]] * HEALTHY + [TARGETS[1]] * FAILING
    assert counts[TARGETS[0]]["attempts"] < HEALTHY + FAILING, "a takeover without an attempt at the primary"
