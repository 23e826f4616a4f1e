"""How much of one stream's answer a client has taken is told from what it has taken of the whole connection."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from native.http.passage import passed_at
from tests.reference.passage import Passage

STEPS = st.lists(
    st.tuples(st.integers(0, 50_000), st.integers(0, 50_000), st.integers(0, 100)), min_size=1, max_size=30
)


def looks_of(steps: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Return looks: in each step the stream and others write, and the client takes a part of what waits."""
    written = acked = pulled = 0
    looks = []
    for own, other, percent in steps:
        pulled += own
        written += own + other
        acked += (written - acked) * percent // 100
        looks.append((written, acked, pulled))
    return looks


@given(STEPS)
def test_it_answers_as_the_reference(steps: list[tuple[int, int, int]]) -> None:
    """The kernel and the slow model agree."""
    reference = Passage()
    looks = looks_of(steps)
    assert passed_at(looks) == [reference.passed(*look) for look in looks]


@given(STEPS)
def test_it_never_falls_and_never_exceeds(steps: list[tuple[int, int, int]]) -> None:
    """What was taken stays taken, and is at most what the stream has written."""
    looks = looks_of(steps)
    taken = passed_at(looks)
    assert taken == sorted(taken)
    assert all(count <= pulled for count, (_, _, pulled) in zip(taken, looks, strict=True))


@given(st.lists(st.tuples(st.integers(1, 50_000), st.integers(0, 100)), min_size=1, max_size=30))
def test_a_single_stream_is_followed_exactly(steps: list[tuple[int, int]]) -> None:
    """On a connection with one stream, what the client has taken of it is what it has taken of the stream."""
    looks = looks_of([(own, 0, percent) for own, percent in steps])
    assert passed_at(looks) == [acked for _, acked, _ in looks]


def test_a_stream_that_stands_still_has_no_part_in_the_progress_of_others() -> None:
    """Once the queue of the first look is gone, a stream moves only by what it has written itself."""
    looks = [(100_000, 0, 50_000), *((100_000 + 1000 * n, 50_000 + 1000 * n, 50_000) for n in range(100))]
    assert passed_at(looks)[51:] == [50_000] * 50
