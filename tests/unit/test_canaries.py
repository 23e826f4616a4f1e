"""A canary is judged by what it does beside its peers, and only when enough is known of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from test_operations import Steered

from edge.config.load import read_text
from edge.config.schema_policy import Canary
from edge.control.canaries import Canaries, Rule, rules, together
from edge.control.canary_rule import WINDOWS, Seen, total

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def seen(requests: int = 0, failures: int = 0) -> Seen:
    """Return what a target has done, with 20 ms to each first content."""
    firsts = requests - failures
    return Seen(requests, failures, firsts * 20_000, (0, 0, 0, 0, firsts, *[0] * 19))


WELL = seen(100, 1)


def test_whom_a_canary_is_compared_with() -> None:
    """Targets of its own tier in its own route; ids are those of the targets."""
    text = """
providers: {p: {base_url: "http://127.0.0.1:9/v1"}}
models:
  chat:
    targets: [p/a, {target: p/b, canary: {slower: 2}}, {target: p/c, tier: 2}]
services:
  s: {match: {path: /}, targets: ["127.0.0.1:1", {target: "127.0.0.1:2", weight: 0.1, canary: {}}]}
"""
    assert list(rules(read_text(text, "test", None, {}).config)) == [
        Rule("p/b", ("p/a",), Canary(slower=2.0)),
        Rule("s/127.0.0.1:2", ("s/127.0.0.1:1",), Canary()),
    ]


def test_an_abort_is_an_override_and_a_restored_canary_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason stands in the override; what it did before it was restored is not held against it."""
    done = {"p/a": WELL, "p/b": seen()}
    with Steered(tmp_path, "p/a", "{target: p/b, canary: {}}") as node:
        names = {target.slot: target.id for target in node.publisher.snapshot.targets}

        class Read:
            def read_target(self, slot: int, _now_ns: int) -> dict[str, object]:
                found = done.get(names[slot], seen())
                counts = [found.requests - found.failures, *[0] * 8, found.failures, *[0] * 30]
                return {"counts": tuple(counts), "first_hist": found.hist, "first_sum_us": found.first_us}

        watch = Canaries(node.shared_state, node.operations, lambda: node.publisher.snapshot.targets)
        monkeypatch.setattr(watch, "_shared_state", Read())
        watch.poll(1)
        done.update({"p/a": total([WELL, WELL]), "p/b": seen(50, 40)})
        watch.poll(2)
        assert node.operations.ledger.by_hand["p/b"].reason.startswith("canary: 80% of 50 requests failed")
        watch.poll(3)
        node.operations.steer("p/b", "restore", "")
        for turn in range(max(WINDOWS) + 2):
            watch.poll(4 + turn)
        assert node.operations.ledger.by_hand == {}
    assert max(WINDOWS) <= 30


def test_what_was_before_a_record_was_cleared_is_forgotten() -> None:
    """Counters that fell belong to another target, or to a new one in the same place."""
    assert seen(5).since(WELL) is None
    assert WELL.since(seen(5)) == seen(95, 1)


def test_targets_are_added_second_by_second() -> None:
    """One that is known for less long has done nothing before."""
    assert together([[seen(1), seen(2)], [seen(4)]]) == [seen(1), seen(6)]
    assert together([]) == []
