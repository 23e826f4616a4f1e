"""Spending of keys is kept over restarts, and a faulty disk does no harm."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from msgspec import structs
from plans import shared_state_for, snapshot

from edge import clock
from edge.control.kept_file import StateUnusableError
from edge.control.node import Node
from edge.control.publish import Publisher
from edge.control.spend import SpendFile, Spending, Spent, put_back
from edge.telemetry import catalog
from edge.telemetry.usage import month_of

HASHES = ("aa" * 32, "bb" * 32)
TEXT = f"""
providers: {{p: {{base_url: "http://127.0.0.1:9/v1", prices: {{m: {{input: 1}}}}}}}}
models: {{chat: {{targets: [p/m]}}}}
keys:
  - {{name: a, sha256: "{HASHES[0]}", budget: 5}}
  - {{name: b, sha256: "{HASHES[1]}"}}
"""
S = 1_000_000_000


def this_month() -> int:
    """Return the current month of the shared state."""
    return month_of(clock.wall())


def test_months_are_counted_from_year_nought() -> None:
    """January 2026 is 2026 * 12, including its last second, and February is one more."""
    begins = dt.datetime(2026, 1, 1, tzinfo=dt.UTC).timestamp()
    ends = dt.datetime(2026, 2, 1, tzinfo=dt.UTC).timestamp()
    assert (month_of(begins), month_of(ends - 1), month_of(ends)) == (24312, 24312, 24313)


async def test_a_new_board_gets_what_was_spent(tmp_path: Path) -> None:
    """The spending of a node's keys is restored to the empty shared state of the next one, and nothing else."""
    plan = snapshot(TEXT)
    shared_state, file = shared_state_for(plan), SpendFile(tmp_path, "/etc/edge.yaml")
    spending = Spending(shared_state, file)
    shared_state.set_spent(0, this_month(), 3 * S)
    await spending.stop(plan)
    after = shared_state_for(plan)
    put_back(after, plan, file.read())
    records = [after.read_allowance(slot) for slot in (0, 1)]
    assert [(record["spent_month"], record["spent_nano"]) for record in records] == [(this_month(), 3 * S), (0, 0)]


async def test_members_whose_names_are_addresses_keep_their_spending(tmp_path: Path) -> None:
    """An identity with an @ is none of another node's shared budgets, which stand in the file as KEY@REGION/NODE."""
    plan = snapshot(TEXT)
    plan = structs.replace(plan, keys=(structs.replace(plan.keys[0], name="a/ann@x.test"), *plan.keys[1:]))
    shared_state, file = shared_state_for(plan), SpendFile(tmp_path, "/etc/edge.yaml")
    file.write({"a@eu/n": Spent(this_month(), 2 * S)})
    spending = Spending(shared_state, file)
    shared_state.set_spent(0, this_month(), 3 * S)
    await spending.stop(plan)
    again = Spending(shared_state, file)
    assert again.of("a/ann@x.test") == Spent(this_month(), 3 * S)
    assert again.elsewhere == {"a@eu/n": Spent(this_month(), 2 * S)}


async def test_what_is_counted_already_is_not_counted_twice(tmp_path: Path) -> None:
    """A restarted control restores nothing to a shared state that has the spending already."""
    plan = snapshot(TEXT)
    shared_state, file = shared_state_for(plan), SpendFile(tmp_path, "/etc/edge.yaml")
    file.write({"a": Spent(this_month(), 7 * S)})
    put_back(shared_state, plan, file.read())
    Spending(shared_state, file).put_back(plan)
    assert shared_state.read_allowance(0)["spent_nano"] == 7 * S


async def test_a_key_that_comes_back_goes_on_with_its_budget(tmp_path: Path) -> None:
    """A key that is removed and added again keeps its spending, in whatever record."""
    plan, without = snapshot(TEXT), snapshot(TEXT.replace("name: a", "name: c"))
    shared_state, file = shared_state_for(plan), SpendFile(tmp_path, "/etc/edge.yaml")
    spending = Spending(shared_state, file)
    shared_state.set_spent(0, this_month(), 4 * S)
    await spending.stop(plan)
    shared_state.clear_allowance(0)
    await spending.stop(without)
    spending.put_back(plan)
    assert shared_state.read_allowance(0)["spent_nano"] == 4 * S


async def test_it_is_written_every_ten_seconds_when_something_changed(tmp_path: Path) -> None:
    """Spending is written to disk every ten seconds, and only if it has changed."""
    plan = snapshot(TEXT)
    shared_state, file = shared_state_for(plan), SpendFile(tmp_path, "/etc/edge.yaml")
    spending, began = Spending(shared_state, file), clock.now_ns()
    spending.poll(plan, began + 11 * S)
    assert file.read() == {}
    shared_state.set_spent(1, this_month(), S)
    spending.poll(plan, began + 20 * S)
    assert file.read() == {}
    spending.poll(plan, began + 22 * S)
    await spending.stop(plan)
    assert file.read() == {"b": Spent(this_month(), S)}


async def test_months_that_are_over_are_forgotten(tmp_path: Path) -> None:
    """The file has this month's spending only."""
    plan = snapshot(TEXT)
    shared_state, file = shared_state_for(plan), SpendFile(tmp_path, "/etc/edge.yaml")
    file.write({"a": Spent(this_month() - 1, S), "gone": Spent(this_month(), 2 * S)})
    await Spending(shared_state, file).stop(plan)
    assert file.read() == {"gone": Spent(this_month(), 2 * S)}


async def test_the_month_turns_on_a_running_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At midnight UTC the new month begins with 0, in reports and on disk."""
    plan = snapshot(TEXT)
    shared_state, file = shared_state_for(plan), SpendFile(tmp_path, "/etc/edge.yaml")
    turn = dt.datetime(2026, 12, 1, tzinfo=dt.UTC).timestamp()
    november, node = month_of(turn - 1), Node(shared_state, Publisher(plan), 1, dict)
    now = [turn - 15.0]
    monkeypatch.setattr(clock, "wall", lambda: now[0])
    monkeypatch.setattr(clock, "now_ns", lambda: int(now[0] * S))
    spending = Spending(shared_state, file)
    shared_state.set_spent(0, november, 5 * S)
    found = []
    for after in (11.0, 3.9, 0.2, 11.0):  # until 4 s and 0.1 s before the turn, and until 0.1 s and 11.1 s after it
        now[0] += after
        spending.poll(plan, clock.now_ns())
        if spending._running is not None:
            await spending._running
        found.append((node.keys(clock.now_ns())[0].spent, file.read().get("a")))
    assert found == [
        (5.0, Spent(november, 5 * S)),
        (5.0, Spent(november, 5 * S)),
        (0.0, Spent(november, 5 * S)),
        (0.0, None),
    ]
    shared_state.raise_spent(0, november + 1, S)  # as the first that is spent in the new month
    now[0] += 11
    spending.poll(plan, clock.now_ns())
    await spending.stop(plan)
    assert (node.keys(clock.now_ns())[0].spent, file.read()) == (1.0, {"a": Spent(november + 1, S)})
    after = shared_state_for(plan)
    file.write({"a": Spent(november, 5 * S)})
    put_back(after, plan, file.read())
    assert Node(after, Publisher(plan), 1, dict).keys(clock.now_ns())[0].spent == 0.0, (
        "a node that was down at the turn"
    )


async def test_a_month_that_has_not_come_is_no_way_round_a_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spending that was counted under a clock that was ahead still counts once the clock is corrected."""
    plan, wall = snapshot(TEXT), dt.datetime(2026, 11, 10, tzinfo=dt.UTC).timestamp()
    now = [wall]
    monkeypatch.setattr(clock, "wall", lambda: now[0])
    monkeypatch.setattr(clock, "now_ns", lambda: int(now[0] * S))
    november, file = month_of(wall), SpendFile(tmp_path, "/etc/edge.yaml")
    file.write({"a": Spent(november + 1, 2 * S), "b": Spent(november, S)})
    shared_state = shared_state_for(plan)
    spending, node = Spending(shared_state, file), Node(shared_state, Publisher(plan), 1, dict)
    spending.put_back(plan)
    found = []
    for after in (0.0, 11.0, 3_580.0, 20.0):
        now[0] += after
        spending.poll(plan, clock.now_ns())
        await spending.stop(plan)
        assert [key.spent for key in node.keys(clock.now_ns())] == [2.0, 1.0]
        assert [sample.value for sample in node.read().of(catalog.KEY_SPENT)] == [2.0, 1.0]
        found.append(file.read()["a"])
    assert found == [Spent(november + 1, 2 * S)] * 3 + [Spent(november, 2 * S)]
    now[0] = dt.datetime(2026, 12, 1, tzinfo=dt.UTC).timestamp()
    assert [key.spent for key in node.keys(clock.now_ns())] == [0.0, 0.0], "December is a budget of its own"


async def test_a_disk_that_cannot_be_written_harms_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The failure is logged once, the node goes on, and the spending is written once the disk works again."""
    plan, folder = snapshot(TEXT), tmp_path / "state"
    shared_state, file = shared_state_for(plan), SpendFile(folder, "/etc/edge.yaml")
    spending = Spending(shared_state, file)
    folder.write_text("")
    shared_state.set_spent(0, this_month(), S)
    await spending.stop(plan)
    await spending.stop(plan)
    assert [record.message for record in caplog.records] == ["spending cannot be written to disk"]
    folder.unlink()
    await spending.stop(plan)
    assert file.read() == {"a": Spent(this_month(), S)}


@pytest.mark.parametrize("what", ["damaged", "stranger", "readable"])
def test_a_bad_file_is_refused_and_the_node_starts(tmp_path: Path, what: str) -> None:
    """A damaged file, another kind of file, and a file that others could write are ignored."""
    file = SpendFile(tmp_path, "/etc/edge.yaml")
    file.write({"a": Spent(this_month(), S)})
    path = Path(file.path)
    if what == "damaged":
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    elif what == "stranger":
        path.write_bytes(b"hello")
    else:
        path.chmod(0o644)
    with pytest.raises(StateUnusableError, match="spending"):
        file.read()
    assert file.read_or_warn() == {}
