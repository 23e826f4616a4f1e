"""Prometheus can read the metrics page, and the page agrees with the shared state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec import structs
from plans import shared_state_for, snapshot
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from edge.native import HIST_BOUNDS_S, Capability, SharedState, TripReason
from edge.native import Allowance as NativeAllowance
from edge.routing.planner import capacities
from edge.telemetry import catalog, catalog_node
from edge.telemetry.exposition import OPENMETRICS, PROMETHEUS, Exemplar, form_of, openmetrics, prometheus
from edge.telemetry.meters import NodeFacts, read
from edge.telemetry.reading import Reading
from edge.telemetry.sharing import SharingFacts
from edge.telemetry.usage import month_of
from edge.terms.copies import Shadow
from edge.terms.snapshot import Credential, Member
from edge.terms.target_state import REPORTED
from native.balance.capability import Capabilities
from tests.breakers import USUAL
from tests.snapshots import allowance as an_allowance
from tests.snapshots import key as a_key

if TYPE_CHECKING:
    from edge.terms.snapshot import Snapshot

FACTS = NodeFacts(
    workers=2,
    states={"one/small": "rate_limited"},
    serving={0: 7, 1: 6},
    restarts={"worker 0": 3, "control": 0},
    reloads={"applied": 2, "refused": 1},
    last_reloads={"applied": 5.0, "refused": 6.0},
    metrics_exported={"sent": 3, "failed": 0},
    exported={"sent": 4, "dropped": 0, "failed": 0},
    alerts={"sent": 2, "failed": 1, "dropped": 0},
    discovery={"dns://pool:8000": (3, 1.5, 2)},
    issuers={"https://login.example/keys": (2, 3600.0, 1)},
    sharing=SharingFacts(
        connected=True,
        view_age_s=0.5,
        regions_fresh=3,
        writes=9,
        write_failures=1,
        relists=2,
        grant_moves=4,
        name_conflict=False,
        suspect={"eu": False, "us": True},
        shares={"key/team": (200.0, 5000.0)},
        places={"key/team": 3.0},
    ),
)
S = 1_000_000_000


def page(shared_state: SharedState, plan: Snapshot, now_ns: int = 100 * S) -> Reading:
    """Read a shared state."""
    return read(shared_state, plan, FACTS, now_ns=now_ns, wall_s=1_700_000_060.0)


def copied(plan: Snapshot) -> Snapshot:
    """Return the plan with shadow copies of its first route, which have a route and a target of their own."""
    first = plan.routes[0]
    slots = [max(each.slot for each in known) + 1 for known in (plan.targets, plan.routes)]
    target = structs.replace(plan.targets[0], id=f"shadow:{first.name}:p/m", slot=slots[0])
    taken = structs.replace(first, name="shadow**", slot=slots[1], members=(Member(len(plan.targets), 1, 1.0),))
    routes = (structs.replace(first, copies=Shadow(len(plan.routes), 1.0, 64)), *plan.routes[1:], taken)
    return structs.replace(plan, targets=(*plan.targets, target), routes=routes)


def test_copies_count_in_no_family_of_callers() -> None:
    """Neither their route nor their target is a label of a family that operators sum or alert on."""
    plan, shared_state = everything()
    for name, found in samples(shared_state, plan).items():
        assert not name.startswith("edge_shadow") or all(labels[1] == "p/m" for labels in found)
        assert name.startswith("edge_shadow") or not any("shadow" in label for labels in found for label in labels)


def everything() -> tuple[Snapshot, SharedState]:
    """Return a plan with keys and credentials, and its shared state."""
    keys = (
        a_key(
            "team",
            "0" * 64,
            0,
            allowance=an_allowance(
                0, requests_per_minute=600, tokens_per_minute=60_000, requests_burst=60, tokens_burst=60_000
            ),
            budget_nano=5 * S,
        ),
        a_key("old", "1" * 64, 1),
    )
    credentials = (Credential("one", an_allowance(1, requests_per_minute=60, requests_burst=10)),)
    plan = copied(structs.replace(snapshot(), keys=keys, credentials=credentials))
    targets, routes, *_ = capacities(plan)
    shared_state = SharedState.create(targets, routes, 2, allowance_capacity=2)
    shared_state.beat(0, 1, 1)
    part = Capabilities(shared_state, plan.targets[0].slot, USUAL, S)
    taken = part.take(1 << Capability.C_VISION, 99 * S)
    assert taken is not None
    part.work(part.take(1 << Capability.C_TOOLS, 99 * S) or taken, 99 * S)  # what never failed is not shown
    assert part.decline(taken, Capability.C_VISION, 99 * S, 1) == 0
    assert part.decline(taken, Capability.C_VISION, 99 * S, 2) == TripReason.TRIP_DECLINED
    return plan, shared_state


def samples(
    shared_state: SharedState, plan: Snapshot, now_ns: int = 100 * S
) -> dict[str, dict[tuple[str, ...], float]]:
    """Write and parse a page: family, sample name -> label values -> value."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(prometheus(page(shared_state, plan, now_ns))):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


def test_every_family_is_in_the_catalogue_and_shown() -> None:
    """The page and the catalogue have the same metrics with the same types, once a worker has a heartbeat."""
    plan, shared_state = everything()
    shown = {family.name: family for family in text_string_to_metric_families(prometheus(page(shared_state, plan)))}
    for metric in catalog.ALL:
        name = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
        assert shown[name].type == metric.kind
        assert shown[name].documentation == metric.help
    assert len(shown) == len(catalog.ALL)


def test_openmetrics_says_the_same() -> None:
    """The OpenMetrics page passes the strict parser and has the samples of the text page, with the same values."""
    plan, shared_state = everything()
    now = page(shared_state, plan)
    shown = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in openmetrics_families(openmetrics(now, {}))
        for sample in family.samples
    }
    wanted = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(prometheus(now))
        for sample in family.samples
    }
    assert shown == wanted


def test_an_exemplar_stands_at_its_bucket() -> None:
    """A bucket with requests shows the trace of one; empty buckets and the text format show none."""
    plan, shared_state = everything()
    now = page(shared_state, plan)
    filled = Reading()
    for metric, found in now:
        for sample in found:
            value = sample.value
            if metric is catalog.ROUTE_TOTAL:
                assert not isinstance(value, float | int)
                value = structs.replace(value, buckets=(0, 0, 3, *[0] * (len(HIST_BOUNDS_S) - 2)), sum=0.01)
            filled.add(metric, sample.labels, value)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    exemplars = {
        (catalog.ROUTE_TOTAL.name, ("chat",), place): Exemplar(trace, (HIST_BOUNDS_S[1] + HIST_BOUNDS_S[2]) / 2, 1.5)
        for place in (2, 3)
    }
    found = [
        (sample.labels["le"], sample.exemplar.labels)
        for family in openmetrics_families(openmetrics(filled, exemplars))
        for sample in family.samples
        if sample.exemplar
    ]
    assert found == [(str(HIST_BOUNDS_S[2]), {"trace_id": trace})]
    assert trace not in prometheus(filled)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", PROMETHEUS),
        ("*/*", PROMETHEUS),
        ("text/plain;version=0.0.4", PROMETHEUS),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", OPENMETRICS),
        ("Application/OpenMetrics-Text; version=0.0.1", OPENMETRICS),
        ("application/openmetrics-text;q=0, text/plain", PROMETHEUS),
        ("application/openmetrics-text;q=0.5", OPENMETRICS),
    ],
)
def test_the_form_follows_the_accept_field(accept: str, form: str) -> None:
    """OpenMetrics is sent to clients that accept it, and the text format to all others."""
    assert form_of(accept) == form


def test_what_is_left_of_an_allowance() -> None:
    """What is left goes from the whole burst to nothing; without a limit there is no sample."""
    plan, shared_state = everything()
    key = structs.replace(plan.keys[0], allowance=an_allowance(0, requests_per_minute=600, requests_burst=60))
    plan = structs.replace(plan, keys=(key,))
    for used, left in ((0, 1.0), (30, 0.5), (60, 0.0)):
        shared_state.clear_allowance(0)
        for _ in range(used):
            assert NativeAllowance(shared_state, key.allowance).take(100 * S) == (0, 0)
        assert samples(shared_state, plan)["edge_key_remaining_ratio"] == {("team", "requests"): pytest.approx(left)}


def test_what_is_left_of_a_share_is_of_what_this_node_may_grant() -> None:
    """What is left of a shared limit is relative to this node's share."""
    plan, shared_state = everything()
    allowance = an_allowance(0, requests_per_minute=600, requests_burst=60, shared=True)
    plan = structs.replace(plan, keys=(structs.replace(plan.keys[0], allowance=allowance),))
    shared_state.set_shares(0, 300_000, 0, until_ns=200 * S, nodes=2, now_ns=100 * S)
    assert samples(shared_state, plan)["edge_key_remaining_ratio"] == {("team", "requests"): 1.0}
    for _ in range(30):
        assert NativeAllowance(shared_state, allowance).take(100 * S) == (0, 0)
    assert NativeAllowance(shared_state, allowance).take(100 * S)[1] > 0
    assert samples(shared_state, plan)["edge_key_remaining_ratio"] == {("team", "requests"): 0.0}


def test_spending_is_of_this_month() -> None:
    """Spending of another month does not count in this month."""
    assert month_of(1_700_000_060.0) == 2023 * 12 + 10  # November
    plan, shared_state = everything()
    found = samples(shared_state, plan)
    assert found["edge_key_spent_usd"] == {("team",): 0.0}
    assert found["edge_key_budget_usd"] == {("team",): 5.0}
    assert set(found["edge_key_remaining_ratio"]) == {("team", "requests"), ("team", "tokens")}


def test_a_sample_has_the_labels_of_its_metric() -> None:
    """A sample with a missing or superfluous label raises an error."""
    with pytest.raises(ValueError, match="edge_requests_total"):
        Reading().add(catalog.REQUESTS, ("chat", "more"), 1)


def test_large_counters_keep_their_last_digit() -> None:
    """A counter of bytes is exact beyond ten digits."""
    reading = Reading()
    reading.add(catalog_node.BYTES_OUT, ("0",), 12_345_678_901_234)
    assert 'edge_worker_sent_bytes_total{worker="0"} 12345678901234\n' in prometheus(reading)


def test_names_follow_the_conventions() -> None:
    """Counters, and only counters, end in _total; units are base units; every help text is a sentence."""
    for metric in catalog.ALL:
        assert metric.name.startswith("edge_")
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert not metric.name.endswith(("_ms", "_us", "_ns", "_milliseconds"))
        assert metric.help.endswith(".")
    assert len({metric.name for metric in catalog.ALL}) == len(catalog.ALL)


def test_ages_restarts_and_versions() -> None:
    """Ages are in seconds until now, and other facts come from the node."""
    plan = snapshot()
    shared_state = shared_state_for(plan)
    shared_state.beat(1, 4711, 97 * S, 2500)
    found = samples(shared_state, plan)
    assert found["edge_worker_heartbeat_age_seconds"] == {("1",): 3.0}
    assert found["edge_worker_loop_lag_seconds"] == {("0",): 0.0, ("1",): 0.0025}
    assert found["edge_snapshot_age_seconds"] == {(): 60.0}
    assert found["edge_worker_snapshot_version"] == {("0",): 7.0, ("1",): 6.0}
    assert found["edge_restarts_total"] == {("worker 0",): 3.0, ("control",): 0.0}


def test_one_state_of_a_target_is_set() -> None:
    """The current state of a target is 1 and every other state is 0, so that one query finds it."""
    plan = snapshot()
    found = samples(shared_state_for(plan), plan)["edge_target_state"]
    assert set(found) == {("one/small", state.label) for state in REPORTED}
    assert [state for (_, state), holds in found.items() if holds] == ["rate_limited"]


def test_out_and_resting_end_by_time() -> None:
    """A quarantined or rate-limited target is shown so until its time is over."""
    plan = snapshot()
    shared_state = shared_state_for(plan)
    slot = next(target.slot for target in plan.targets if target.id == "one/small")
    shared_state.set_quarantine(slot, 11, 110 * S)
    assert samples(shared_state, plan, 109 * S)["edge_target_quarantined"][("one/small",)] == 1
    assert samples(shared_state, plan, 111 * S)["edge_target_quarantined"][("one/small",)] == 0


def test_odd_names_are_escaped() -> None:
    """A name with quotes, backslashes or line breaks cannot forge a line."""
    text = """
models: {'say "hi" \\': {targets: [one/m]}}
providers: {one: {base_url: "http://127.0.0.1:9/v1"}}
"""
    plan = snapshot(text)
    found = samples(shared_state_for(plan), plan)
    assert ('say "hi" \\',) in found["edge_requests_total"]


def test_a_capability_is_counted_beside_its_target() -> None:
    """A circuit, its failures and its trips stand under the target and the capability; the target's own do not move."""
    plan, shared_state = everything()
    found, about = samples(shared_state, plan), (plan.targets[0].id, "vision")
    assert found["edge_target_capability_circuit"] == {about: 1}
    assert found["edge_target_capability_failures_total"] == {about: 2}
    assert found["edge_target_capability_trips_total"] == {about: 1}
    assert found["edge_target_trips_total"][(about[0],)] == 0
    assert found["edge_target_circuit"][(about[0],)] == 0
