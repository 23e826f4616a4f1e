"""The decisions of an exchange: a table of states, events and facts with the step that each leads to."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from native.proxy.steps import Event, State, Step, decide, may_follow

FACTS = (
    "others_late",
    "may_retry",
    "another",
    "moved",
    "told_to_wait",
    "may_join",
    "cutting",
    "circuit_open",
    "declined",
    "may_resume",
    "may_repeat",
)
ALIVE: dict[str, Any] = {"may_retry": True, "another": True}
BEFORE_COMMIT = [State.ADMITTED, State.QUEUED, State.ATTEMPTING, State.BACKOFF]

TABLE: list[tuple[State, Event, dict[str, Any], Step]] = [
    (State.ADMITTED, Event.TARGET_DRAWN, {}, Step.START_ATTEMPT),
    (State.QUEUED, Event.TARGET_DRAWN, {}, Step.START_ATTEMPT),
    (State.ADMITTED, Event.TARGETS_FULL, {}, Step.QUEUE),
    (State.ATTEMPTING, Event.TARGETS_FULL, {"others": 1}, Step.KEEP_WAITING),
    (State.ADMITTED, Event.NO_TARGET, {}, Step.GIVE_UP),
    (State.ATTEMPTING, Event.NO_TARGET, {"others": 1}, Step.KEEP_WAITING),
    # failures before the commit point
    (State.ATTEMPTING, Event.ATTEMPT_FAILED, ALIVE, Step.CHOOSE_AGAIN),
    (State.ATTEMPTING, Event.ATTEMPT_FAILED, {"may_retry": True}, Step.BACK_OFF),
    (State.ATTEMPTING, Event.ATTEMPT_FAILED, {**ALIVE, "told_to_wait": True}, Step.BACK_OFF),
    (State.ATTEMPTING, Event.ATTEMPT_FAILED, {"may_retry": True, "moved": True}, Step.CHOOSE_AGAIN),
    (State.ATTEMPTING, Event.ATTEMPT_FAILED, {"another": True}, Step.GIVE_UP),
    (State.ATTEMPTING, Event.ATTEMPT_FAILED, {**ALIVE, "cutting": True}, Step.GIVE_UP),
    (State.ATTEMPTING, Event.ATTEMPT_FAILED, {**ALIVE, "others": 1}, Step.KEEP_WAITING),
    (State.ATTEMPTING, Event.ATTEMPT_FAILED, {**ALIVE, "others": 1, "others_late": True}, Step.CHOOSE_AGAIN),
    (State.ATTEMPTING, Event.ATTEMPT_FAILED, {"others": 1, "others_late": True}, Step.KEEP_WAITING),
    (State.ATTEMPTING, Event.ATTEMPT_REFUSED, {"others": 1}, Step.PASS_ON_REFUSAL),
    # a fast failure is repeated at the same target before others are asked
    (State.ATTEMPTING, Event.ATTEMPT_FAILED, {**ALIVE, "may_repeat": True}, Step.REPEAT),
    (State.ATTEMPTING, Event.ATTEMPT_FAILED, {"another": True, "may_repeat": True}, Step.GIVE_UP),
    (State.ATTEMPTING, Event.ATTEMPT_FAILED, {**ALIVE, "may_repeat": True, "told_to_wait": True}, Step.BACK_OFF),
    (State.ATTEMPTING, Event.ATTEMPT_FAILED, {**ALIVE, "may_repeat": True, "others": 1}, Step.KEEP_WAITING),
    # a hedge starts beside one attempt, before the commit point
    (State.ATTEMPTING, Event.HEDGE_DUE, {"others": 1, "may_join": True}, Step.START_HEDGE),
    (State.ATTEMPTING, Event.HEDGE_DUE, {"others": 1}, Step.KEEP_WAITING),
    (State.ATTEMPTING, Event.HEDGE_DUE, {"others": 2, "may_join": True}, Step.KEEP_WAITING),
    (State.ATTEMPTING, Event.HEDGE_DUE, {"others": 0, "may_join": True}, Step.KEEP_WAITING),
    (State.ATTEMPTING, Event.HEDGE_DUE, {"others": 1, "may_join": True, "cutting": True}, Step.KEEP_WAITING),
    (State.BACKOFF, Event.HEDGE_DUE, {"others": 1, "may_join": True}, Step.KEEP_WAITING),
    (State.COMMITTED, Event.HEDGE_DUE, {"others": 1, "may_join": True}, Step.KEEP_WAITING),
    (State.RESUMING, Event.HEDGE_DUE, {"others": 1, "may_join": True}, Step.KEEP_WAITING),
    # a better tier that rests is waited for
    (State.ADMITTED, Event.TARGETS_REST, {}, Step.BACK_OFF),
    (State.BACKOFF, Event.TARGETS_REST, {}, Step.BACK_OFF),
    (State.ATTEMPTING, Event.TARGETS_REST, {"others": 1}, Step.KEEP_WAITING),
    # a target that declines the request is left for another; if there is none, the client gets its answer
    (State.ATTEMPTING, Event.ATTEMPT_DECLINED, ALIVE, Step.CHOOSE_AGAIN),
    (State.ATTEMPTING, Event.ATTEMPT_DECLINED, {"may_retry": True}, Step.GIVE_UP),
    (State.ATTEMPTING, Event.ATTEMPT_DECLINED, {"another": True}, Step.GIVE_UP),
    (State.ATTEMPTING, Event.ATTEMPT_DECLINED, {**ALIVE, "cutting": True}, Step.GIVE_UP),
    (State.ATTEMPTING, Event.ATTEMPT_DECLINED, {**ALIVE, "others": 1}, Step.KEEP_WAITING),
    (State.ATTEMPTING, Event.ATTEMPT_DECLINED, {**ALIVE, "others": 1, "others_late": True}, Step.CHOOSE_AGAIN),
    (State.ATTEMPTING, Event.ATTEMPT_DECLINED, {"others": 1, "others_late": True}, Step.KEEP_WAITING),
    (State.ATTEMPTING, Event.TARGETS_FULL, {"declined": True}, Step.GIVE_UP),
    (State.COMMITTED, Event.ATTEMPT_DECLINED, ALIVE, Step.BREAK),
    # late attempts are joined
    (State.ATTEMPTING, Event.ATTEMPT_LATE, {**ALIVE, "may_join": True}, Step.START_BESIDE),
    (State.ATTEMPTING, Event.ATTEMPT_LATE, ALIVE, Step.KEEP_WAITING),
    (State.ATTEMPTING, Event.ATTEMPT_LATE, {"may_retry": True, "may_join": True}, Step.KEEP_WAITING),
    (State.ATTEMPTING, Event.ATTEMPT_LATE, {"another": True, "may_join": True}, Step.KEEP_WAITING),
    (State.ATTEMPTING, Event.ATTEMPT_LATE, {**ALIVE, "may_join": True, "others": 1}, Step.KEEP_WAITING),
    (
        State.ATTEMPTING,
        Event.ATTEMPT_LATE,
        {**ALIVE, "may_join": True, "others": 1, "others_late": True},
        Step.START_BESIDE,
    ),
    # an attempt beside which no other may run is left when its circuit opens
    (State.ATTEMPTING, Event.ATTEMPT_LATE, {**ALIVE, "circuit_open": True}, Step.LEAVE_TARGET),
    (State.ATTEMPTING, Event.ATTEMPT_LATE, {"another": True, "circuit_open": True}, Step.KEEP_WAITING),
    (State.ATTEMPTING, Event.ATTEMPT_LATE, {**ALIVE, "may_join": True, "circuit_open": True}, Step.START_BESIDE),
    # after the commit point nothing is asked for as a whole again
    (State.ATTEMPTING, Event.ANSWER_BEGUN, {}, Step.COMMIT),
    (State.COMMITTED, Event.ATTEMPT_FAILED, ALIVE, Step.BREAK),
    (State.COMMITTED, Event.ATTEMPT_LATE, {**ALIVE, "may_join": True}, Step.KEEP_WAITING),
    (State.COMMITTED, Event.ANSWER_COMPLETE, {}, Step.FINISH),
    (State.COMMITTED, Event.ATTEMPT_REFUSED, {}, Step.BREAK),
    (State.COMMITTED, Event.ANSWER_BEGUN, {}, Step.KEEP_WAITING),
    (State.COMMITTED, Event.DEADLINE_OVER, {}, Step.BREAK),
    # running attempts are ended when the time is over or the node stops, before the commit point and after it
    (State.ATTEMPTING, Event.DEADLINE_OVER, {"others": 1}, Step.END_ATTEMPTS),
    (State.ATTEMPTING, Event.DEADLINE_OVER, {**ALIVE, "others": 2, "others_late": True}, Step.END_ATTEMPTS),
    (State.QUEUED, Event.DEADLINE_OVER, {**ALIVE, "others": 1, "cutting": True}, Step.END_ATTEMPTS),
    (State.COMMITTED, Event.DEADLINE_OVER, {"others": 1}, Step.END_ATTEMPTS),
    (State.RESUMING, Event.DEADLINE_OVER, {}, Step.BREAK),
    (State.RESUMING, Event.DEADLINE_OVER, {"others": 1}, Step.END_ATTEMPTS),
    # an answer that breaks off is continued by another target, if one may
    (State.COMMITTED, Event.ATTEMPT_FAILED, {"may_resume": True}, Step.RESUME),
    (State.COMMITTED, Event.ATTEMPT_FAILED, {"may_resume": True, "cutting": True}, Step.BREAK),
    (State.RESUMING, Event.TARGET_DRAWN, {}, Step.START_ATTEMPT),
    (State.RESUMING, Event.TARGETS_FULL, {}, Step.BREAK),
    (State.RESUMING, Event.NO_TARGET, {}, Step.BREAK),
    (State.RESUMING, Event.ANSWER_BEGUN, {}, Step.COMMIT),
    (State.RESUMING, Event.ATTEMPT_FAILED, {"may_resume": True}, Step.RESUME),
    (State.RESUMING, Event.ATTEMPT_FAILED, ALIVE, Step.BREAK),
    (State.RESUMING, Event.ATTEMPT_LATE, {**ALIVE, "may_join": True}, Step.KEEP_WAITING),
    # waiting
    (State.QUEUED, Event.MOMENT_OVER, {}, Step.SHED),
    (State.BACKOFF, Event.MOMENT_OVER, {}, Step.CHOOSE_AGAIN),
    # the cache
    (State.ADMITTED, Event.ANSWER_KEPT, {}, Step.REPLAY),
    (State.ADMITTED, Event.ANSWER_AWAITED, {}, Step.AWAIT),
    (State.ADMITTED, Event.NOT_KEPT, {}, Step.CHOOSE_AGAIN),
    (State.WAITING, Event.MOMENT_OVER, {}, Step.LOOK_AGAIN),
    (State.WAITING, Event.ANSWER_KEPT, {}, Step.REPLAY),
    (State.WAITING, Event.NOT_KEPT, {}, Step.CHOOSE_AGAIN),
    (State.WAITING, Event.DEADLINE_OVER, {}, Step.GIVE_UP),
]


@pytest.mark.parametrize(("state", "event", "facts", "step"), TABLE)
def test_an_event_leads_to_its_step(state: State, event: Event, facts: dict[str, Any], step: Step) -> None:
    """Each row of the table is what the code decides."""
    assert decide(state, event, **facts) == step


@pytest.mark.parametrize("state", BEFORE_COMMIT)
def test_the_deadline_ends_the_exchange(state: State) -> None:
    """Before the commit point the client is told that nothing answered in time, whatever targets are left."""
    assert decide(state, Event.DEADLINE_OVER, may_retry=True, another=True) == Step.GIVE_UP


@pytest.mark.parametrize("event", list(Event))
def test_nothing_is_tried_again_after_the_commit_point(event: Event) -> None:
    """No event of a committed exchange asks for the whole answer again, even if all facts would allow that."""
    step = decide(State.COMMITTED, event, may_retry=True, another=True, may_join=True, moved=True)
    assert step in {Step.KEEP_WAITING, Step.FINISH, Step.BREAK}


def test_no_event_or_step_is_idle() -> None:
    """Over all states and facts every event leads somewhere, and every step is reached."""
    found: dict[Event, set[Step]] = {event: set() for event in Event}
    for state, event in itertools.product(set(State) - {State.CLOSED}, Event):
        for others, bits in itertools.product((0, 1, 2), itertools.product((False, True), repeat=len(FACTS))):
            found[event].add(decide(state, event, others=others, **dict(zip(FACTS, bits, strict=True))))
    assert [event for event, steps in found.items() if steps <= {Step.KEEP_WAITING}] == []
    assert set(Step) - set[Step]().union(*found.values()) == set()


def test_the_exchange_knows_every_event_and_step() -> None:
    """The exchange passes every event to the table, and has a branch for every step."""
    folder = Path(__file__).parents[2] / "native/proxy"
    text = "".join((folder / name).read_text() for name in ("exchange.pyx", "flight.pyx", "retry.pyx", "selection.pyx"))
    assert [event.name for event in Event if f"Event.{event.name}" not in text] == []
    # KEEP_WAITING, and what follows from the others by elimination, need no branch of their own
    assert {step.name for step in Step if f"Step.{step.name}" not in text} <= {"KEEP_WAITING", "CHOOSE_AGAIN"}


def test_every_state_but_the_last_leads_to_the_end() -> None:
    """Any exchange can be closed, by its client or by the node; a closed exchange never changes."""
    assert all(may_follow(state, State.CLOSED) for state in State)
    assert [state for state in State if may_follow(State.CLOSED, state)] == [State.CLOSED]


def test_an_exchange_commits_once() -> None:
    """A committed exchange returns to none of the states in which the whole answer is asked for."""
    assert [state for state in State if may_follow(State.COMMITTED, state)] == [
        State.COMMITTED,
        State.RESUMING,
        State.CLOSED,
    ]
