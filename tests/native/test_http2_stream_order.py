"""The order of streams agrees with a model that remembers everything a client has sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.http.http2_stream_order import StreamOrder

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
END_STREAM = 1
PROTOCOL_ERROR, STREAM_CLOSED = 1, 5


class Model:
    """Remembers the state of every stream for ever."""

    def __init__(self) -> None:
        self.highest = 0
        self.sending: set[int] = set()

    def judge(self, kind: int, flags: int, stream: int) -> int:
        """Return the connection error that RFC 9113 names for the frame, or 0."""
        error = 0
        if stream == 0:
            error = PROTOCOL_ERROR if kind == PRIORITY else 0
        elif kind == RST_STREAM:
            self.sending.discard(stream)
        elif kind == DATA and stream > self.highest:
            error = PROTOCOL_ERROR
        elif kind in (DATA, HEADERS) and stream <= self.highest and stream not in self.sending:
            error = PROTOCOL_ERROR if kind == HEADERS else STREAM_CLOSED
        elif kind in (DATA, HEADERS) and (stream <= self.highest or stream % 2):
            self.highest = max(self.highest, stream)
            self.sending.add(stream)
            if flags & END_STREAM:
                self.sending.discard(stream)
        return error


FRAMES = st.tuples(
    st.sampled_from([DATA, HEADERS, HEADERS, PRIORITY, RST_STREAM, SETTINGS]),
    st.sampled_from([0, 1, 4, 5]),
    st.one_of(st.integers(0, 12), st.sampled_from([513, 515, 1025, 1027, 2**31 - 1])),  # some share a place
)


@given(st.lists(FRAMES, max_size=60))
def test_agrees_with_the_model(frames: list[tuple[int, int, int]]) -> None:
    """Every frame up to the first error is judged alike; the error ends the connection."""
    order, model = StreamOrder(), Model()
    for frame in frames:
        expected = model.judge(*frame)
        assert order.judge_frame(*frame) == expected
        assert order.count() == len(model.sending)
        if expected:
            break


@pytest.mark.parametrize("closed", [1, 200])
def test_late_frames_of_streams_that_we_closed(closed: int) -> None:
    """A client that has not heard yet that its stream is closed may go on sending."""
    order = StreamOrder()
    for stream in range(1, 2 * closed, 2):
        assert order.judge_frame(HEADERS, 4, stream) == 0
        order.close_stream(stream)
    for stream in range(1, 2 * closed, 2):
        assert order.judge_frame(DATA, 0, stream) == 0
        assert order.judge_frame(HEADERS, 5, stream) == 0
        assert order.judge_frame(DATA, 0, stream) == STREAM_CLOSED
    assert order.count() == 0


def test_streams_that_we_closed_are_forgotten_in_time() -> None:
    """What is kept of them is bounded: after 256 others the oldest is as closed as any."""
    order = StreamOrder()
    for stream in range(1, 20_001, 2):
        assert order.judge_frame(HEADERS, 4, stream) == 0
        order.close_stream(stream)
    assert order.count() == 256
    assert order.judge_frame(DATA, 0, 1) == STREAM_CLOSED
    assert order.judge_frame(DATA, 0, 19_999) == 0


def test_a_stream_that_the_client_has_ended_is_not_kept() -> None:
    """Only streams whose requests are incomplete take room."""
    order = StreamOrder()
    for stream in range(1, 2001, 2):
        assert order.judge_frame(HEADERS, 5, stream) == 0
        order.close_stream(stream)
    assert order.count() == 0
