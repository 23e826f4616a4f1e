"""A path is matched decoded, and every reading of it by another server is known."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from native.codec.path_readings import decoded, plain, readings
from tests.reference import path_readings as twin

PARTS = [
    b"/",
    b"a",
    b"api",
    b".",
    b"..",
    b"%2e",
    b"%2F",
    b"%41",
    b"%",
    b"\\",
    b"//",
    b"%5C",
    b";",
    b"%3b",
    b"..;",
    b"%2",
]


@given(st.lists(st.sampled_from(PARTS), max_size=8))
@example([b"a", b";", b"%2F", b"..", b"%2F", b"api"])
@example([b"..", b"/", b"a"])
def test_readings_agree(parts: list[bytes]) -> None:
    """Both models decode alike, and find the same readings; a plain path has one reading, which is the path itself."""
    path = b"/" + b"".join(parts)
    assert decoded(path) == twin.decoded(path)
    assert set(readings(path)) == twin.readings(path)
    if plain(path):
        assert twin.readings(path) == {path}


def test_the_longest_path_is_read_in_every_way() -> None:
    """The number of readings is bounded, whatever a path contains."""
    path = (b"/a%2F..;b\\%5C//" * 1000)[:8192]
    assert len(readings(path)) <= 72
