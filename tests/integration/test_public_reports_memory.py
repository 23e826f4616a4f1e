"""Few bytes must not cost much, as a list of reports: names, and errors that quote them."""

from __future__ import annotations

import pytest
from callers import status
from one_data_plane import models, one_data_plane, post

NAMED = '{{"model":"{}","messages":[]}}'


@pytest.mark.usefixtures("both_wires")
@pytest.mark.parametrize(
    ("name", "expected"),
    [("n" * 512, 404), ("n" * 513, 400), ("\\u006e" * 513, 400), ("é" * 256, 404), ("é" * 257, 400)],
)
async def test_a_name_of_megabytes_is_carried_about(name: str, expected: int) -> None:
    """A model's name has at most 512 bytes, however they are written; a longer one is not looked up."""
    async with one_data_plane(models("http://127.0.0.1:9")) as data_plane:
        answer = await data_plane.ask(post(NAMED.format(name).encode()), b"}}")
        assert status(answer) == expected
        assert (b"model_too_long" in answer) == (expected == 400)


@pytest.mark.usefixtures("both_wires")
@pytest.mark.parametrize("path", ["/x" * 8000, "/v1/models/" + "m" * 16000])
async def test_an_error_quotes_all_that_was_sent(path: str) -> None:
    """What a caller wrote stands in an error in part only."""
    async with one_data_plane(models("http://127.0.0.1:9")) as data_plane:
        answer = await data_plane.ask(f"GET {path} HTTP/1.1\r\nhost: edge\r\n\r\n".encode(), b"}}")
        assert status(answer) == 404
        assert len(answer) < 2000
