"""Every timer fires once, never early, and in the first advance after its deadline."""

from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native.io.timer_wheel import CallbackTimer, Timer, Wheel
from tests.reference.timerwheel import Deadlines

MS = 1_000_000
CALLS = st.tuples(
    st.sampled_from(["schedule", "schedule", "push back", "cancel", "advance", "advance"]),
    st.integers(0, 5),  # which timer
    st.one_of(st.integers(0, 40 * MS), st.integers(0, 2_000 * MS), st.integers(0, 2**45), st.integers(-50 * MS, 0)),
)


@settings(max_examples=400)
@given(
    start=st.integers(2**30, 2**50),
    tick=st.sampled_from([1, 7, MS, 10 * MS]),
    slots=st.sampled_from([1, 4, 512]),
    calls=st.lists(CALLS, max_size=50),
)
def test_the_wheel_is_its_twin(start: int, tick: int, slots: int, calls: list[tuple[str, int, int]]) -> None:
    """After any calls, and however far time jumps, the same timers fire in the same advance as in the model."""
    wheel, twin = Wheel(start, tick, slots), Deadlines(start)
    fired: list[int] = []
    timers = [CallbackTimer(lambda _, name=name: fired.append(name)) for name in range(6)]
    now = start
    for call, name, by in calls:
        if call == "advance":
            now += by
            fired.clear()
            count = wheel.advance(now)
            assert (set(fired), len(fired)) == (twin.advance(now), count)
        elif call == "cancel":
            wheel.cancel(timers[name])
            twin.cancel(name)
        elif call == "push back" and name in twin.deadlines:
            timers[name].deadline_ns += abs(by)  # the store that a chunk costs
            twin.schedule(name, timers[name].deadline_ns)
        elif call == "schedule":
            wheel.schedule(timers[name], now + by)
            twin.schedule(name, now + by)
        assert wheel.count == len(twin.deadlines)
        assert [timer.armed for timer in timers] == [name in twin.deadlines for name in range(6)]


def test_a_timer_never_fires_early_and_fires_at_its_deadline() -> None:
    """A timer does not fire a nanosecond early, fires at its deadline, and never again."""
    wheel, fired = Wheel(0), []
    wheel.schedule(CallbackTimer(fired.append), 123_456_789)
    assert [wheel.advance(now) for now in (123_456_788, 123_456_789, 10**12)] == [0, 1, 0]
    assert fired == [123_456_789]


def test_a_deadline_in_the_past_fires_in_the_next_advance() -> None:
    """It fires even if that advance stays in the same tick."""
    wheel = Wheel(10**9)
    wheel.schedule(CallbackTimer(lambda _: None), 5)
    assert wheel.advance(10**9) == 1


def test_deadlines_beyond_one_turn_stay() -> None:
    """A timer of ten minutes in a wheel of five seconds is checked each turn, and fires once, on time."""
    wheel, fired = Wheel(0), []
    wheel.schedule(CallbackTimer(fired.append), 600 * 10**9)
    for tick in range(60_001):
        wheel.advance(tick * 10 * MS)
    assert fired == [600 * 10**9]


def test_fire_may_arm_itself_again_without_looping() -> None:
    """A timer that re-arms itself for the past fires once per advance, not for ever."""
    wheel = Wheel(0)
    timer = CallbackTimer(lambda _: wheel.schedule(timer, 0))
    wheel.schedule(timer, 0)
    assert [wheel.advance(now * MS) for now in range(5)] == [1] * 5


def test_fire_may_disarm_and_postpone_others_that_are_due() -> None:
    """Of three due timers, the first cancels the second and postpones the third: neither fires now."""
    wheel, fired = Wheel(0), []
    second, third = CallbackTimer(lambda _: fired.append(2)), CallbackTimer(lambda _: fired.append(3))

    def act(_: int) -> None:
        fired.append(1)
        wheel.cancel(second)
        wheel.schedule(third, 80 * MS)

    wheel.schedule(CallbackTimer(act), 50 * MS)
    wheel.schedule(second, 50 * MS)
    wheel.schedule(third, 50 * MS)
    assert wheel.advance(50 * MS) == 1
    assert wheel.advance(79 * MS) == 0
    assert wheel.advance(80 * MS) == 1
    assert fired == [1, 3]


def test_an_exception_stops_no_other_timer() -> None:
    """The other timers fire, the error is raised afterwards, and the wheel continues."""
    wheel, fired = Wheel(0), []
    for place in range(3):
        wheel.schedule(CallbackTimer(lambda _, place=place: fired.append(1 // place)), 10 * MS)
    with pytest.raises(ZeroDivisionError):
        wheel.advance(10 * MS)
    assert (len(fired), wheel.count) == (2, 0)
    wheel.schedule(CallbackTimer(fired.append), 20 * MS)
    assert wheel.advance(20 * MS) == 1


def test_several_exceptions_come_as_a_group() -> None:
    """No error hides another error."""
    wheel = Wheel(0)
    for _ in range(2):
        wheel.schedule(CallbackTimer(lambda _: 1 // 0), 10 * MS)
    with pytest.raises(ExceptionGroup) as raised:
        wheel.advance(10 * MS)
    assert [type(error) for error in raised.value.exceptions] == [ZeroDivisionError] * 2


def test_a_bare_timer_says_that_it_does_nothing() -> None:
    """A subclass without ``fire`` raises an error."""
    wheel = Wheel(0)
    wheel.schedule(Timer(), 0)
    with pytest.raises(TypeError, match="Timer has no fire"):
        wheel.advance(0)


def test_a_timer_moves_between_wheels() -> None:
    """A timer that is armed in a second wheel is removed from the first."""
    first, second = Wheel(0), Wheel(0)
    timer = CallbackTimer(lambda _: None)
    first.schedule(timer, 10 * MS)
    second.schedule(timer, 10 * MS)
    assert (first.count, second.count, first.advance(10 * MS), second.advance(10 * MS)) == (0, 1, 0, 1)
    first.cancel(timer)
    assert (first.count, second.count) == (0, 0)


def test_time_does_not_go_back() -> None:
    """An earlier time than the last one fires nothing and moves nothing."""
    wheel = Wheel(10**9)
    wheel.schedule(CallbackTimer(lambda _: None), 2 * 10**9)
    assert [wheel.advance(now) for now in (10**9, 5, 2 * 10**9)] == [0, 0, 1]


def test_an_armed_timer_is_kept_and_a_fired_one_let_go() -> None:
    """The wheel holds references to armed timers only."""

    class Action:
        def __call__(self, now_ns: int) -> None:
            assert now_ns

    wheel, action = Wheel(0), Action()
    seen = weakref.ref(action)
    wheel.schedule(CallbackTimer(action), 10 * MS)
    del action
    gc.collect()
    assert seen() is not None
    wheel.advance(10 * MS)
    gc.collect()
    assert seen() is None


def test_a_wheel_full_of_timers_is_collected() -> None:
    """Rings of timers are cycles: 50,000 of them are collected without a leak or a deep recursion."""
    wheel = Wheel(0)
    timers = [CallbackTimer(print) for _ in range(50_000)]
    for place, timer in enumerate(timers):
        wheel.schedule(timer, place * 1000)
    del wheel, timers, timer
    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing) is CallbackTimer]


@pytest.mark.parametrize(("tick", "slots"), [(0, 512), (1, 0), (1, 3), (1, -4)])
def test_an_impossible_wheel_is_refused(tick: int, slots: int) -> None:
    """A tick of 0, or a number of slots that is not a power of two, is refused."""
    with pytest.raises(ValueError, match="power of two"):
        Wheel(0, tick, slots)
