"""The recorder agrees with its reference model, and stays within its limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.proxy.record import Kept, Recorder
from tests.native.trace_values import GOOD, SPAN, TRACE, VALUES, WORDS
from tests.reference import record as twin
from tests.snapshots import tracing

STEPS = st.lists(
    st.tuples(
        st.one_of(st.none(), VALUES, st.just(GOOD), st.just(GOOD[:-1] + b"0")),
        st.booleans(),
        st.sampled_from([0, 1, 300, 999, 1000, 5000]),
        st.tuples(WORDS, WORDS, WORDS),
        st.tuples(st.booleans(), st.booleans(), st.booleans()),
    ),
    max_size=60,
)


@given(STEPS, st.sampled_from([0.0, 0.01, 0.5, 1.0]), st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_agrees(
    steps: list[tuple[bytes | None, bool, int, tuple[int, int, int], tuple[bool, bool, bool]]],
    sample: float,
    errors: int,
    asked: int,
    restart: bool,
) -> None:
    """Recorder and model sample and keep the same exchanges."""
    fast = Recorder(
        tracing(
            sample=sample,
            errors_per_second=errors,
            forced_samples_per_second=asked,
            propagation="restart" if restart else "continue",
        )
    )
    slow = twin.Recorder(sample, errors, asked, restart)
    now_ns = 10**15
    for caller, trusted, gap_ms, chance, ended in steps:
        now_ns += gap_ms * 1_000_000
        decided = fast.decide(caller, trusted, now_ns, chance)
        assert decided == slow.decide(caller, trusted, now_ns, chance)
        sampled = bool(decided[4] & 1)
        assert fast.judge(sampled, now_ns, *ended).name.lower() == slow.judge(sampled, now_ns, *ended)


def test_wishes_are_bounded() -> None:
    """A caller that asks for sampling of everything gets a limited number a second."""
    recorder = Recorder(tracing(sample=0.0, forced_samples_per_second=5))
    flags = [recorder.decide(GOOD, False, 10**15 + at, (1, 2, 3))[4] & 1 for at in range(100)]
    assert sum(flags) == 5
    assert recorder.decide(GOOD, False, 10**15 + 10**9, (1, 2, 3))[4] & 1


def test_chosen_ids_are_bounded() -> None:
    """A caller that chooses trace ids within every ratio is limited like a caller that asks for sampling."""
    recorder = Recorder(tracing(sample=0.01, forced_samples_per_second=5))
    chosen = f"00-{'1' * 16}{'0' * 16}-{SPAN}-00".encode()
    assert sum(recorder.decide(chosen, False, 10**15, (1, 2, 3))[4] & 1 for _ in range(100)) == 5


def test_restart_links() -> None:
    """With propagation: restart a new trace begins and links to the caller's trace."""
    trace, _, parent, link, flags, goes_on = Recorder(tracing(propagation="restart")).decide(
        GOOD, False, 10**15, (7, 2**63, 9)
    )
    assert (trace, parent, goes_on) == (f"{7:016x}{2**63:016x}", "", False)
    assert link == f"{TRACE}-{SPAN}"
    assert flags & 1


def test_failures_are_kept() -> None:
    """Without sampling, failures are kept up to their rate, and slow exchanges up to a rate of their own."""
    recorder = Recorder(tracing(sample=0.0, errors_per_second=3))
    kept = [recorder.judge(False, 10**15, True, False, False) for _ in range(10)]
    assert kept == [Kept.FAILED] * 3 + [Kept.NOT_KEPT] * 7
    assert recorder.judge(False, 10**15, False, True, False) == Kept.SLOW
    assert recorder.judge(False, 10**15, False, False, False) == Kept.NOT_KEPT


@pytest.mark.parametrize("share", [0.01, 0.25])
def test_share(share: float) -> None:
    """The sampled share of traces is the configured share, and the trace id decides."""
    recorder = Recorder(tracing(sample=share))
    words = [(index * 0x9E3779B97F4A7C15) % 2**64 for index in range(1, 20_001)]
    sampled = sum(recorder.decide(None, False, 10**15, (1, word, 1))[4] & 1 for word in words)
    assert abs(sampled / len(words) - share) < 0.005
