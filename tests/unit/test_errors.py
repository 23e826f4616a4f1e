"""Every error names who caused it, and the clock tells the time that the shared state uses."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, get_args

from edge import clock, errors
from edge.errors import ConfigInvalidError, EdgeError, Retry, Source

if TYPE_CHECKING:
    from edge.clock import Clock


def _tree(root: type[EdgeError]) -> list[type[EdgeError]]:
    return [root] + [leaf for child in root.__subclasses__() for leaf in _tree(child)]


def test_every_error_says_whose_doing_it_is() -> None:
    """Each error class has kind, source and retry, with known values."""
    for error in _tree(EdgeError):
        assert error.kind.replace("_", "").isalpha(), error
        assert error.source in get_args(Source), error
        assert error.retry in get_args(Retry), error


def test_kinds_are_unique() -> None:
    """A kind in a log or metric identifies one class."""
    kinds = [error.kind for error in _tree(EdgeError) if error.__module__ == errors.__name__]
    assert len(set(kinds)) == len(kinds) > 2


def test_an_invalid_configuration_keeps_each_problem() -> None:
    """The text has one line per problem, and each problem is available by itself."""
    error = ConfigInvalidError(["a: wrong", "b: wrong too"])
    assert error.problems == ("a: wrong", "b: wrong too")
    assert str(error) == "a: wrong\nb: wrong too"


def test_now_is_the_hosts_monotonic_clock() -> None:
    """Now is CLOCK_MONOTONIC, so that all processes of a host agree."""
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    now = clock.now_ns()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    assert before <= now <= after


def test_wall_is_unix_time() -> None:
    """Wall time is Unix time."""
    assert abs(clock.wall() - time.time()) < 5


def test_chance_stays_in_its_range() -> None:
    """Fractions are in [0, 1), bits fill 64, and neither repeats at once."""
    fractions = [clock.random() for _ in range(200)]
    assert all(0 <= fraction < 1 for fraction in fractions)
    assert len(set(fractions)) == len(fractions)
    words = [clock.bits() for _ in range(200)]
    assert all(0 <= word < 2**64 for word in words)
    assert max(words) >= 2**60


async def test_the_module_is_a_clock() -> None:
    """The module itself can be passed as a ``Clock``, and its sleep ends."""
    given: Clock = clock
    before = given.now_ns()
    await given.sleep(0)
    assert given.now_ns() >= before
