"""The store of answers returns what was put last, keeps to its memory, and hands out no answer to another question."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from hashlib import sha256
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.state.answer_store import AnswerStore, CacheEntry

SMALL: Final = 64 * 1024
S: Final = 1_000_000_000
NAMES: Final = st.integers(0, 12)
STEPS: Final = st.lists(
    st.tuples(st.sampled_from(["put", "put", "get"]), NAMES, st.integers(0, 9000), st.integers(0, 30)), max_size=80
)


def name(number: int) -> bytes:
    """Return the name of a question."""
    return sha256(str(number).encode()).digest()


@given(STEPS)
def test_an_answer_is_the_last_that_was_put_or_none(steps: list[tuple[str, int, int, int]]) -> None:
    """A dict is the twin: what the store returns is what was put last and has not expired; it may have less."""
    store = AnswerStore.create(SMALL)
    twin: dict[int, tuple[bytes, int, int]] = {}
    now = S
    for step, number, size, seconds in steps:
        now += seconds * S // 10
        if step == "put":
            content = bytes([number]) * size
            kept = store.put(name(number), content, now, now + seconds * S)
            assert kept == (size <= SMALL // 8 - 80 or kept)
            if kept:
                twin[number] = (content, now, now + seconds * S)
            continue
        found = store.get(name(number), now)
        expected = twin.get(number)
        if expected is None or expected[2] <= now:
            assert found is None
        elif found is not None:
            assert found == expected[:2]


def test_the_newest_answer_is_there_and_memory_is_bounded() -> None:
    """However many are put, the block keeps its size, the newest is found, and the oldest have gone."""
    store = AnswerStore.create(SMALL)
    size = os.fstat(store.fd).st_size
    for number in range(1000):
        assert store.put(name(number), b"x" * 1000, 1, S)
        assert store.get(name(number), 2) == (b"x" * 1000, 1)
    assert store.get(name(0), 2) is None
    assert os.fstat(store.fd).st_size == size


def test_what_is_read_stays() -> None:
    """An answer that is asked for again and again outlives those that nobody asks for."""
    store = AnswerStore.create(SMALL)
    store.put(name(0), b"wanted", 7, S)
    for number in range(1, 1000):
        store.put(name(number), b"x" * 1000, 1, S)
        assert store.get(name(0), 8) == (b"wanted", 7)


def test_an_answer_that_is_too_large_is_refused() -> None:
    """One answer takes at most an eighth, and a refused one leaves the others alone."""
    store = AnswerStore.create(SMALL)
    store.put(name(1), b"small", 1, S)
    assert not store.put(name(2), b"x" * (SMALL // 8), 1, S)
    assert store.get(name(1), 2) == (b"small", 1)
    assert store.get(name(2), 2) is None


def test_processes_share_answers_and_flights() -> None:
    """Another process sees what this one keeps, and this one sees the flight of another end with its process."""
    store = AnswerStore.create(SMALL)
    store.put(name(1), b"shared", 1, S)
    script = (
        "import sys; from native.state.answer_store import AnswerStore; s = AnswerStore(int(sys.argv[1]));"
        "n = bytes.fromhex(sys.argv[2]); print(s.get(n, 2), s.begin(n)[0], flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(store.fd), name(1).hex()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[store.fd],
        text=True,
    )
    with child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "(b'shared', 1) True\n"
        leads, flight = store.begin(name(1))
        assert not leads
        assert store.flying(name(1), flight)
        child.kill()
    assert not store.flying(name(1), flight)
    assert store.begin(name(1))[0]


def test_a_flight_is_one_until_it_ends() -> None:
    """The second exchange waits for the first; after the end of the flight the next one leads."""
    store = AnswerStore.create(SMALL)
    leads, flight = store.begin(name(1))
    assert (leads, store.begin(name(1))) == (True, (False, flight))
    assert store.begin(name(2))[0]
    store.end(name(1), flight)
    assert not store.flying(name(1), flight)
    again, other = store.begin(name(1))
    assert again
    assert other != flight


def test_too_many_flights_are_not_registered_but_fly() -> None:
    """The table is bounded: a question without a place in it is asked without being registered."""
    store = AnswerStore.create(SMALL)
    begun = [store.begin(name(number)) for number in range(3000)]
    assert all(leads for leads, _ in begun)
    assert sum(flight != 0 for _, flight in begun) <= 1024


@pytest.mark.parametrize("content", [b"", b"no store at all", b"x" * 5000])
def test_a_descriptor_of_something_else_is_refused(content: bytes) -> None:
    """The error names the descriptor."""
    fd = os.memfd_create("other")
    os.write(fd, content)
    with pytest.raises(ValueError, match=f"descriptor {fd} is not a store of answers"):
        AnswerStore(fd)
    os.close(fd)


def test_bounds_of_arguments() -> None:
    """A question has 32 bytes, and a store at least 64 KiB."""
    with pytest.raises(ValueError, match="32 bytes, not 3"):
        AnswerStore.create(SMALL).get(b"abc", 1)
    with pytest.raises(ValueError, match="64 KiB to 1 TiB, not 5 bytes"):
        AnswerStore.create(5)


FIELDS: Final = st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=300)), max_size=6)


@given(st.integers(100, 599), FIELDS, st.binary(max_size=40), st.binary(max_size=3000), st.integers(0, 20))
def test_an_entry_comes_back_whole(
    status: int, fields: list[tuple[bytes, bytes]], target: bytes, content: bytes, age: int
) -> None:
    """What was kept as an entry is found with every part as it was, and with its age."""
    store = AnswerStore.create(SMALL)
    assert store.keep(name(1), CacheEntry(status, fields, target, content, 99), S, 100 * S)
    found = store.find(name(1), S + age)
    assert found is not None
    assert (found.status, found.fields, found.target, found.content) == (status, fields, target, content)
    assert found.age_ns == age
    assert store.find(name(2), S) is None
    assert store.find(name(1), 100 * S) is None


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"\xc8\0\0\0",
        struct.pack("=3I", 200, 1, 0),
        struct.pack("=3I", 200, 0, 1),
        struct.pack("=5I", 200, 1, 0, 1, 0),
    ],
    ids=["nothing", "half a head", "a field is missing", "the target is missing", "a name is missing"],
)
def test_a_record_that_holds_no_entry_is_none(kept: bytes) -> None:
    """A record whose parts reach beyond its end is not found, and nothing beyond it is read."""
    store = AnswerStore.create(SMALL)
    assert store.put(name(1), kept, S, 2 * S)
    assert store.find(name(1), S) is None
