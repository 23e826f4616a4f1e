"""All processes of a node read the same block, and a foreign block is refused."""

from __future__ import annotations

import fcntl
import os
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.balance.balancer import TargetPool
from native.balance.breaker import TripReason
from native.balance.target import Target
from native.state.counters import Outcome
from native.state.histogram import HIST_BOUNDS_S, bucket_of
from native.state.shared_state import SharedState

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.terms.snapshot import Breaker

S = 1_000_000_000
HEADER = struct.Struct("=QIIIIQ")


def test_another_process_sees_what_was_written(
    shared_state: SharedState, run_in_processes: Callable[[SharedState, str, int], list[str]]
) -> None:
    """A value written by one process is read by another, and the other way round."""
    shared_state.set_manual(3, 2)
    said = run_in_processes(
        shared_state,
        "shared_state.set_manual(4, 1); print(shared_state.read_target(3, 0)['manual'], shared_state.capacities)",
        1,
    )
    assert said == ["2 (8, 4, 4)"]
    assert shared_state.read_target(4, 0)["manual"] == 1


def test_the_descriptor_is_inheritable_and_the_size_sealed() -> None:
    """A child may attach, and no process may shrink the block."""
    shared_state = SharedState.create(2, 2, 1)
    assert os.get_inheritable(shared_state.fd)
    with pytest.raises(PermissionError):
        os.ftruncate(shared_state.fd, 64)
    assert fcntl.fcntl(shared_state.fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK


def test_the_creator_closes_the_descriptor_and_an_attached_one_does_not() -> None:
    """Descriptors do not leak, and a mapping outlives its descriptor."""
    shared_state = SharedState.create(1, 1, 1)
    attached = SharedState(shared_state.fd)
    fd = shared_state.fd
    del shared_state
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    attached.set_manual(0, 1)
    assert attached.read_target(0, 0)["manual"] == 1


def refusal(header: bytes, size: int = 65536) -> str:
    """Attach to a memfd with these first bytes; return the refusal."""
    fd = os.memfd_create("stranger")
    try:
        os.ftruncate(fd, size)
        os.pwrite(fd, header, 0)
        with pytest.raises(ValueError, match=r"\w") as refused:
            SharedState(fd)
    finally:
        os.close(fd)
    return str(refused.value)


def test_a_strange_block_is_refused_in_one_sentence(shared_state: SharedState) -> None:
    """Wrong magic, wrong layout, a truncated or empty file, a closed descriptor: each has its own message."""
    magic, layout, targets, routes, workers, created = HEADER.unpack(os.pread(shared_state.fd, HEADER.size, 0))
    assert "wrong magic" in refusal(HEADER.pack(magic + 1, layout, targets, routes, workers, created))
    assert "restart the whole node" in refusal(HEADER.pack(magic, layout + 1, targets, routes, workers, created))
    assert "not a whole shared state" in refusal(HEADER.pack(magic, layout, 1000, routes, workers, created))
    assert "not a whole shared state" in refusal(HEADER.pack(magic, layout, 2**32 - 1, routes, workers, created))
    assert "not a whole shared state" in refusal(HEADER.pack(magic, layout, targets, routes, 65, created))
    assert "less than its header" in refusal(b"", 0)
    with pytest.raises(ValueError, match="Bad file descriptor"):
        SharedState(10_000)
    with open(os.devnull, "rb") as null, pytest.raises(ValueError, match="not a shared state"):  # noqa: PTH123
        SharedState(null.fileno())


@pytest.mark.parametrize("capacities", [(1, 1, 0), (1, 1, 65), (-1, 1, 1), (1, 70_000, 1)])
def test_impossible_capacities_are_refused(capacities: tuple[int, int, int]) -> None:
    """A capacity that some reader could not hold is refused."""
    with pytest.raises(ValueError, match=r"capacities|worker_capacity"):
        SharedState.create(*capacities)


def test_records_are_whole_cache_lines() -> None:
    """Every record starts on its own cache line, so that two targets never share one."""

    def size(*capacities: int) -> int:
        shared_state = SharedState.create(*capacities)
        return os.fstat(shared_state.fd).st_size

    base = size(0, 0, 1)
    steps = [size(1, 0, 1) - base, size(0, 1, 1) - base, size(0, 0, 2) - base, base]
    assert [step % 64 for step in steps] == [0, 0, 0, 0]


def test_a_slot_beyond_the_board_is_an_index_error(shared_state: SharedState) -> None:
    """No number reaches memory outside the records."""
    for slot in (-1, 8, 2**31 - 1):
        with pytest.raises(IndexError, match="not on this shared state"):
            shared_state.read_target(slot, 0)
    with pytest.raises(IndexError):
        shared_state.read_route(4)
    with pytest.raises(IndexError):
        shared_state.clear_worker(4)


def test_a_dead_workers_columns_are_cleared_and_only_those(shared_state: SharedState) -> None:
    """After SIGKILL of a worker the in-flight counts are those of the others."""
    target = Target(shared_state, 2, "a/b")
    for worker in (0, 1, 1, 3):
        target.enter(worker)
    shared_state.beat(1, 4242, 7 * S)
    assert shared_state.read_worker(1)["pid"] == 4242
    shared_state.clear_worker(1)
    assert shared_state.read_target(2, 0)["inflight"] == 2
    assert shared_state.read_worker(1)["pid"] == 0


def test_an_attempt_that_ends_after_its_column_was_cleared_is_not_four_billion_in_flight(
    shared_state: SharedState,
) -> None:
    """A column below zero reads as nothing in flight, and does not hide another worker's."""
    target = Target(shared_state, 0, "a/b")
    target.enter(0)
    target.enter(1)
    shared_state.clear_worker(0)
    target.leave(0)
    assert shared_state.read_target(0, 0)["inflight"] == 1


def test_a_heartbeat_of_a_new_process_is_a_new_start(shared_state: SharedState) -> None:
    """``started_ns`` moves with the pid, ``heartbeat_ns`` with every beat."""
    shared_state.beat(0, 10, 1 * S)
    shared_state.beat(0, 10, 2 * S)
    first = shared_state.read_worker(0)
    shared_state.beat(0, 11, 3 * S)
    second = shared_state.read_worker(0)
    assert (first["started_ns"], first["heartbeat_ns"]) == (1 * S, 2 * S)
    assert (second["started_ns"], second["heartbeat_ns"]) == (3 * S, 3 * S)


def test_a_cleared_slot_knows_nothing_and_ignores_its_former_owner(shared_state: SharedState, usual: Breaker) -> None:
    """A slot of a new target is closed and empty, and outcomes of the former target's attempts are ignored."""
    pool = TargetPool([Target(shared_state, 0, "old")], [1], [1.0], usual, workers=4, permit_ns=30 * S)
    for _ in range(5):
        reason = pool.report(0, 50 * S, 0, failed=True)
    assert reason == TripReason.TRIP_CONSECUTIVE
    pool.targets[0].enter(0)
    shared_state.set_manual(0, 1)
    shared_state.clear_target(0)
    for _ in range(20):
        assert pool.report(0, 50 * S, 0, failed=True) == 0
    view = shared_state.read_target(0, 50 * S)
    assert (view["state"], view["manual"], view["window"], view["consecutive"]) == ("closed", 0, (0, 0, 0), 0)
    assert view["inflight"] == 1, "its attempts are still running and will give theirs back"


def test_out_of_rotation_and_back(shared_state: SharedState) -> None:
    """A refused credential quarantines a target with the reason, and the quarantine can be ended."""
    shared_state.set_quarantine(1, Outcome.REFUSED_CREDENTIAL, 9 * S)
    view = shared_state.read_target(1, 0)
    assert (view["quarantine_reason"], view["quarantined_until_ns"]) == (Outcome.REFUSED_CREDENTIAL, 9 * S)
    shared_state.clear_quarantine(1)
    view = shared_state.read_target(1, 0)
    assert (view["quarantine_reason"], view["quarantined_until_ns"]) == (0, 0)


def test_manual_codes_are_checked(shared_state: SharedState) -> None:
    """An unknown code is refused before it is written."""
    with pytest.raises(ValueError, match="drain"):
        shared_state.set_manual(0, 3)
    assert shared_state.read_target(0, 0)["manual"] == 0


def test_the_word_of_other_regions_is_checked_and_kept(shared_state: SharedState) -> None:
    """Weight, failure threshold and stamp share a word; a weight that would remove the target is refused."""
    shared_state.set_remote(3, 0.25, 2, 77 * S)
    assert shared_state.read_target(3, 0)["remote"] == 250 << 48 | 2 << 32 | 77_000
    shared_state.clear_remote(3)
    assert shared_state.read_target(3, 0)["remote"] == 0
    for weight in (0.0, 1.1, -1.0):
        with pytest.raises(ValueError, match=r"a weight is 0\.001 to 1\.0"):
            shared_state.set_remote(3, weight, 0, 0)


def test_a_rest_from_outside_keeps_the_later_deadline(shared_state: SharedState) -> None:
    """A 429 that another region reports never shortens a local rate limit."""
    shared_state.set_rate_limited(2, 9 * S)
    shared_state.set_rate_limited(2, 3 * S)
    assert shared_state.read_target(2, 0)["rate_limited_until_ns"] == 9 * S


def test_shares_are_written() -> None:
    """Control writes this node's share of an allowance, until when it holds, and what a node may grant afterwards."""
    shared = SharedState.create(0, 0, 1, allowance_capacity=2)
    shared.set_shares(1, 200_000, 5, until_ns=9 * S, nodes=3, now_ns=S)
    view = shared.read_allowance(1)
    assert (view["requests_share"], view["tokens_share"]) == (200_000, 5)
    assert (view["share_until_ns"], view["share_nodes"], view["concurrent_share"]) == (9 * S, 3, 0)
    shared.set_shares(1, 200_000, 5, until_ns=9 * S, nodes=3, now_ns=S, concurrent=0)
    shared.set_ceiling(1, 24312, 5 * S)
    view = shared.read_allowance(1)
    assert (view["concurrent_share"], view["ceiling_month"], view["ceiling_nano"]) == (1, 24312, 5 * S)
    shared.clear_allowance(1)
    view = shared.read_allowance(1)
    assert (view["concurrent_share"], view["ceiling_month"], view["ceiling_nano"]) == (0, 0, 0)


def test_a_route_is_read_and_cleared(shared_state: SharedState) -> None:
    """A route's record has as many counters and buckets as the layout."""
    shared_state.clear_route(0)
    view = shared_state.read_route(0)
    assert (len(view["counts"]), len(view["first_hist"]), view["inflight"]) == (56, 24, 0)


@given(st.one_of(st.integers(0, 2**64 - 1), st.integers(0, 130_000_000)))
def test_a_histogram_bucket_is_the_first_bound_not_below(us: int) -> None:
    """Prometheus's ``le``: a value on a bound is in that bound's bucket, and a value beyond the last in +Inf."""
    assert bucket_of(us) == sum(round(bound * 1e6) < us for bound in HIST_BOUNDS_S)


def test_every_bound_is_its_own_bucket() -> None:
    """The 23 bounds are increasing, and each begins the next bucket one microsecond later."""
    bounds = [round(bound * 1e6) for bound in HIST_BOUNDS_S]
    assert bounds == sorted(set(bounds))
    assert [bucket_of(bound) for bound in bounds] == list(range(23))
    assert [bucket_of(bound + 1) for bound in bounds] == list(range(1, 24))


def test_spending_is_put_back_only_where_nothing_is_known() -> None:
    """Restored spending never replaces, nor adds to, newer spending; a cleared record can be restored again."""
    shared_state = SharedState.create(0, 0, 1, allowance_capacity=2)
    assert shared_state.set_spent(1, 24312, 5 * S)
    assert not shared_state.set_spent(1, 24312, 7 * S)
    assert not shared_state.set_spent(1, 24313, 7 * S)
    record = shared_state.read_allowance(1)
    assert (record["spent_month"], record["spent_nano"]) == (24312, 5 * S)
    shared_state.clear_allowance(1)
    assert shared_state.set_spent(1, 24313, 7 * S)
    with pytest.raises(IndexError, match="not on this shared state"):
        shared_state.set_spent(2, 24312, 1)


def test_spending_is_raised_to_what_is_known() -> None:
    """Spending is raised to the given sum, also in a record of a later month, and is never lowered."""
    shared_state = SharedState.create(0, 0, 1, allowance_capacity=1)
    for month, nano, expected in (
        (24312, 5, (24312, 5)),
        (24312, 3, (24312, 5)),
        (24312, 9, (24312, 9)),
        (24311, 7, (24312, 9)),
        (24311, 11, (24312, 11)),
        (24313, 2, (24313, 2)),
    ):
        shared_state.raise_spent(0, month, nano)
        record = shared_state.read_allowance(0)
        assert (record["spent_month"], record["spent_nano"]) == expected


def test_a_month_is_turned_back_with_what_stands_for_it() -> None:
    """Spending of a month in the future counts in the current month; a record of an earlier month stays."""
    shared_state = SharedState.create(0, 0, 1, allowance_capacity=2)
    shared_state.set_spent(0, 24313, 5 * S)
    found = []
    for month in (24314, 24313, 24312, 24313):
        shared_state.turn_back(0, month)
        found.append(shared_state.read_allowance(0)["spent_month"])
    assert (found, shared_state.read_allowance(0)["spent_nano"]) == ([24313, 24313, 24312, 24312], 5 * S)
    shared_state.turn_back(1, 24312)
    assert shared_state.read_allowance(1)["spent_month"] == 0
    with pytest.raises(IndexError, match="not on this shared state"):
        shared_state.turn_back(2, 24312)


def test_a_routes_outputs_are_halved_in_place() -> None:
    """Every count of the histogram is halved, rounded down; nothing else in the record changes."""
    boards = [SharedState.create(0, routes, 1) for routes in (0, 1, 2)]
    none, one, two = (os.fstat(shared_state.fd).st_size for shared_state in boards)
    size, header, shared_state = two - one, 64, boards[2]
    assert one - none == size
    os.pwrite(shared_state.fd, struct.pack(f"={size // 8}Q", *range(1, size // 8 + 1)), header + size)
    before = shared_state.read_route(1)
    shared_state.halve_outputs(1)
    after = shared_state.read_route(1)
    assert after["output_hist"] == tuple(count // 2 for count in before["output_hist"])
    assert {**after, "output_hist": ()} == {**before, "output_hist": ()}
    assert set(shared_state.read_route(0)["output_hist"]) == {0}
