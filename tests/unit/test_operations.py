"""A reload drops exactly the state that is no longer valid, and reads a file only once it is stable."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

import pytest

from edge.config.load import read
from edge.control import operations
from edge.control.compose import checked, compile_config
from edge.control.file_watch import FileWatch, mark_of
from edge.control.ledger import Ledger
from edge.control.memfd_cell import MemfdCell
from edge.control.operations import Operations
from edge.control.publish import Publisher
from edge.errors import ConfigInvalidError
from edge.native import SharedState
from edge.regions.digest import ManualOverride
from edge.routing.planner import capacities
from edge.telemetry import logs
from edge.terms.places import Peer
from edge.terms.snapshot import Snapshot

if TYPE_CHECKING:
    from pathlib import Path

MARKS = [(1, 10, 100, 5), (2, 10, 100, 5), (3, 12, 101, 5)]


def text(*targets: str, port: int = 9, key: str = "one") -> str:
    """Return a configuration with these targets of one provider."""
    return (
        f'providers: {{p: {{base_url: "http://127.0.0.1:{port}/v1", api_key: "sk-0123456789-{key}"}}}}\n'
        f"models: {{chat: {{targets: [{', '.join(targets)}]}}}}\n"
    )


class Steered:
    """A shared state, a publisher and a file, without processes."""

    def __init__(self, folder: Path, *targets: str, more: str = "") -> None:
        self.file = folder / "edge.yaml"
        self.file.write_text(text(*targets) + more)
        config = checked(read(self.file))
        snapshot = compile_config(config, now=1.0)
        self.shared_state = SharedState.create(*capacities(snapshot), 1)
        self.publisher = Publisher(snapshot)
        self.ledger = MemfdCell.create("ledger", Ledger)
        self.ledger.keep(Ledger(config, source=str(self.file), mark=mark_of(str(self.file))))
        self.last = MemfdCell.create("snapshot", Snapshot)

    def __enter__(self) -> Self:
        self.operations = Operations(
            self.shared_state, self.publisher, self.ledger, self.last, applied=lambda *_: None, leave=lambda: None
        )
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.ledger.fd)
        os.close(self.last.fd)

    def reload(self, written: str) -> bool:
        """Apply another file; return whether it changed anything."""
        self.file.write_text(written)
        return self.operations.reload("a test").changed

    def slot(self, name: str) -> int:
        """Return the number of a target's record."""
        return next(target.slot for target in self.publisher.snapshot.targets if target.id == name)

    def out(self, name: str) -> bool:
        """Return whether the shared state quarantines a target."""
        return self.shared_state.read_target(self.slot(name), 1)["quarantined_until_ns"] > 0

    def learn(self, name: str) -> None:
        """Quarantine a target, as a refused credential does."""
        self.shared_state.set_quarantine(self.slot(name), 11, 2**62)


def test_who_stays_keeps_what_was_learned(tmp_path: Path) -> None:
    """A target keeps its state if others are added or removed, and if it is removed and added again."""
    with Steered(tmp_path, "p/a", "p/b") as node:
        node.learn("p/a")
        assert node.reload(text("p/a", "p/c"))
        assert (node.out("p/a"), node.out("p/c")) == (True, False)
        assert node.reload(text("p/c"))
        assert node.reload(text("p/c", "p/a"))
        assert (node.out("p/a"), node.out("p/c")) == (True, False)


def test_a_defect_of_the_check_refuses_the_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception in the check refuses the reload, is counted, and is shown once without its message."""

    def broken(*_: object) -> None:
        raise ValueError("sk-0123456789-one")

    with Steered(tmp_path, "p/a") as node:
        node.file.write_text(text("p/b", "p/longer"))
        before = node.publisher.snapshot
        with monkeypatch.context() as patch:
            patch.setattr(operations, "check", broken)
            for _ in range(5):
                node.operations.poll()
        kept = node.ledger.recall()
        assert kept is not None
        sentence = f"{node.file}: edge failed to check this file (ValueError); the log has the cause"
        assert (kept.reloads.refused, kept.reloads.problems) == (1, (sentence,))
        assert node.publisher.snapshot is before
        assert node.reload(text("p/b"))


@pytest.mark.parametrize("change", [{"port": 10}, {"key": "two"}], ids=["address", "credential"])
def test_who_is_another_now_starts_afresh(tmp_path: Path, change: dict[str, object]) -> None:
    """State of the old address or credential does not bar the new one; a manual override stays.

    Nor does what is in flight to the old one and comes back later: it reports to the record of the old one.
    """
    with Steered(tmp_path, "p/a", "p/b") as node:
        node.learn("p/a")
        old = node.slot("p/a")
        node.operations.steer("p/a", "eject", "by hand")
        assert node.reload(text("p/a", "p/b", **change))  # type: ignore[arg-type]
        node.shared_state.set_quarantine(old, 11, 2**62)
        assert not node.out("p/a")
        assert node.shared_state.read_target(node.slot("p/a"), 1)["manual"] == 2


def test_a_token_that_came_by_reload_is_concealed(tmp_path: Path) -> None:
    """A new token is concealed from then on, even if it is the only change and no Snapshot is published."""
    token = "second-token-9876543210"
    with Steered(tmp_path, "p/a") as node:
        assert logs.without_secrets(token) == token
        assert not node.reload(text("p/a") + f"admin: {{token: {token}}}\n")
        assert token not in logs.without_secrets(f"Bearer {token}")


@pytest.mark.parametrize("name", ["region", "name"])
def test_a_node_that_shares_keeps_its_name(tmp_path: Path, name: str) -> None:
    """The name of a node in a cluster cannot change; a single node may change its name."""
    for cluster, refused in (("", False), ("cluster: {etcd: {endpoints: [http://127.0.0.1:1]}}\n", True)):
        with Steered(tmp_path, "p/a", more=f"node: {{{name}: one}}\n{cluster}") as node:
            other = text("p/a") + f"node: {{{name}: two}}\n{cluster}"
            if refused:
                with pytest.raises(ConfigInvalidError, match=f"node.{name}: this cannot change"):
                    node.reload(other)
            else:
                assert node.reload(other)


def test_of_more_edges_than_there_is_room_for_the_first_are_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A node that reports hundreds of addresses does not displace the others; the log says how many are left out."""
    with Steered(tmp_path, "p/a") as node:
        assert node.reload(text("p/a") + 'node: {region: here}\npeers: {token: "0123456789abcdef"}\n')
        met = [Peer("us", f"8.8.8.8:{port}") for port in range(1, 500)]
        node.operations.set_peers(met)
        regions = [target for target in node.publisher.snapshot.targets if target.kind == "region"]
        room = node.shared_state.capacities[0] - 2
        assert [target.port for target in regions] == list(range(1, room + 1))
        node.operations.set_peers(met[:1])
        assert sum(target.kind == "region" for target in node.publisher.snapshot.targets) == 1
    room_error = "the shared state has too few records for all edges of other regions; a restart makes room"
    clear_error = "edges from the store get the token and prompts unencrypted across the internet; set peers.tls"
    said = [record.getMessage() for record in caplog.records if record.getMessage() in (room_error, clear_error)]
    assert said == [room_error, clear_error, clear_error]


def test_a_record_that_goes_to_another_is_cleared_first(tmp_path: Path) -> None:
    """If every record has had an owner, a new target gets a cleared record of a removed target."""
    with Steered(tmp_path, "p/first", "p/stays") as node:
        node.learn("p/first")
        node.operations.steer("p/first", "drain", "it goes")
        gone = node.slot("p/first")
        capacity = node.shared_state.capacities[0]
        owners = []
        for number in range(capacity):
            node.reload(text("p/stays", f"p/n{number}"))
            owners.append(node.slot(f"p/n{number}"))
            record = node.shared_state.read_target(owners[-1], 1)
            assert (record["quarantined_until_ns"], record["manual"]) == (0, 0)
            node.learn(f"p/n{number}")
        assert gone in owners
        assert "p/first" not in node.operations.ledger.by_hand
        assert len(set(owners)) > capacity // 2


def test_what_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    """More targets than records are refused, and a restarted control still reports the refusal."""
    with Steered(tmp_path, "p/a") as node:
        before = node.publisher.snapshot
        with pytest.raises(ConfigInvalidError, match="need more records than the"):
            node.reload(text(*(f"p/m{number}" for number in range(64))))
        assert node.publisher.snapshot is before
        kept = node.ledger.recall()
        assert kept is not None
        assert kept.reloads.refused == 1
        assert not node.reload(text("p/a"))
        kept = node.ledger.recall()
        assert kept is not None
        assert (kept.reloads.applied, kept.reloads.problems) == (1, ())


def test_a_look_reads_what_has_changed_once(tmp_path: Path) -> None:
    """A changed file is read once after two equal looks, even if it is invalid; without a change nothing is read."""
    with Steered(tmp_path, "p/a") as node:
        for _ in range(3):
            node.operations.poll()
        assert node.operations.ledger.reloads.applied == 0
        node.file.write_text("models: [")
        for _ in range(5):
            node.operations.poll()
        assert node.operations.ledger.reloads.refused == 1
        node.file.unlink()
        for _ in range(3):
            node.operations.poll()
        assert node.operations.ledger.reloads.refused == 1
        node.file.write_text(text("p/a", "p/b"))
        for _ in range(3):
            node.operations.poll()
        assert (node.operations.ledger.reloads.applied, node.publisher.snapshot.version) == (1, 2)


def test_a_file_in_the_making_is_not_read() -> None:
    """A file that changes between looks, or is missing, is not read until it is stable."""
    watch = FileWatch()
    assert [watch.poll(mark, MARKS[0]) for mark in (MARKS[1], MARKS[2], MARKS[1])] == [False, False, False]
    assert watch.poll(MARKS[1], MARKS[0])
    assert not watch.poll(MARKS[1], MARKS[1])
    assert [watch.poll(None, MARKS[1]) for _ in range(2)] == [False, False]
    assert mark_of("/nowhere/edge.yaml") is None


def test_a_target_that_moves_often_never_runs_out_of_records(tmp_path: Path) -> None:
    """Hundreds of rotated credentials fit into a small shared state, and each starts with a new record."""
    with Steered(tmp_path, "p/a") as node:
        for number in range(3 * node.shared_state.capacities[0]):
            assert node.reload(text("p/a", key=str(number)))
            assert not node.out("p/a")
            node.learn("p/a")
        assert len(node.publisher.snapshot.slots) <= sum(node.shared_state.capacities[:2])


def manual(node: Steered, name: str) -> int:
    """Return the manual override in the shared state."""
    return node.shared_state.read_target(node.slot(name), 1)["manual"]


def test_what_was_done_for_all_regions_is_done_here_and_undone(tmp_path: Path) -> None:
    """An override of all regions also applies to a target that a later reload adds; a local one is independent."""
    with Steered(tmp_path, "p/a", "p/b") as node:
        node.operations.steer("p/b", "drain", "only here")
        hand = ManualOverride(2, "wrong answers", 5.0, "us/n")
        node.operations.apply_overrides({"p/a": hand, "p/b": hand, "p/later": hand})
        assert (manual(node, "p/a"), manual(node, "p/b")) == (2, 1)
        assert node.operations.ledger.by_hand["p/a"].by == "us/n"
        assert node.reload(text("p/a", "p/b", "p/later"))
        assert manual(node, "p/later") == 2
        node.operations.apply_overrides({})
        assert [manual(node, name) for name in ("p/a", "p/b", "p/later")] == [0, 1, 0]


def test_one_node_may_undo_for_itself_what_was_done_for_all(tmp_path: Path) -> None:
    """A target can be restored locally without the store; the next override of all regions applies again."""
    with Steered(tmp_path, "p/a") as node:
        hand = ManualOverride(1, "moving", 5.0, "us/n")
        node.operations.apply_overrides({"p/a": hand})
        node.operations.steer("p/a", "restore", "")
        node.operations.apply_overrides({"p/a": hand})
        assert manual(node, "p/a") == 0
        node.operations.apply_overrides({"p/a": ManualOverride(2, "again", 9.0, "us/n")})
        assert manual(node, "p/a") == 2
