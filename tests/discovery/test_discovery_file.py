"""Addresses in a file: read again when it changes, and kept when it breaks."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from followers import following

from edge.discovery import file as module
from edge.discovery.file import FileSource
from edge.discovery.source import SourceError
from edge.discovery.written import endpoints_of
from edge.terms.places import Endpoint

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look often."""
    monkeypatch.setattr(module, "LOOK_S", 0.02)


async def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """An edit in place, a file renamed over it and a swapped link all count."""
    file, other = tmp_path / "addresses.json", tmp_path / "other.json"
    file.write_text('["10.0.0.1:80"]')
    async with following(lambda changed: FileSource(f"file://{file}", changed)) as heard:
        await heard.until(lambda: heard.now == {"10.0.0.1:80"})
        file.write_text('["10.0.0.1:80", "10.0.0.2:80"]')
        await heard.until(lambda: heard.now == {"10.0.0.1:80", "10.0.0.2:80"})
        other.write_text('["10.0.0.3:80"]')
        other.rename(file)
        await heard.until(lambda: heard.now == {"10.0.0.3:80"})
        other.write_text('["10.0.0.4:80"]')
        os.symlink(other, tmp_path / "link")  # noqa: PTH211
        (tmp_path / "link").rename(file)
        await heard.until(lambda: heard.now == {"10.0.0.4:80"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "not valid JSON"),
        ("[]", "names no address"),
        ('["10.0.0.1"]', "entry 0"),
        ("{}", "not a list"),
        (None, "No such"),
    ],
)
async def test_a_broken_file_changes_nothing(tmp_path: Path, content: str | None, said: str) -> None:
    """A file that is truncated, empty, wrong or gone leaves the last addresses in use, and the state says why."""
    file = tmp_path / "addresses.json"
    file.write_text('["10.0.0.1:80"]')
    async with following(lambda changed: FileSource(f"file://{file}", changed)) as heard:
        await heard.until(lambda: heard.now)
        if content is None:
            file.unlink()
        else:
            file.write_text(content)
        await heard.until(lambda: said in heard.source.state().error)
        assert heard.now == {"10.0.0.1:80"}
        assert heard.source.state().age_s is not None
        file.write_text('["10.0.0.9:80"]')
        await heard.until(lambda: heard.now == {"10.0.0.9:80"})
        assert heard.source.state().error == ""


def test_what_an_address_may_say() -> None:
    """An address may have a tier, a weight and a zone, and stand in a list or in an object around it."""
    written = ["[::1]:80", {"address": "a.test:1", "tier": 2, "weight": 2.5, "zone": "b"}]
    expected = [Endpoint("::1", 80), Endpoint("a.test", 1, 2, 2.5, "b")]
    for whole in (written, {"endpoints": written}):
        assert endpoints_of(json.dumps(whole).encode()) == expected


@pytest.mark.parametrize(
    "item",
    [
        7,
        {},
        {"address": "a:1", "teir": 1},
        {"address": "a:1", "tier": 0},
        {"address": "a:1", "tier": True},
        {"address": "a:1", "weight": 0},
        {"address": "a:1", "weight": "1"},
        {"address": "a:1", "zone": 3},
        {"address": "a:99999"},
        {"address": ":80"},
    ],
)
def test_what_no_address_is(item: object) -> None:
    """Anything else is refused with its place, and nothing of it is used."""
    with pytest.raises(SourceError, match="entry 1"):
        endpoints_of(json.dumps(["a:1", item]).encode())
