"""The table of ids: it answers as a dictionary does, forgets only where it is full, and holds between processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.native import IssuedIds, word

NAMES = st.text(min_size=1, max_size=12)
STEPS = st.lists(st.tuples(NAMES, st.sampled_from(["one", "two", "two@10.0.0.1:80"]), st.sampled_from(["", "a", "b"])))


@given(STEPS, NAMES)
def test_it_answers_like_a_dictionary(steps: list[tuple[str, str, str]], absent: str) -> None:
    """While there is room, the last word about each id is remembered, and nothing else is."""
    table = IssuedIds.create(65_536)
    known: dict[str, tuple[str, str]] = {}
    news = 0
    for name, place, owner in steps:
        table.remember(name, place, owner, 1000)
        news += known.get(name) != (place, owner)
        known[name] = (place, owner)
    for name in {*known, absent}:
        expected = (word(known[name][0]), word(known[name][1])) if name in known else None
        assert table.issuer(name, 1000) == expected
    assert table.changes == news


def test_a_name_of_nobody_has_the_word_0() -> None:
    """Only the empty name stands for nobody."""
    assert (word(""), word("a") != 0, word("a") != word("b")) == (0, True, True)


def test_a_full_table_forgets_what_was_not_used_for_longest() -> None:
    """Of a thousand ids in a table for 64 the latest are known, as many as there is room for; one in use stays."""
    table = IssuedIds.create(64)
    table.remember("in-use", "one", "", 0)
    for number in range(1000):
        now_s = 10_000 * (number + 1)
        table.remember(f"id-{number}", "one", "", now_s)
        assert table.issuer("in-use", now_s) is not None
    last_s = 10_000 * 1000
    kept = [number for number in range(1000) if table.issuer(f"id-{number}", last_s) is not None]
    assert table.capacity == 64
    assert 48 <= len(kept) <= 63
    assert (min(kept) > 850, kept[-1]) == (True, 999)


def test_another_process_sees_what_was_remembered() -> None:
    """Two processes that map the same table see each other's ids."""
    table = IssuedIds.create(64)
    code = (
        "import sys; from native.state.issued_ids import IssuedIds; t = IssuedIds(int(sys.argv[1]));"
        "assert t.issuer('here', 5) is not None; t.remember('there', 'two', 'b', 5)"
    )
    table.remember("here", "one", "a", 5)
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code, str(table.fd)], pass_fds=(table.fd,), check=True, cwd=root, timeout=60)
    assert table.issuer("there", 5) == (word("two"), word("b"))


def test_a_broken_record_is_forgotten() -> None:
    """A record whose words do not fit its check, as after two writers at once, is as if it were not there."""
    table = IssuedIds.create(8)
    table.remember("a", "one", "", 1)
    size = os.fstat(table.fd).st_size
    for at in range(4096, size, 64):  # the owner of every record
        os.pwrite(table.fd, b"\x01", at + 24)
    assert table.issuer("a", 1) is None
    table.remember("a", "two", "", 1)
    assert table.issuer("a", 1) == (word("two"), 0)


def test_a_dump_is_restored_into_a_table_of_another_size() -> None:
    """What was dumped is known again; what is no dump is refused."""
    table, other = IssuedIds.create(64), IssuedIds.create(128)
    for number in range(20):
        table.remember(f"id-{number}", "one", "a", number)
    assert other.restore(table.dump()) == len(table.dump()) // 40
    known = [number for number in range(20) if table.issuer(f"id-{number}", 1) is not None]
    assert [number for number in range(20) if other.issuer(f"id-{number}", 1) is not None] == known
    assert len(known) >= 15
    with pytest.raises(ValueError, match="no dump of a table of ids"):
        other.restore(b"x" * 41)


def test_a_dump_may_come_in_parts() -> None:
    """The parts of a table together are its dump; there is nothing behind its end."""
    table = IssuedIds.create(64)
    for number in range(40):
        table.remember(f"id-{number}", "one", "a", number)
    parts = [table.dump(first, 24) for first in range(0, 96, 24)]
    assert b"".join(parts) == table.dump()
    assert max(map(len, parts)) <= 24 * 40
    assert parts[3] == table.dump(1 << 63, 1 << 63) == b""


def test_what_is_known_already_changes_nothing() -> None:
    """Answers to a client that polls cost no write, of memory or of the disk, for an hour."""
    table = IssuedIds.create(8)
    for now_s in (10, 11, 3610):
        table.remember("a", "one", "k", now_s)
    assert table.changes == 1
    table.remember("a", "one", "k", 3611)
    assert table.changes == 2
    table.remember("a", "one", "l", 3611)
    assert table.issuer("a", 3611) == (word("one"), word("l"))


def test_an_id_that_is_written_again_is_never_unknown() -> None:
    """Another process refreshes the record all the time: its owner is known in every moment."""
    table = IssuedIds.create(8)
    code = (
        "import sys, time; from edge.native import IssuedIds; table = IssuedIds(int(sys.argv[1]))\n"
        "end = time.monotonic() + 1.5; now = 5\n"
        "while time.monotonic() < end:\n"
        "    for _ in range(1000):\n"
        "        now += 7200; table.remember('a', 'one', 'k', now)\n"
    )
    table.remember("a", "one", "k", 5)
    root, missed = Path(__file__).parents[2], 0
    with subprocess.Popen([sys.executable, "-c", code, str(table.fd)], pass_fds=(table.fd,), cwd=root) as writer:
        while writer.poll() is None:
            missed += sum(table.issuer("a", 5) is None for _ in range(10_000))
    assert writer.returncode == 0
    assert table.changes > 1000
    assert missed == 0


@pytest.mark.parametrize("most", [0, -1, 1 << 25])
def test_a_size_out_of_range_is_refused(most: int) -> None:
    """A table has room for 1 to 16,777,216 ids."""
    with pytest.raises(ValueError, match="room for 1 to 16777216"):
        IssuedIds.create(most)


def test_another_descriptor_is_refused() -> None:
    """A descriptor of something else is named."""
    with pytest.raises(ValueError, match="is not a table of ids"):
        IssuedIds(os.memfd_create("other"))


# --- for other nodes --------------------------------------------------------------------------------------------------


def test_what_was_put_for_a_key_is_told_once() -> None:
    """Another table learns place and key of each id that has a key; a mark says from where on to go on."""
    here, there = IssuedIds.create(64), IssuedIds.create(64)
    here.remember("a", "one", "k", 1000)
    here.remember("of-nobody", "one", "", 1000)
    records, mark = here.made(0)
    assert (there.merge(records, 2000), there.merge(records, 2000)) == (1, 0)
    assert there.issuer("a", 2000) == (word("one"), word("k"))
    assert there.issuer("of-nobody", 2000) is None
    assert here.made(mark) == (b"", mark)
    here.remember("a", "one", "k", 3000)
    assert here.made(mark) == (b"", mark), "nothing is new"
    here.remember("b", "two", "k", 3000)
    records, _ = here.made(mark)
    assert len(records) == 32
    assert there.merge(records, 3000) == 1


def test_what_was_heard_is_not_told_on() -> None:
    """Nodes tell what they have put themselves, so that nothing goes around in circles."""
    here, there = IssuedIds.create(64), IssuedIds.create(64)
    here.remember("a", "one", "k", 1000)
    there.merge(here.made(0)[0], 1000)
    there.restore(here.dump())
    assert there.made(0) == (b"", 0)


def test_another_node_takes_no_id_away() -> None:
    """What is known for a key stays; an id that belongs to nobody gets the key that another node knows."""
    here, there = IssuedIds.create(64), IssuedIds.create(64)
    for name in ("mine", "of-nobody"):
        here.remember(name, "two", "thief", 1000)
    there.remember("mine", "one", "k", 1000)
    there.remember("of-nobody", "one", "", 1000)
    assert there.merge(here.made(0)[0], 1000) == 1
    assert there.issuer("mine", 1000) == (word("one"), word("k"))
    assert there.issuer("of-nobody", 1000) == (word("two"), word("thief"))


def test_the_journal_keeps_the_latest() -> None:
    """Of more ids than it has room for, the journal has the latest 16,384, in their order."""
    table = IssuedIds.create(8)
    for number in range(17_000):
        table.remember(f"id-{number}", "one", "k", 1000)
    records, mark = table.made(0)
    assert (len(records), mark) == (16_384 * 32, 17_000)
    latest = IssuedIds.create(8)
    latest.remember("id-16999", "one", "k", 1000)
    assert records[-32:] == latest.made(0)[0]


def test_a_record_that_is_being_written_is_waited_for_once() -> None:
    """The list ends before it, and the next one begins with it; a writer that has died does not stop the others."""
    table = IssuedIds.create(8)
    for name in ("a", "b", "c"):
        table.remember(name, "one", "k", 1000)
    journal = os.fstat(table.fd).st_size - 16_384 * 64
    check = os.pread(table.fd, 8, journal + 64 + 40)
    os.pwrite(table.fd, bytes(8), journal + 64 + 40)
    first, mark = table.made(0)
    assert (len(first), mark) == (32, 1)
    assert table.made(mark) == (b"", 1)
    rest, end = table.made(mark, patient=False)
    assert (len(rest), end) == (32, 3)
    os.pwrite(table.fd, check, journal + 64 + 40)
    assert len(table.made(mark)[0]) == 64


def test_what_is_no_record_is_refused() -> None:
    """A value of another length is no list of records; one without place or key is passed over."""
    table = IssuedIds.create(8)
    with pytest.raises(ValueError, match="no records of ids"):
        table.merge(b"x" * 33, 1000)
    assert table.merge(bytes(64), 1000) == 0
