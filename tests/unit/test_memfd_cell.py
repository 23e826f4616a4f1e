"""What a memfd cell promises to a process that starts."""

from __future__ import annotations

import contextlib
import os
import random

import pytest
from plans import snapshot

from edge.config.fields import Secret
from edge.config.schema import Config, Provider
from edge.control.memfd_cell import MemfdCell
from edge.terms.snapshot import Snapshot


def test_empty() -> None:
    """A new cell is empty."""
    assert MemfdCell.create("test", Snapshot).recall() is None


def test_last_value_wins_and_is_whole() -> None:
    """A short value after a longer one reads back complete, and nothing of the long value is left."""
    cell = MemfdCell.create("test", dict[str, str])
    cell.keep({"a": "x" * 5000})
    for value in ("y", "z"):
        cell.keep({"b": value})
        assert MemfdCell(cell.fd, dict[str, str]).recall() == {"b": value}
    assert os.fstat(cell.fd).st_size < 100


def test_it_stays_small() -> None:
    """For any sequence of sizes, every value reads back, and the file is at most three values long."""
    cell, sizes = MemfdCell.create("test", str), random.Random(7)
    for _ in range(300):
        value = "x" * sizes.randrange(2000)
        cell.keep(value)
        assert MemfdCell(cell.fd, str).recall() == value
        assert os.fstat(cell.fd).st_size < 3 * 2010


@pytest.mark.parametrize("sizes", [(100, 100), (10, 500), (500, 10)], ids=str)
def test_a_writer_that_is_killed_loses_at_most_what_it_wrote(
    sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a writer is killed at any point, the old or the new value reads back, and the next can be written."""
    real, after = os.pwrite, 0

    def pwrite(fd: int, data: bytes, offset: int) -> int:
        nonlocal after
        if len(data) > after:
            real(fd, data[:after], offset)
            raise KeyboardInterrupt
        after -= len(data)
        return real(fd, data, offset)

    seen = []
    for cut in range(sizes[1] + 60):
        cell = MemfdCell.create("test", str)
        for value in ("first", "a" * sizes[0]):
            cell.keep(value)
        after = cut
        with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
            patch.setattr(os, "pwrite", pwrite)
            cell.keep("b" * sizes[1])
        seen.append(cell.recall())
        assert seen[-1] in {"a" * sizes[0], "b" * sizes[1]}
        cell.keep("next")
        assert cell.recall() == "next"
        os.close(cell.fd)
    assert set(seen) == {"a" * sizes[0], "b" * sizes[1]}


def test_snapshot_and_config_survive() -> None:
    """A Snapshot and a configuration read back equal, and secrets stay hidden."""
    plan = snapshot()
    kept = MemfdCell.create("test", Snapshot)
    kept.keep(plan)
    assert kept.recall() == plan
    config = Config(providers={"one": Provider(api_key=Secret("hidden-key"))})
    configured = MemfdCell.create("test", Config)
    configured.keep(config)
    back = configured.recall()
    assert back == config
    assert "hidden-key" not in repr(back)


@pytest.mark.parametrize("torn", ["size", "body", "number"])
def test_half_written_is_absent(torn: str) -> None:
    """A damaged value reads back as the earlier value or as empty, never as a mixture."""
    cell = MemfdCell.create("test", dict[str, str])
    cell.keep({"key": "value" * 100})
    if torn == "size":
        os.ftruncate(cell.fd, 200)
    elif torn == "body":
        os.pwrite(cell.fd, b"???", 60)
    else:
        os.pwrite(cell.fd, b"\xff" * 16, 0)
    assert cell.recall() is None


def test_only_known_kinds_are_kept() -> None:
    """A value that is not plain data is refused when it is written."""
    with pytest.raises(TypeError, match="object cannot be encoded"):
        MemfdCell.create("test", object).keep(object())
