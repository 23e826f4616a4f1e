"""The guard admits messages and stops frames that only cost, wherever reads cut the frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.http.http2_guard import Guard
from tests.reference import http2guard as twin

S = 1_000_000_000
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LIMIT = 80_000
COST, CHEAP = 10, 1


def frame(kind: int, flags: int = 0, length: int = 0, stream: int = 1) -> bytes:
    """A frame of this length with an empty payload."""
    return length.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + bytes(length)


def counted(guard: Guard, data: bytes, now_ns: int = 0) -> int:
    """Return how many of these bytes may be processed."""
    return guard.judge(data, now_ns)


@pytest.mark.parametrize("kind", [2, 6, 7, 8, 12, 16, 200])
def test_frames_without_a_message(kind: int) -> None:
    """A thousand frames without a message are tolerated; the next is not, and nothing after it is processed."""
    guard = Guard(0, LIMIT, preface=False)
    assert counted(guard, frame(kind, length=8) * 1000) == 17 * 1000
    assert guard.budget == 0
    assert counted(guard, frame(0, length=3) * 2 + frame(kind) * 3 + frame(0)) == 12 * 2 + 9 * 2
    assert guard.fault == "frames that carry no message, without end"
    assert counted(guard, frame(1, 5)) == 0


def test_settings_cost_more() -> None:
    """A hundred SETTINGS are tolerated; an acknowledgement costs as little as a ping."""
    guard = Guard(0, LIMIT, preface=False)
    assert counted(guard, frame(4, 1) * 10 + frame(4) * 100) == 9 * 109
    assert guard.fault is not None


def test_time_brings_credit_back() -> None:
    """A hundred frames a second are tolerated for ever."""
    guard = Guard(0, LIMIT, preface=False)
    for second in range(60):
        assert counted(guard, frame(6, length=8) * 100, second * S) == 1700
    assert guard.fault is None


def test_messages_earn_credit() -> None:
    """Window updates that accompany messages are tolerated, however many there are."""
    guard = Guard(0, LIMIT, preface=False)
    for _ in range(10_000):
        turn = frame(1, 4, 20) + frame(0, 0, 100) + frame(8, length=4) * 4
        assert counted(guard, turn) == len(turn)
    assert guard.budget >= 995


@pytest.mark.parametrize(("flags", "length"), [(0, 0), (8, 1), (8, 256)])
def test_empty_data(flags: int, length: int) -> None:
    """An empty DATA frame, padded or not, is a frame without a message, unless it ends the stream."""
    guard = Guard(0, LIMIT, preface=False)
    assert counted(guard, frame(0, flags, length) * 1000) == (9 + length) * 1000
    assert counted(guard, frame(0, 1)) == 9
    assert counted(guard, frame(0, flags, length)) == 0


def test_a_block_in_many_frames() -> None:
    """A header block may have up to sixteen frames."""
    guard = Guard(0, LIMIT, preface=False)
    block = frame(1, 0, 10) + frame(9, 0, 10) * 15
    assert counted(guard, block, 7) == len(block)
    assert guard.block_since_ns == 7
    assert counted(guard, frame(9, 4, 10), 8) == 0
    assert guard.fault == "a header block in more than 16 frames"


def test_a_block_that_is_too_large() -> None:
    """The compressed size of a header block is limited, in whatever pieces it arrives."""
    guard = Guard(0, 100, preface=False)
    assert counted(guard, frame(1, 0, 60) + frame(9, 4, 40)) == 118
    assert (guard.block, guard.block_since_ns) == (100, 0)
    assert counted(guard, frame(1, 0, 60) + frame(9, 4, 41)) == 69
    assert guard.fault == "a header block larger than 100 bytes"


def test_a_block_is_open_until_its_last_byte() -> None:
    """A block is open from its first frame header to its last byte, in any number of frames and reads."""
    whole = frame(1, 4, 30)
    parts = frame(1, 0, 30) + frame(9, 4, 20)
    for said in (whole, parts):
        guard = Guard(0, LIMIT, preface=False)
        for at in range(len(said)):
            assert guard.block_since_ns == (0 if at < 9 else 9)
            counted(guard, said[at : at + 1], at + 1)
        assert guard.block_since_ns == 0
    guard = Guard(0, LIMIT, preface=False)
    counted(guard, frame(1, 4, 0), 5)
    assert guard.block_since_ns == 0


def test_the_preface_is_no_frame() -> None:
    """The client's 24-octet preface is skipped, in whatever pieces it arrives."""
    for cut in range(25):
        guard = Guard(0, LIMIT, preface=True)
        assert counted(guard, PREFACE[:cut]) == cut
        rest = PREFACE[cut:] + frame(4) + frame(1, 4, 10)
        assert counted(guard, rest) == len(rest)
        assert guard.budget == 994


@given(
    frames=st.lists(
        st.tuples(
            st.sampled_from([0, 0, 1, 2, 3, 4, 5, 6, 8, 9, 9, 9, 10, 200]),
            st.integers(0, 255),
            st.sampled_from([0, 1, 8, 256, 257, 3000]),
            st.integers(0, 2 * S),
            st.sampled_from([1, 1, 1, 30, 600]),
        ),
        max_size=40,
    ),
    cuts=st.lists(st.integers(1, 50), min_size=1, max_size=10),
)
def test_as_the_twin(frames: list[tuple[int, int, int, int, int]], cuts: list[int]) -> None:
    """The guard decides the same as the model on each frame, although it sees the frames cut anywhere."""
    guard, reference = Guard(0, 20_000, preface=False), twin.Guard(0, 20_000)
    now, turn = 0, 0
    for kind, flags, length, later, times in frames:
        now += later
        for _ in range(times):
            data = frame(kind, flags, length)
            passed = 0
            while passed < len(data):
                part = data[passed : passed + cuts[turn % len(cuts)]]
                turn += 1
                taken = counted(guard, part, now)
                passed += taken
                if taken < len(part):
                    break
            assert (guard.fault is None) == reference.frame(kind, flags, length, now)
            if guard.fault is not None:
                assert passed < len(data)
                return
            assert (guard.budget, guard.block_since_ns) == (reference.budget, reference.block_since_ns)


@given(st.lists(st.tuples(st.sampled_from("aarrcpq"), st.sampled_from([0, 1, 10**6, 10 * S])), max_size=600))
def test_resets_as_the_twin(events: list[tuple[str, int]]) -> None:
    """Answers, resets and faults are counted as in the model."""
    guard, reference = Guard(0, LIMIT, preface=True), twin.Resets(0)
    now = 0
    for kind, later in events:
        now += later
        over = False
        if kind == "a":
            guard.count_answer()
            reference.answered()
        elif kind in "rc":
            over = guard.count_reset(COST if kind == "r" else CHEAP, now)
            assert over == reference.reset(COST if kind == "r" else CHEAP, now)
        else:
            over = guard.count_provoked(COST if kind == "p" else CHEAP, now)
            assert over == reference.provoked(COST if kind == "p" else CHEAP, now)
        if over:
            assert guard.spent is not None
            return
        assert (guard.reset_budget, guard.faults) == (reference.budget, reference.faults)


def test_a_hundred_resets_at_once() -> None:
    """A hundred resets that cost an upstream work may come at once, a thousand that cost edge little; not one more."""
    for cost, most in ((COST, 100), (CHEAP, 1000)):
        guard = Guard(0, LIMIT, preface=True)
        assert not any(guard.count_reset(cost, 0) for _ in range(most))
        assert guard.count_reset(cost, 0)
        assert guard.spent == "more streams reset than answered"
        assert guard.fault is None


def test_fifty_resets_a_second_for_ever() -> None:
    """Fifty resets each second are no flood, however long they go on."""
    guard = Guard(0, LIMIT, preface=True)
    assert not any(guard.count_reset(COST, n * S // 50) for n in range(20_000))


def test_answers_pay_for_resets() -> None:
    """A client may reset as many streams as it lets finish, at any rate; up to a thousand answers are remembered."""
    guard = Guard(0, LIMIT, preface=True)
    for _ in range(5000):
        guard.count_answer()
        assert not guard.count_reset(COST, 0)
    for _ in range(5000):
        guard.count_answer()
    assert not any(guard.count_reset(COST, 0) for _ in range(1000))
    assert guard.count_reset(COST, 0)


def test_faults_are_counted_alone() -> None:
    """Many faults of the peer exceed the limit whatever the number of good streams; later they expire."""
    guard = Guard(0, LIMIT, preface=True)
    for _ in range(2000):
        guard.count_answer()
    assert not any(guard.count_provoked(CHEAP, 0) for _ in range(249))
    assert not guard.count_provoked(CHEAP, 31 * S)
    assert guard.faults == 1
    assert not any(guard.count_provoked(CHEAP, 31 * S) for _ in range(248))
    assert guard.count_provoked(CHEAP, 31 * S)
    assert guard.fault is None


def test_faults_of_a_server_end_its_connection() -> None:
    """An upstream's faults are counted without a budget, and too many refuse it at once."""
    guard = Guard(0, LIMIT, preface=False)
    assert not any(guard.count_provoked(COST, 0) for _ in range(249))
    assert guard.count_provoked(COST, 0)
    assert guard.fault is not None


def test_a_client_that_goes_on_is_refused() -> None:
    """After the limit a client may send what was on its way; what follows refuses it."""
    guard = Guard(0, LIMIT, preface=True)
    assert counted(guard, PREFACE + frame(4)) == 33
    while not guard.count_reset(COST, 0):
        pass
    streams = b"".join([frame(1, 5, 1, 2 * n + 1) for n in range(1000)])
    assert counted(guard, streams) == len(streams)
    assert guard.fault is None
    assert counted(guard, frame(1, 5, 1, 2001)) == 0
    assert guard.fault is not None
