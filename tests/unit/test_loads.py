"""The load of inference servers is read from their metrics where it counts, and what cannot be read changes nothing."""

from __future__ import annotations

import asyncio

import pytest
from plans import shared_state_for, snapshot

from edge import clock
from edge.control.loads import PERIOD_NS, Loads, parse, wanted

VLLM = """\
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="qwen {3}"} 3.0
vllm:num_requests_waiting{engine="1",model_name="qwen {3}"} 4.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 9.0
vllm:kv_cache_usage_perc{engine="0",model_name="qwen"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="qwen"} 0.5
"""
TEXT = """
providers:
  gpu: {kind: vllm, base_url: "http://127.0.0.1:9/v1"}
  other: {kind: sglang, base_url: "http://127.0.0.1:8/v1"}
models:
  chat: {targets: [gpu/m, other/m], affinity: prefix}
  alone: {targets: [gpu/n], affinity: prefix}
  hosted: {targets: [gpu/o, other/o]}
"""


@pytest.mark.parametrize(
    ("text", "load"),
    [
        (VLLM, (7, 0.5)),
        ("sglang:num_queue_reqs 2\nsglang:token_usage 0.75\n", (2, 0.75)),
        ("sglang:num_queue_reqs 1e9\nsglang:token_usage 7\n", (65535, 1.0)),
        ("sglang:num_queue_reqs 2 1700000000000\n", (2, 0.0)),
        ("vllm:num_requests_waiting NaN\nsglang:token_usage -1\n", None),
        ("vllm:num_requests_waiting\nvllm:num_requests_waiting{ x\n", None),
        ("up 1\n", None),
        ("", None),
    ],
)
def test_what_a_server_says_is_its_queue_and_its_cache(text: str, load: tuple[int, float] | None) -> None:
    """Queues of all engines are summed, the fullest cache counts, and nonsense is not known."""
    assert parse(text) == load


def test_only_members_of_pools_with_prefix_are_asked() -> None:
    """Neither a pool of one nor a model without prefix needs the load of its targets."""
    assert [target.id for target in wanted(snapshot(TEXT))] == ["gpu/m", "other/m"]


async def rounds(
    answers: dict[str, str | Exception | None], count: int
) -> tuple[list[str], dict[str, tuple[int, float]]]:
    """Run ``count`` rounds; return who was asked, and what each target's record says then."""
    plan = snapshot(TEXT)
    state = shared_state_for(plan)
    asked: list[str] = []

    async def ask(target: object, path: str) -> str | None:
        name: str = target.id  # type: ignore[attr-defined]
        assert path == "/metrics"
        asked.append(name)
        answer = answers[name]
        if isinstance(answer, Exception):
            raise answer
        return answer

    loads = Loads(ask, state)
    now_ns = clock.now_ns()
    for number in range(count):
        loads.tend(plan, now_ns + 2 * number * PERIOD_NS, lambda: 0.0)
        for _ in range(8):
            await asyncio.sleep(0)
    await loads.stop()
    now_ns = clock.now_ns()
    views = {target.id: state.read_target(target.slot, now_ns) for target in wanted(plan)}
    return asked, {name: (view["waiting"], view["cache_use"]) for name, view in views.items()}


async def test_the_load_is_written_where_workers_read_it() -> None:
    """What a server says stands in its record; a server that fails is asked again, and has none."""
    asked, loads = await rounds({"gpu/m": VLLM, "other/m": OSError("no")}, 2)
    assert sorted(asked) == ["gpu/m", "gpu/m", "other/m", "other/m"]
    assert loads == {"gpu/m": (7, 0.5), "other/m": (0, 0.0)}


async def test_a_server_without_such_metrics_is_left_alone() -> None:
    """It is not asked again with the next rounds."""
    asked, loads = await rounds({"gpu/m": None, "other/m": "up 1\n"}, 4)
    assert sorted(asked) == ["gpu/m", "other/m"]
    assert loads == {"gpu/m": (0, 0.0), "other/m": (0, 0.0)}


def test_a_load_that_is_old_does_not_count() -> None:
    """Ten seconds after control wrote it, workers know nothing of a target's load."""
    plan = snapshot(TEXT)
    state = shared_state_for(plan)
    state.set_load(0, 5, 0.9, 1_000_000_000)
    assert state.read_target(0, 10_000_000_000)["waiting"] == 5
    assert state.read_target(0, 12_000_000_000)["waiting"] == 0
    with pytest.raises(ValueError, match="0 to 1"):
        state.set_load(0, 5, 1.5, 0)
