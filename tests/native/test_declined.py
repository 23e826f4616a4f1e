"""Whether a refusal is about one request or about all of them shows in others that are refused alike."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native.balance.declined import Declined
from native.codec.likeness import does_quote, mark_body, mark_text
from native.state.shared_state import SharedState
from tests.reference import declined as twin

MS = 1_000_000
START = 1_000_000 * MS

EVENT = st.tuples(
    st.sampled_from([0, 1, 1, 500, 30_000, 59_999, 60_001]),
    st.sampled_from([402, 403, 404]),
    st.integers(1, 6),
    st.integers(1, 3),
)


@settings(max_examples=300)
@given(events=st.lists(EVENT, max_size=60))
def test_it_is_its_twin(events: list[tuple[int, int, int, int]]) -> None:
    """Any history of refusals gives kernel and model the same conclusions. Each comes at a time of its own."""
    kernel, model = Declined(SharedState.create(1, 0, 1), 0), twin.Declined()
    now_ms = START // MS
    for step, status, answer, body in events:
        now_ms += step + 1
        told = kernel.alike(now_ms * MS, status, answer, body)
        assert told == model.alike(now_ms, status, answer, body, -1)
        assert kernel.status(now_ms * MS) in model.statuses(now_ms)


def test_a_minute_later_it_proves_nothing() -> None:
    """Two different requests count together only within 60 s."""
    declined = Declined(SharedState.create(1, 0, 1), 0)
    assert not declined.alike(START, 404, 7, 1)
    assert declined.status(START + 60_000 * MS) == 404
    assert declined.status(START + 60_001 * MS) == 0
    assert not declined.alike(START + 60_001 * MS, 404, 7, 2)
    assert declined.alike(START + 120_000 * MS, 404, 7, 3)


def test_other_words_are_another_reason() -> None:
    """Requests that are refused with different answers prove nothing about each other."""
    declined = Declined(SharedState.create(1, 0, 1), 0)
    assert [declined.alike(START, 404, answer, answer) for answer in range(1, 9)] == [False] * 8


def test_the_state_of_one_target_is_its_own() -> None:
    """What one target refused says nothing about another."""
    state = SharedState.create(2, 0, 1)
    assert not Declined(state, 0).alike(START, 404, 7, 1)
    assert not Declined(state, 1).alike(START, 404, 7, 2)
    assert Declined(state, 0).alike(START, 404, 7, 2)


ALIKE = [
    (b'{"error":"no","request_id":"req_01a"}', b'{"error":"no","request_id":"req_77"}'),
    (b"You asked for 100 tokens at 10:01", b"You asked for 2000 tokens at 23:59"),
]


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_ids_and_amounts_do_not_tell_answers_apart(one: bytes, other: bytes) -> None:
    """Answers that differ in words with digits only are alike."""
    assert mark_text(404, one) == mark_text(404, other)
    assert mark_text(404, one) != mark_text(403, one)


def test_words_tell_answers_apart() -> None:
    """Answers with other words are not alike, nor are the same words in other places."""
    texts = [b"", b"no model", b"no file", b"file no", b"nofile", b"no file here"]
    assert len({mark_text(404, text) for text in texts}) == len(texts)


@given(body=st.binary(max_size=300), other=st.binary(max_size=300))
def test_a_mark_tells_bodies_apart(body: bytes, other: bytes) -> None:
    """Equal bodies have equal marks, and different ones different marks."""
    assert (mark_body(body) == mark_body(other)) == (body == other)


def test_a_large_body_is_marked_by_its_ends() -> None:
    """Of a large body the beginning, the end and the length count."""
    large = b"a" * 200_000
    assert mark_body(large) == mark_body(large[:100_000] + b"b" + large[100_001:])
    assert (
        len({mark_body(large), mark_body(large + b"a"), mark_body(b"b" + large[1:]), mark_body(large[1:] + b"b")}) == 4
    )


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        (b"No container cntr_68a0 here.", True),
        (b'{"error":"You asked for 64000 tokens"}', True),
        (b"No container cntr_99 here, in 30000 years", False),
        (b"Model gpt-4o-mini does not exist", False),
        (b"My alias chat-2026 does not exist", False),
        (b"status 404 of v1", False),
        (b" ".join(b"word%d" % n for n in range(8)) + b" cntr_68a0", False),
        (b"", False),
    ],
)
def test_what_an_answer_quotes(text: bytes, quoted: bool) -> None:
    """An id or an amount of the request in the answer is a quotation; the names of the model are none."""
    request = b'{"model":"chat-2026","container":"cntr_68a0","max_tokens":64000,"v1":404,"say":"gpt-4o-mini"}'
    assert does_quote(text, request, b"gpt-4o-mini", b"chat-2026") is quoted


def test_a_quotation_is_found_at_both_ends_of_a_large_request() -> None:
    """The first and the last 128 KiB of a request are searched."""
    filler = b"x" * 300_000
    assert does_quote(b"about id_12345", b"id_12345" + filler)
    assert does_quote(b"about id_12345", filler + b"id_12345")
    assert not does_quote(b"about id_12345", filler[:150_000] + b"id_12345" + filler[:150_000])
