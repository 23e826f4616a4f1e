"""Every change of a target is logged once, at the right level."""

from __future__ import annotations

from msgspec import structs
from plans import shared_state_for, snapshot

from edge.control.state_watch import StateWatch, read_targets
from edge.native import Capability
from edge.telemetry import logs
from native.balance.capability import Capabilities
from tests.breakers import USUAL

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


def test_a_capability_that_goes_and_comes_back_is_told() -> None:
    """The circuit of a capability is a warning with its reason; its return, and nothing in between, is told too."""
    plan = snapshot()
    shared_state, watch = shared_state_for(plan), StateWatch()
    slot = next(target.slot for target in plan.targets if target.id == "one/small")
    part = Capabilities(shared_state, slot, structs.replace(USUAL, slow_start_ns=0), S)
    for body in (1, 2):
        taken = part.take(1 << Capability.C_VISION, NOW)
        assert taken is not None
        part.decline(taken, Capability.C_VISION, NOW, body)
    ((level, sentence, facts),) = watch.poll(read_targets(shared_state, plan, NOW))
    assert (level, sentence) == (logs.WARNING, "capability is open")
    assert (facts["target"], facts["capability"], facts["was"]) == ("one/small", "vision", "usable")
    assert str(facts["why"]).startswith("requests that need vision: the target declines them")
    assert watch.poll(read_targets(shared_state, plan, NOW + S)) == []
    trial = part.take(1 << Capability.C_VISION, NOW + 2 * S)
    assert trial is not None
    part.work(trial, NOW + 2 * S)
    later = NOW + 60 * S
    told = watch.poll(read_targets(shared_state, plan, later))
    assert [(level, sentence, facts["capability"]) for level, sentence, facts in told] == [
        (logs.INFO, "capability is usable", "vision")
    ]
    assert watch.poll(read_targets(shared_state, plan, later)) == []
