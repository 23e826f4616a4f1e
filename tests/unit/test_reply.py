"""edge has a message for every reason that keeps a target from answering."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edge.listen import reply
from edge.native import Barred, Capability, Outcome, TripReason
from edge.terms import exhaustion
from edge.terms.target_state import TRIED

BEHIND = [
    *((Barred.BARRED_OPEN, reason) for reason in TripReason if reason),
    *((Barred.BARRED_QUARANTINED, outcome) for outcome in (Outcome.REFUSED_CREDENTIAL, Outcome.MISCONFIGURED)),
    (Barred.BARRED_QUARANTINED, Outcome.FAIL_STATUS),  # what grpc.health.v1 says of a service
    (Barred.BARRED_TRIAL, 0),
    (Barred.BARRED_RATE_LIMITED, 0),
    (Barred.BARRED_FULL, 0),
    (Barred.BARRED_EXHAUSTED, 0),
    (Barred.BARRED_RAMP, 0),
    (Barred.BARRED_MANUAL, 0),
    (Barred.BARRED_TRIED, 0),
    *((Barred.BARRED_CAPABILITY, part) for part in Capability),
]


@pytest.mark.parametrize(("bar", "behind"), BEHIND)
def test_a_body_says_why(bar: Barred, behind: int) -> None:
    """For every bar and each of its reasons the body has a state and a sentence."""
    for problem in (
        reply.unavailable("chat", [], [("p/m", bar, behind, 1.0)], 1.0, service=False),
        reply.overloaded("chat", [], [("p/m", bar, behind, 1.0)], 1),
    ):
        (told,) = msgspec.json.decode(problem[2])["error"]["targets"]
        assert told["state"]
        assert told["why"]


def test_who_is_passed_over_has_a_word_of_its_own() -> None:
    """Every bar and every reason to stand aside has its own ``x-edge-reason``; all but one are documented."""
    words = [reply.passed_over(bar) for bar in Barred if bar != Barred.BARRED_CAPABILITY]
    words += [reply.passed_over(Barred.BARRED_CAPABILITY, part) for part in Capability]
    assert len(set(words)) == len(words)
    documented = (Path(__file__).parents[2] / "docs/outcomes.md").read_text()
    assert {word for word in words if f"| `{word}` |" in documented} == set(words) - {TRIED.label}


@pytest.mark.parametrize("sentence", sorted(exhaustion.CODES))
@pytest.mark.parametrize("service", [False, True])
def test_what_this_node_lacks_has_a_code_of_its_own(sentence: str, service: bool) -> None:
    """If the last attempt failed for a lack on this node, the 503 names it and has Retry-After."""
    tried = [("a/m", "fail_reset", "closed"), ("b/m", "cancelled", sentence)]
    status, fields, body = reply.unavailable("chat", tried, [("b/m", Barred.USABLE, 0, 0.0)], 0.2, service)
    error = msgspec.json.decode(body)["error"]
    assert (status, error["type"], error["code"]) == (503, "overloaded", exhaustion.CODES[sentence])
    assert sentence in error["message"]
    assert (b"retry-after", b"1") in fields
    assert set(exhaustion.SENTENCES.values()) == set(exhaustion.CODES)
