"""A fault hits exactly the requests that it selects."""

from __future__ import annotations

from random import Random

import pytest

from edge.sim.faults import Asks, Fault, FaultBoard, decode

CHAT = Asks("/v1/chat/completions", model="sim-small")


def struck(fault: Fault, *asks: Asks, now_s: float = 0.0, inflight: int = 1) -> list[bool]:
    """Switch a fault on at 0 s, and return for each request whether it is hit."""
    board = FaultBoard(Random(1))
    board.switch((fault,), 0.0)
    return [board.strike(each, now_s, inflight) is not None for each in asks]


def test_after_and_count_bound_a_fault() -> None:
    """The first ``after`` matching requests are spared, then ``count`` are hit, then none."""
    assert struck(Fault(kind="error", after=2, count=3), *[CHAT] * 7) == [False, False, True, True, True, False, False]


def test_rate_strikes_its_share_and_is_repeatable() -> None:
    """A rate hits about its share, and the same requests with the same seed."""
    first = struck(Fault(kind="error", rate=0.3), *[CHAT] * 1000)
    assert first == struck(Fault(kind="error", rate=0.3), *[CHAT] * 1000)
    assert 250 < sum(first) < 350


def test_a_period_strikes_during_its_duty() -> None:
    """Flapping fails in the first ``duty`` of every period, and answers in the rest."""
    fault = Fault(kind="flapping", period_s=2.0, duty=0.25)
    seen = [struck(fault, CHAT, now_s=now)[0] for now in (0.0, 0.4, 0.6, 1.9, 2.1, 2.7)]
    assert seen == [True, True, False, False, True, False]


def test_flapping_has_a_period_of_its_own() -> None:
    """Without period_s flapping still alternates."""
    assert struck(Fault(kind="flapping"), CHAT, now_s=0.5) == [True]
    assert struck(Fault(kind="flapping"), CHAT, now_s=1.5) == [False]


def test_for_s_ends_a_fault() -> None:
    """After for_s the provider is healthy again, and the list of faults is empty."""
    board = FaultBoard(Random(1))
    board.switch((Fault(kind="blackhole", for_s=1.0),), 10.0)
    assert board.strike(CHAT, 10.9, 1) is not None
    assert board.strike(CHAT, 11.0, 1) is None
    assert board.shown(11.0) == []


@pytest.mark.parametrize(
    ("fault", "hit", "spared"),
    [
        (Fault(kind="capability", path="/v1/embeddings"), Asks("/v1/embeddings"), Asks("/v1/models")),
        (Fault(kind="capability", asked="stream"), Asks("/v1/x", stream=True), Asks("/v1/x")),
        (Fault(kind="capability", asked="json"), Asks("/v1/x"), Asks("/v1/x", stream=True)),
        (Fault(kind="capability", asked="tools"), Asks("/v1/x", tools=True), Asks("/v1/x")),
        (Fault(kind="capability", asked="image"), Asks("/v1/x", image=True), Asks("/v1/x")),
        (Fault(kind="capability", asked="audio"), Asks("/v1/x", audio=True), Asks("/v1/x", image=True)),
        (Fault(kind="capability", asked="structured"), Asks("/v1/x", structured=True), Asks("/v1/x", tools=True)),
        (Fault(kind="capability", asked="reasoning"), Asks("/v1/x", reasoning=True), Asks("/v1/x", stream=True)),
        (Fault(kind="capability", asked="long"), Asks("/v1/x", prompt=32_769), Asks("/v1/x", prompt=32_768)),
        (Fault(kind="error", model="b"), Asks("/v1/x", model="b"), Asks("/v1/x", model="a")),
    ],
)
def test_a_fault_can_be_narrow(fault: Fault, hit: Asks, spared: Asks) -> None:
    """Path, kind of request and model restrict a fault; other requests are not counted."""
    assert struck(fault, hit, spared) == [True, False]


def test_capacity_strikes_above_its_limit_only() -> None:
    """A capacity fault spares the first ``limit`` concurrent requests."""
    assert struck(Fault(kind="capacity", limit=4), CHAT, inflight=4) == [False]
    assert struck(Fault(kind="capacity", limit=4), CHAT, inflight=5) == [True]


def test_the_first_fault_that_bites_strikes() -> None:
    """Of several faults the first matching one applies; a refused connection is never a request's fault."""
    board = FaultBoard(Random(1))
    board.switch((Fault(kind="refuse"), Fault(kind="error", count=1), Fault(kind="latency")), 0.0)
    kinds = [fault.kind for _ in range(2) if (fault := board.strike(CHAT, 0.0, 1))]
    assert kinds == ["error", "latency"]


def test_switching_replaces_everything() -> None:
    """New faults replace all old ones; an empty list means healthy."""
    board = FaultBoard(Random(1))
    board.switch((Fault(kind="error"),), 0.0)
    board.switch((), 0.0)
    assert board.strike(CHAT, 0.0, 1) is None


def test_what_is_on_is_shown_without_defaults() -> None:
    """The list shows the settings, the matching requests and the requests that were hit."""
    board = FaultBoard(Random(1))
    board.switch((Fault(kind="error", status=503, after=1),), 5.0)
    board.strike(CHAT, 5.0, 1)
    board.strike(CHAT, 5.0, 1)
    assert board.shown(6.0) == [{"kind": "error", "status": 503, "after": 1, "seen": 2, "struck": 1, "age_s": 1.0}]


@pytest.mark.parametrize("body", [b'{"kind": "none"}', b"null", b"[]"])
def test_none_heals(body: bytes) -> None:
    """There are three spellings of no fault."""
    assert decode(body) == ()


def test_one_fault_or_a_list_is_read() -> None:
    """A single object and a list mean the same."""
    expected = (Fault(kind="error", status=502),)
    assert decode(b'{"kind": "error", "status": 502}') == expected
    assert decode(b'[{"kind": "error", "status": 502}]') == expected


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not a fault"),
        (b'{"kind": "earthquake"}', "'earthquake' is not one of: latency, .*capacity, none"),
        (b'{"kind": "error", "at": 3}', r"\$\[0\]\.at"),
        (b'{"kind": "error", "stauts": 500}', "stauts"),
        (b'{"kind": "error", "rate": 2}', "share between 0 and 1"),
        (b'{"kind": "error", "status": 200}', "400 to 599"),
        (b'{"kind": "error", "after": -1}', "cannot be negative"),
        (b'{"kind": "latency", "delay_s": -1}', "cannot be negative"),
        (b'{"kind": "flapping", "duty": 0}', "duty"),
        (b'{"kind": "stall", "at": "start"}', "only at: head, middle"),
        (b'{"kind": "garbage", "at": "head"}', "only at: nowhere"),
        (b'{"kind": "capacity"}', "needs limit"),
        (b'{"kind": "capability"}', "needs path"),
    ],
)
def test_nonsense_is_refused_with_the_place(body: bytes, said: str) -> None:
    """An impossible fault is refused with a sentence that names the field."""
    with pytest.raises(ValueError, match=said):
        decode(body)
