"""The table of ids on disk: of any size that it may have, in parts, and not written without end."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from soon import until

from edge import clock
from edge.control import issued
from edge.control.issued import IssuedFile, IssuedKeeper, restore_ids
from edge.control.kept_file import KeptFile, StateUnusableError
from edge.native import IssuedIds

if TYPE_CHECKING:
    from pathlib import Path

S = 1_000_000_000


def test_the_largest_table_can_be_read_again() -> None:
    """The file of a full table is not taken for one that edge did not write."""
    assert IssuedIds.create(1 << 24).capacity * 40 <= issued.LONGEST


def test_a_file_may_be_as_long_as_its_kind(tmp_path: Path) -> None:
    """The bound is that of the body; a longer one is refused, and not read."""
    file = KeptFile(tmp_path / "f", b"magic\n", "thing", 8)
    file.write([b"1234", b"", b"5678"])
    assert file.read() == b"12345678"
    file.write(b"123456789")
    with pytest.raises(StateUnusableError, match="edge did not write it"):
        file.read()


def test_a_table_is_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory that a write takes does not grow with the table; what is read again is all of it."""
    monkeypatch.setattr(issued, "PER_PART", 1024)
    table, again = IssuedIds.create(65_536), IssuedIds.create(65_536)
    for number in range(20_000):
        table.remember(f"id-{number}", "one", "a", 1)
    file = IssuedFile(tmp_path, "edge.yaml")
    tracemalloc.start()
    file.write(table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400_000 < len(table.dump())
    restore_ids(again, file)
    assert again.dump() == table.dump()


async def test_a_slow_disk_is_not_kept_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a write that took long, the next one waits for longer than ten seconds."""
    table, file = IssuedIds.create(64), IssuedFile(tmp_path, "edge.yaml")
    keeper, now = IssuedKeeper(table, file), clock.now_ns()
    times = [now, now]
    written = 0

    def write(_: IssuedIds) -> None:
        nonlocal written
        written += 1
        times[0] += 3 * S

    monkeypatch.setattr(file, "write", write)
    monkeypatch.setattr(issued.clock, "now_ns", lambda: times[0])
    for after, expected in ((9, 0), (11, 1), (30, 1), (73, 1), (75, 2)):
        table.remember(f"id-{after}", "one", "a", 1)
        keeper.poll(now + after * S)
        await until(lambda expected=expected: written == expected)  # type: ignore[misc]  # bound at once
        await asyncio.sleep(0.01)
        times[0] = max(times[0], now + after * S)
    await keeper.stop()
