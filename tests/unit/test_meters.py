"""Is the metrics page what Prometheus reads, and does it say what the Board holds?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from plans import board_for, snapshot
from prometheus_client.parser import text_string_to_metric_families

from edge.telemetry import catalog
from edge.telemetry.meters import NodeFacts, render

if TYPE_CHECKING:
    from edge.native import Board
    from edge.terms.snapshot import Snapshot

pytestmark = pytest.mark.timeout(10)

FACTS = NodeFacts(
    workers=2,
    serving={0: 7, 1: 6},
    restarts={"worker 0": 3, "control": 0},
    reloads={"applied": 2, "refused": 1},
    last_reloads={"applied": 5.0, "refused": 6.0},
)
S = 1_000_000_000


def samples(board: Board, plan: Snapshot, now_ns: int = 100 * S) -> dict[str, dict[tuple[str, ...], float]]:
    """Render and parse: family sample name -> label values -> value."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(render(board, plan, FACTS, now_ns=now_ns, wall_s=1_700_000_060.0)):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_every_family_is_in_the_catalogue_and_shown() -> None:
    """What is shown is documented, with the right type; what is documented is shown, once a worker has beaten."""
    plan = snapshot()
    board = board_for(plan)
    board.beat(0, 1, 1)
    text = render(board, plan, FACTS, now_ns=2, wall_s=0.0)
    shown = {family.name: family for family in text_string_to_metric_families(text)}
    for metric in catalog.ALL:
        name = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
        assert shown[name].type == metric.kind
        assert shown[name].documentation == metric.help
    assert len(shown) == len(catalog.ALL)


def test_names_follow_the_conventions() -> None:
    """Counters end in _total, nothing else does, units are base units, and every help is a sentence."""
    for metric in catalog.ALL:
        assert metric.name.startswith("edge_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert not metric.name.endswith(("_ms", "_us", "_ns", "_milliseconds"))
        assert metric.help.endswith(".")
    assert len({metric.name for metric in catalog.ALL}) == len(catalog.ALL)


def test_ages_restarts_and_versions() -> None:
    """Ages are seconds from now, and what the Board does not know comes from the facts."""
    plan = snapshot()
    board = board_for(plan)
    board.beat(1, 4711, 97 * S, 2500)
    found = samples(board, plan)
    assert found["edge_worker_heartbeat_age_seconds"] == {("1",): 3.0}
    assert found["edge_worker_loop_lag_seconds"] == {("0",): 0.0, ("1",): 0.0025}
    assert found["edge_snapshot_age_seconds"] == {(): 60.0}
    assert found["edge_worker_snapshot_version"] == {("0",): 7.0, ("1",): 6.0}
    assert found["edge_restarts_total"] == {("worker 0",): 3.0, ("control",): 0.0}


def test_out_and_resting_end_by_time() -> None:
    """A target is shown as out until its time is over, not for ever."""
    plan = snapshot()
    board = board_for(plan)
    slot = next(target.slot for target in plan.targets if target.id == "one/small")
    board.set_out(slot, 11, 110 * S)
    assert samples(board, plan, 109 * S)["edge_target_out"][("one/small",)] == 1
    assert samples(board, plan, 111 * S)["edge_target_out"][("one/small",)] == 0


def test_odd_names_are_escaped() -> None:
    """A name with quotes, backslashes or line breaks in it cannot forge a line."""
    text = """
models: {'say "hi" \\': {targets: [one/m]}}
providers: {one: {base_url: "http://127.0.0.1:9/v1"}}
"""
    plan = snapshot(text)
    found = samples(board_for(plan), plan)
    assert ('say "hi" \\',) in found["edge_requests_total"]
