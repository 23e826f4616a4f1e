"""Every change of a target is logged once, at the right level."""

from __future__ import annotations

from plans import shared_state_for, snapshot

from edge.control.state_watch import StateWatch, read_targets
from edge.telemetry import logs

S = 1_000_000_000
NOW = 50 * S


def test_silence_until_something_changes() -> None:
    """Healthy targets and unchanged states are not logged."""
    plan = snapshot()
    shared_state = shared_state_for(plan)
    watch = StateWatch()
    assert watch.poll(read_targets(shared_state, plan, NOW)) == []
    slot = next(target.slot for target in plan.targets if target.id == "one/small")
    shared_state.set_quarantine(slot, 11, NOW + 60 * S)
    ((level, sentence, facts),) = watch.poll(read_targets(shared_state, plan, NOW))
    assert level == logs.ERROR
    assert sentence == "target is quarantined"
    assert facts["target"] == "one/small"
    assert "check the provider's key" in str(facts["why"])
    assert watch.poll(read_targets(shared_state, plan, NOW)) == []
    ((level, _, facts),) = watch.poll(read_targets(shared_state, plan, NOW + 61 * S))
    assert (level, facts["now"]) == (logs.INFO, "usable")


def test_every_target_of_a_route_is_read() -> None:
    """Targets of models, of wildcards and of services are all watched."""
    plan = snapshot()
    used = {plan.targets[member.target].id for route in plan.routes for member in route.members}
    assert set(read_targets(shared_state_for(plan), plan, NOW)) == used
    assert {"one/small", "two/big"} <= used
