"""The table of pins keeps what was put last, forgets what has expired first, and never grows."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.state.pins import Pins
from native.state.shared_state import SharedState

S = 1_000_000_000
STEP = 4 * S  # expiries are rounded up to it
NOW = 1_000_000 * STEP
MIB = 1024 * 1024


def key_of(number: int) -> int:
    """Return a key whose bits are spread, as those of fingerprints are."""
    return number * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF


def table(pin_bytes: int) -> Pins:
    """Return an empty table."""
    return Pins(SharedState.create(1, 1, 1, pin_bytes=pin_bytes))


STEPS = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 65535), st.integers(1, 90), st.integers(0, 20)), max_size=80
)


@given(STEPS)
def test_a_pin_is_the_last_that_was_put_or_none(steps: list[tuple[int, int, int, int]]) -> None:
    """A dict is the twin: what is found is what was put last and has not expired. A large table loses nothing."""
    pins = table(MIB)
    twin: dict[int, tuple[int, int]] = {}
    now = NOW
    for number, slot, lives, pause in steps:
        now += pause * STEP
        key = key_of(number)
        expected = twin.get(number)
        assert pins.find(key, now) == (expected if expected is not None and expected[1] > now else None)
        pins.put(key, slot, now, now + lives * STEP)
        twin[number] = (slot, now + lives * STEP)
        assert pins.find(key, now) == twin[number]


def test_a_key_may_be_kept_for_several_targets() -> None:
    """Not alone, a put adds a target; alone, it replaces one of them."""
    pins = table(MIB)
    for slot in (3, 5, 9, 5):
        pins.put(1 << 40, slot, NOW, NOW + STEP, alone=False)
    assert sorted(pins.holders(1 << 40, NOW)) == [3, 5, 9]
    assert pins.holders(1 << 40, NOW + STEP) == []


def test_a_million_conversations_take_the_memory_that_was_set() -> None:
    """Of a million keys in a table for 128 Ki the newest are found, old ones have gone, and the block has its size."""
    state = SharedState.create(1, 1, 1, pin_bytes=MIB)
    pins = Pins(state)
    size = os.fstat(state.fd).st_size
    million = 1_000_000
    for number in range(million):
        at = NOW + number * S // 100
        pins.put(key_of(number), number & 0xFFFF, at, at + 300 * S)
    now = NOW + million * S // 100
    found = [pins.find(key_of(number), now) is not None for number in range(million - 30_000, million)]
    assert sum(found) > 0.99 * len(found)
    assert os.fstat(state.fd).st_size == size
    assert pins.find(0, now) is None


def test_what_expires_first_goes_first() -> None:
    """In a bucket that is full the pin with the earliest expiry gives way, whenever it was put."""
    pins = table(64)  # one bucket of eight
    keys = [number << 33 for number in range(1, 10)]
    for place, key in enumerate(keys[:8]):
        pins.put(key, place, NOW, NOW + (20 - place) * STEP)
    pins.put(keys[8], 8, NOW, NOW + 30 * STEP)
    assert [pins.find(key, NOW) is not None for key in keys] == [True] * 7 + [False, True]


def test_another_process_sees_the_pin_of_a_killed_one() -> None:
    """A process that puts pins until it is killed leaves whole pins, which another process finds."""
    state = SharedState.create(1, 1, 1, pin_bytes=MIB)
    program = (
        "import os, signal, sys; from native.state.pins import Pins; from native.state.shared_state import SharedState;"
        "pins = Pins(SharedState(int(sys.argv[1])));"
        f"[pins.put(n * {0x9E3779B97F4A7C15} % 2**64, n, {NOW}, {NOW} + 300 * {S}) for n in range(1, 5000)];"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(state.fd)], pass_fds=[state.fd], timeout=60, check=False)
    assert done.returncode == -9
    pins = Pins(state)
    assert [key for key in range(1, 5000) if pins.find(key_of(key), NOW) != (key, NOW + 300 * S)] == []


def test_a_block_without_pins_finds_none() -> None:
    """A table of no bytes takes puts and finds nothing; one of an absurd size is refused."""
    pins = table(0)
    pins.put(1, 1, NOW, NOW + STEP)
    assert (pins.find(1, NOW), pins.holders(1, NOW)) == (None, [])
    with pytest.raises(ValueError, match="pins have 0 to 64 GiB"):
        SharedState.create(1, 1, 1, pin_bytes=-1)
