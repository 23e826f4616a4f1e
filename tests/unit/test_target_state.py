"""The table of target states agrees with the compiled enums and with everything that shows a state."""

from __future__ import annotations

import typing

import pytest

from edge.native import Barred, Capability, Outcome, TripReason
from edge.terms import capabilities
from edge.terms import target_state as terms
from edge.wire.edge.v1 import admin_pb2

NATIVE = {
    "USABLE": terms.USABLE,
    "BARRED_OPEN": terms.OPEN,
    "BARRED_TRIAL": terms.HALF_OPEN,
    "BARRED_RATE_LIMITED": terms.RATE_LIMITED,
    "BARRED_QUARANTINED": terms.QUARANTINED,
    "BARRED_FULL": terms.FULL,
    "BARRED_MANUAL": terms.MANUAL,
    "BARRED_TRIED": terms.TRIED,
    "BARRED_EXHAUSTED": terms.EXHAUSTED,
    "BARRED_RAMP": terms.SPILL_LIMITED,
    "ASIDE_SLOW_START": terms.SLOW_START,
    "ASIDE_REGIONS": terms.UNHEALTHY_ELSEWHERE,
    "BARRED_CAPABILITY": terms.CAPABILITY_DOWN,
    "ASIDE_KEPT": terms.KEPT_ELSEWHERE,
}


def test_codes_are_those_of_the_compiled_part() -> None:
    """Each name of the native enum has a state with its code, and the table has no other state."""
    assert {name: Barred[name].value for name in Barred.__members__} == {
        name: state.code for name, state in NATIVE.items()
    }
    assert tuple(NATIVE.values()) == terms.STATES


def test_reasons_are_those_of_the_compiled_part() -> None:
    """Every TripReason has a reason, and so has every Outcome that quarantines a target."""
    assert list(terms.TRIPPED) == list(TripReason)
    assert list(terms.MISSING) == list(Capability)
    assert tuple(part.name.removeprefix("C_").lower() for part in Capability) == capabilities.NAMES
    assert set(terms.QUARANTINE) == {Outcome.FAIL_STATUS, Outcome.REFUSED_CREDENTIAL, Outcome.MISCONFIGURED}


def test_labels_and_sentences_are_told_apart() -> None:
    """No two states share a label or a sentence, no two reasons of a state share a sentence."""
    assert tuple(state.label for state in terms.STATES) == typing.get_args(terms.Label)
    labels = [*(state.label for state in terms.STATES), terms.PASSED_OVER[0]]
    assert len(set(labels)) == len(labels)
    assert all(label.replace("_", "").isalpha() and label.islower() for label in labels)
    for table in (terms.TRIPPED, terms.QUARANTINE, terms.BY_HAND, terms.MISSING):
        sentences = [reason.sentence for reason in table.values()]
        assert len(set(sentences)) == len(sentences)
    assert len({state.sentence for state in terms.STATES}) == len(terms.STATES)


@pytest.mark.parametrize("state", terms.REPORTED, ids=lambda state: state.label)
def test_grpc_knows_every_state_that_is_reported(state: terms.TargetState) -> None:
    """The proto has one value for each state that a report can name."""
    assert admin_pb2.TargetState.Value(f"TARGET_STATE_{state.label.upper()}") > 0
    assert len(admin_pb2.TargetState.keys()) == len(terms.REPORTED) + 1


def test_an_unknown_reason_leaves_the_sentence_of_the_state() -> None:
    """A reason without a row has the sentence of the state; a known reason has its own."""
    assert terms.reason_for(terms.OPEN, 99).sentence == terms.OPEN.sentence
    assert terms.reason_for(terms.RATE_LIMITED, 1).sentence == terms.RATE_LIMITED.sentence
    assert terms.reason_for(terms.OPEN, 1) is terms.TRIPPED[1]
