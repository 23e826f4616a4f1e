"""Two parts of a text are joined where they belong together, however the second one comes, or not at all."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.dialects.seam import LEAST_RESTART, MOST_CHANCE, CannotJoinError, Seam, anchor_of, is_repetitive

SHOWN = "The river carries small boats"
REST = " past old stone bridges."
TEXTS = st.text(alphabet="ab .\né語", max_size=60)


def joined(seam: Seam, *pieces: str) -> str:
    """Return what a seam shows of an answer that comes in these pieces."""
    return "".join([*(seam.push(piece) for piece in pieces), seam.finish()])


def cut(text: str, places: list[int]) -> list[str]:
    """Return the pieces of a text between these places."""
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:stop] for start, stop in itertools.pairwise(edges)]


@pytest.mark.parametrize("turn", [False, True])
@pytest.mark.parametrize("front", ["", SHOWN])
def test_the_rest_is_joined_letter_by_letter(front: str, turn: bool) -> None:
    """A target that goes on and one that starts over give the same text."""
    assert joined(Seam(SHOWN, len(SHOWN), turn=turn), *(front + REST)) == REST


@pytest.mark.parametrize("shown", [SHOWN, SHOWN + "\n\n", "Yes. "])
def test_a_new_turn_begins_with_the_last_words(shown: str) -> None:
    """The words by which the rest is to begin are left out."""
    assert shown.rstrip().endswith(anchor_of(shown))
    blank = shown[len(shown.rstrip()) :]
    assert joined(Seam(shown, len(shown), turn=True), *(anchor_of(shown) + blank + REST)) == REST


@pytest.mark.parametrize(
    ("shown", "answer"),
    [
        (SHOWN, SHOWN[:-4] + "ships"),  # starts over, and says something else
        (SHOWN, SHOWN[:-4]),  # starts over, and ends too early
        ("ha ha ha ha ", "ha ha ha ha ho"),  # may be either
        ("a b c ", "a b c d"),  # too short to tell
    ],
)
def test_what_does_not_fit_is_not_joined(shown: str, answer: str) -> None:
    """No part of an answer is shown that may not belong there."""
    seam = Seam(shown, len(shown), turn=False)
    with pytest.raises(CannotJoinError):
        joined(seam, *answer)


def test_a_lost_space_is_not_joined() -> None:
    """A new turn that begins inside a word or behind it is refused, unless the script has no spaces."""
    with pytest.raises(CannotJoinError, match="space"):
        joined(Seam(SHOWN, len(SHOWN), turn=True), "past old stone bridges")
    assert joined(Seam("長い河は小さな船を", 9, turn=True), "運ぶ") == "運ぶ"


def test_white_space_that_was_not_sent_has_to_come_back() -> None:
    """The target was sent the text without the white space at its end."""
    seam = Seam(SHOWN + "\n\n", len(SHOWN), turn=False)
    assert joined(seam, "\n", "\nPast") == "Past"
    with pytest.raises(CannotJoinError):
        joined(Seam(SHOWN + "\n\n", len(SHOWN), turn=False), "\nPast")


def test_items_of_a_list_begin_alike() -> None:
    """What goes on may begin like the whole text by chance."""
    shown = "- one river\n- two\n"
    assert joined(Seam(shown, len(shown), turn=False), "- ", "three") == "- three"


@given(TEXTS, TEXTS, st.lists(st.integers(0, 200), max_size=6), st.booleans())
def test_either_the_exact_rest_or_none(shown: str, rest: str, places: list[int], over: bool) -> None:
    """However the answer is cut, the seam shows exactly the rest or fails; it fails only where it says it may."""
    seam = Seam(shown, len(shown), turn=False)
    answer = shown + rest if over else rest
    unclear = len(shown) < LEAST_RESTART or is_repetitive(shown)
    common = next((at for at, pair in enumerate(zip(shown, rest, strict=False)) if len(set(pair)) > 1), None)
    common = min(len(shown), len(rest)) if common is None else common
    try:
        said = joined(seam, *cut(answer, places))
    except CannotJoinError:
        assert unclear if over else common > MOST_CHANCE or common == len(shown)
        return
    if (shown and not unclear) if over else common < len(shown):
        assert said == rest


@given(st.text(alphabet="ab", max_size=24))
def test_repetition(text: str) -> None:
    """A text is repetitive if a period of at most half its length fits."""
    half = range(1, len(text) // 2 + 1)
    assert is_repetitive(text) == any(text[period:] == text[: len(text) - period] for period in half)


BOATS = "The river is long. It carries small boats."


@pytest.mark.parametrize(
    "answer",
    [
        "small boats. They drift past old stone bridges.",
        "It carries small boats. They drift past old stone bridges.",
        " It carries small boats. They drift past old stone bridges.",
        "They drift past old stone bridges.",
        "boats.",
    ],
)
def test_a_new_turn_that_does_not_begin_as_it_was_asked_to(answer: str) -> None:
    """Where it repeats a part of what was shown, or may lack a space, nothing is doubled or glued together."""
    for cuts in ((len(answer),), (3, 9, len(answer)), range(1, len(answer) + 1)):
        pieces = [answer[start:stop] for start, stop in itertools.pairwise((0, *cuts))]
        with pytest.raises(CannotJoinError):
            joined(Seam(BOATS, len(BOATS), turn=True), *pieces)


def test_a_new_turn_may_go_on_at_once() -> None:
    """What begins with the space that is due is joined, in whatever pieces it comes."""
    for pieces in ([" They drift past."], [" ", "They", " drift", " past."], [" Yes."]):
        assert joined(Seam(BOATS, len(BOATS), turn=True), *pieces) == "".join(pieces)
