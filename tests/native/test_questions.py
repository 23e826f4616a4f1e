"""A question that is asked again in the same bytes keeps its name, and no other question gets it."""

from __future__ import annotations

import hashlib

import pytest

from native.proxy.questions import Questions

BODY = b'{"model":"chat","messages":[]}'


class Naming:
    """Names questions by SHA-256, as many as are asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes, bytes]] = []

    def question(self, scope: str, path: bytes, content: bytes) -> bytes | None:
        """Return a name; a body that says "none" has none."""
        self.asked.append((scope, path, content))
        return None if b"none" in content else hashlib.sha256(repr((scope, path, content)).encode()).digest()


def test_the_same_bytes_are_named_once() -> None:
    """A repeated question is not named again, whether it has a name or not."""
    naming = Naming()
    questions = Questions(naming)  # type: ignore[arg-type]
    for body in (BODY, b"none"):
        first = questions.name_of(b"scope", b"/path", body)
        assert [questions.name_of(b"scope", b"/path", body) for _ in range(3)] == [first] * 3
    assert len(naming.asked) == 2


@pytest.mark.parametrize(
    ("scope", "path", "body"),
    [
        (b"scop", b"e/path", BODY),
        (b"scope/path", b"", BODY),
        (b"scope", b"/pat", b"h" + BODY),
        (b"scope", b"/path", BODY + b" "),
    ],
)
def test_what_moves_from_one_part_to_the_next_is_another_question(scope: bytes, path: bytes, body: bytes) -> None:
    """Scope, path and body are told apart by their lengths: joined they may be the same bytes."""
    naming = Naming()
    questions = Questions(naming)  # type: ignore[arg-type]
    assert questions.name_of(b"scope", b"/path", BODY) != questions.name_of(scope, path, body)
    assert len(naming.asked) == 2


def test_names_are_bounded_and_long_questions_are_not_kept() -> None:
    """The oldest name goes when there are too many; a body above 32 KiB is named each time."""
    naming = Naming()
    questions = Questions(naming, most=3)  # type: ignore[arg-type]
    for number in range(10):
        questions.name_of(b"scope", b"/path", b"%d" % number)
    assert len(questions) == 3
    questions.name_of(b"scope", b"/path", b"9")
    assert len(naming.asked) == 10
    questions.name_of(b"scope", b"/path", b"0")
    long = b"x" * 40_000
    assert questions.name_of(b"scope", b"/path", long) == questions.name_of(b"scope", b"/path", long)
    assert (len(naming.asked), len(questions)) == (13, 3)
