"""An allowance takes from all of its limits or from none, settles to the real use, and keeps a month's spending."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from native.codec.numbers import duration_of, seconds_ns, seconds_of
from native.state import callers
from native.state.allowance import Allowance, Bound, month_of
from native.state.counters import AllowanceCounter
from native.state.shared_state import SharedState
from tests.snapshots import allowance as plan
from tests.snapshots import key

S = 1_000_000_000
START = 10**15


def allowance(**bounds: int) -> tuple[SharedState, Allowance]:
    """One allowance record with these limits."""
    shared_state = SharedState.create(0, 0, 1, allowance_capacity=1)
    return shared_state, Allowance(shared_state, plan(0, **bounds))


def test_both_or_neither() -> None:
    """If tokens are missing, the request is given back; if requests are missing, no tokens are taken."""
    _, each = allowance(requests_per_minute=60, requests_burst=2, tokens_per_minute=600, tokens_burst=100)
    assert each.take(START, 90) == (Bound.UNBOUND, 0)
    assert each.take(START, 20) == (Bound.BOUND_TOKENS, S)
    assert each.left(START) == ((1, S), (10, 9 * S))
    assert each.take(START, 10) == (Bound.UNBOUND, 0)
    assert each.take(START, 0) == (Bound.BOUND_REQUESTS, S)
    assert each.wait(START) == S


@given(st.integers(0, 500), st.integers(0, 2000), st.booleans())
def test_settling(reserved: int, used: int, untouched: bool) -> None:
    """After settling, the bucket is as if the right number had been taken at once."""
    shared_state, each = allowance(requests_per_minute=60, requests_burst=9, tokens_per_minute=60, tokens_burst=500)
    assert each.take(START, reserved) == (Bound.UNBOUND, 0)
    each.settle(START, reserved, used, untouched)
    assert each.left(START) == ((9 - (not untouched), 0 if untouched else S), (max(0, 500 - used), used * S))
    counts = shared_state.read_allowance(0)["counts"]
    assert counts[AllowanceCounter.A_RESERVED] == reserved
    assert counts[AllowanceCounter.A_RETURNED] == max(0, reserved - used)


def test_a_share_takes_the_place_of_the_whole() -> None:
    """This node's share in the shared state replaces the rate, and the burst in the same proportion."""
    shared_state, each = allowance(requests_per_minute=600, requests_burst=60)
    assert each.left(START) == ((60, 0), None)
    shared = Allowance(shared_state, plan(0, requests_per_minute=600, requests_burst=60, shared=True))
    assert shared.left(START) == ((60, 0), None)
    shared_state.set_shares(0, 150_000, 0, until_ns=START + S, nodes=3, now_ns=START)
    assert shared.left(START) == ((15, 0), None)
    assert each.left(START) == ((60, 0), None)
    assert [shared.take(START)[0] for _ in range(16)] == [Bound.UNBOUND] * 15 + [Bound.BOUND_REQUESTS]
    assert shared.take(START) == (Bound.BOUND_REQUESTS, 60 * S // 150)


def test_a_share_ends_when_nobody_says_it_again() -> None:
    """After control has died, a node grants one node's part, and not the share that other nodes may have by then."""
    shared_state, _ = allowance(requests_per_minute=600, requests_burst=60)
    shared = Allowance(shared_state, plan(0, requests_per_minute=600, requests_burst=60, shared=True))
    shared_state.set_shares(0, 500_000, 0, until_ns=START + S, nodes=3, now_ns=START)
    assert shared.left(START + S) == ((50, 0), None)
    assert shared.left(START + S + 1) == ((20, 0), None)
    shared_state.set_shares(0, 500_000, 0, until_ns=START + S, nodes=1, now_ns=START)
    assert shared.left(START + S + 1) == ((60, 0), None)


def test_a_trickle_bars_nobody_once_the_share_has_grown() -> None:
    """A bucket's debt beyond its window is converted to the new rate; the debt within the window stays."""
    shared_state, _ = allowance(requests_per_minute=600, requests_burst=60)
    shared = Allowance(shared_state, plan(0, requests_per_minute=600, requests_burst=60, shared=True))
    windows = (6 * S, 0)
    shared_state.set_shares(0, 2_000, 0, until_ns=START + 99 * S, nodes=3, now_ns=START, windows_ns=windows)
    assert shared.take(START)[0] == Bound.UNBOUND
    assert shared.take(START)[1] == 30 * S
    shared_state.set_shares(0, 600_000, 0, until_ns=START + 99 * S, nodes=3, now_ns=START, windows_ns=windows)
    assert shared.take(START)[1] == S // 10, "an empty bucket, not one that owes half a minute"


def test_what_a_provider_says() -> None:
    """A provider's report lowers the bucket; without a configured limit nothing changes."""
    shared_state, each = allowance(requests_per_minute=60, requests_burst=10)
    assert each.learn(START, Bound.BOUND_REQUESTS, 3)
    assert not each.learn(START, Bound.BOUND_REQUESTS, 8)
    assert not each.learn(START, Bound.BOUND_TOKENS, 0, S)
    assert each.left(START) == ((3, 7 * S), None)
    assert shared_state.read_allowance(0)["counts"][AllowanceCounter.A_LEARNED] == 1


@given(st.integers(0, 20_000_000_000))
@example(951_782_400)  # 29 February 2000
@example(4_107_542_399)  # the last second of February 2100, which has 28 days
@example(4_107_542_400)
def test_the_calendar(now_s: int) -> None:
    """The month agrees with datetime, and ends in the first second of the next month."""
    month, end_s = month_of(now_s)
    at = datetime.fromtimestamp(now_s, UTC)
    assert month == 12 * at.year + at.month - 1
    after = datetime.fromtimestamp(end_s, UTC)
    assert (after.day, after.hour, after.minute, after.second) == (1, 0, 0, 0)
    assert 12 * after.year + after.month - 1 == month + 1


NIST = {  # FIPS 180-4, examples; the long one is NIST's "two blocks"
    b"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    b"": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq": (
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    ),
}


# With the processor's own instructions, where it has them, and without.
both_ways = pytest.mark.parametrize("plain", [False, True], ids=["best", "plain"])


@both_ways
def test_the_hash_is_nists(plain: bool) -> None:
    """The digests agree with NIST's published vectors."""
    for data, digest in NIST.items():
        assert callers.sha256(data, plain).hex() == digest


@both_ways
@given(data=st.binary(max_size=300))
def test_the_hash_is_the_librarys(plain: bool, data: bytes) -> None:
    """Any bytes give the digest of hashlib, at every length around a block."""
    assert callers.sha256(data, plain) == sha256(data).digest()


@both_ways
@pytest.mark.parametrize("size", [54, 55, 56, 57, 63, 64, 65, 119, 120, 128])
def test_the_hash_at_the_borders_of_blocks(size: int, plain: bool) -> None:
    """Inputs whose padding needs another block give the right digest."""
    assert callers.sha256(b"k" * size, plain) == sha256(b"k" * size).digest()


def test_durations_are_gos() -> None:
    """Durations are written as OpenAI sends them, rounded up to a millisecond."""
    for ms, text in {0: "0ms", 12: "12ms", 1000: "1s", 1500: "1.5s", 7050: "7.05s", 360_000: "6m0s"}.items():
        assert duration_of(ms * 1_000_000).decode() == text
    assert duration_of(1) == b"1ms"
    assert duration_of(3_720_500_000_000) == b"1h2m0.5s"


def test_a_key_is_found_by_its_hash_alone() -> None:
    """A plan holds no key in the clear; a caller that is found gives its name and the field of its key."""
    shared_state = SharedState.create(0, 0, 1, allowance_capacity=2)
    plans = [key(name, sha256(f"edge-{name}".encode()).hexdigest(), slot) for slot, name in enumerate(("a", "b"))]
    known = callers.Callers(shared_state, plans, 1)
    caller, shown, place = known.identify([(b"accept", b"*/*"), (b"authorization", b"BEARER  edge-b")])
    assert caller is not None
    assert (caller.name, caller.slot, shown, place) == ("b", 1, 2, 1)
    assert known.identify([(b"authorization", b"Bearer edge-c"), (b"x-api-key", b"edge-a")])[1:] == (2, 1)
    assert known.identify([(b"authorization", b"Bearer edge-c")]) == (None, 1, -1)
    for nothing in (b"Bearer ", b"Bearer", b"Basic edge-a", b""):
        assert known.identify([(b"authorization", nothing)]) == (None, 0, -1)
    with pytest.raises(ValueError, match="64 hexadecimal"):
        callers.Callers(shared_state, [key("c", "ab", 0)], 1)
    with pytest.raises(ValueError, match="no allowance"):
        callers.Callers(shared_state, [key("c", "ab" * 32, 0, concurrent=1)], 1)


def test_a_key_that_was_seen_is_no_other() -> None:
    """Each of many keys is found again and again as itself, and what differs from it in one byte is never found."""
    shared_state = SharedState.create(0, 0, 1, allowance_capacity=1)
    secrets = [f"edge-{number:05}" for number in range(5000)]
    plans = [key(secret, sha256(secret.encode()).hexdigest(), 0) for secret in secrets]
    few, many = callers.Callers(shared_state, plans[:3], 1), callers.Callers(shared_state, plans, 1)
    for known, shown in ((few, secrets[:3]), (many, secrets)):
        for secret in shown + shown + shown[::-1]:
            caller, *_ = known.identify([(b"x-api-key", secret.encode())])
            assert caller is not None
            assert caller.name == secret
            for other in (f"{secret}0", f"{secret[:-1]}x"):
                assert known.identify([(b"x-api-key", other.encode())]) == (None, 1, -1)
    assert few.identify([(b"x-api-key", secrets[3].encode())]) == (None, 1, -1)


def test_a_key_of_the_cluster_is_gone_at_once() -> None:
    """A key of the table that was seen leads to what it was replaced by, and to nothing once it is removed."""
    shared_state = SharedState.create(0, 0, 1, allowance_capacity=2)
    secrets = {name: sha256(name.encode()).digest() for name in ("edge-a", "edge-b")}
    table = callers.KeyTable(shared_state, lambda entry: key(entry, "ab" * 32, 0), 1)
    known = callers.Callers(shared_state, [], 1, table)

    def found(secret: str) -> str | None:
        caller, *_ = known.identify([(b"x-api-key", secret.encode())])
        return None if caller is None else caller.name

    assert found("edge-a") is None
    table.put(secrets["edge-a"], "first")
    assert [found("edge-a"), found("edge-a")] == ["first", "first"]
    table.put(secrets["edge-a"], "second")
    assert [found("edge-a"), found("edge-a")] == ["second", "second"]
    table.remove(secrets["edge-a"])
    assert found("edge-a") is None
    table.adopt({secrets["edge-b"]: "third"})
    assert [found("edge-b"), found("edge-a")] == ["third", None]
    table.adopt({})
    assert found("edge-b") is None


def test_a_deadline_in_seconds() -> None:
    """x-request-timeout is in seconds or milliseconds and above 0; a million seconds is the maximum."""
    for text, ns in {
        "1": S,
        "1.5": S * 3 // 2,
        "0.25s": S // 4,
        "200ms": S // 5,
        "1.5ms": 1_500_000,
        "0.0000000019": 1,
        "1000000": 10**15,
        "1000001": 10**15,
        "9" * 30: 10**15,
    }.items():
        assert seconds_ns(text.encode()) == ns, text
    for odd in (
        "",
        "0",
        "0.0",
        "-1",
        "+1",
        "1e3",
        " 1",
        "1 s",
        "s",
        "ms",
        ".5",
        "5.",
        "1.2.3",
        "x",
    ):
        assert seconds_ns(odd.encode()) == -1, odd
    written = [seconds_ns(seconds_of(ns)) for ns in (1, 1_999_999, S, 90 * S + 1_500_000)]
    assert written == [1_000_000, 1_000_000, S, 90 * S + 1_000_000]
    assert all(before <= after for before, after in pairwise(written))
