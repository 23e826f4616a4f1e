"""A canary is judged by what it does beside its peers, and only when enough is known of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from test_operations import Steered

from edge.config.load import read_text
from edge.config.schema_policy import Canary
from edge.control import canaries
from edge.control.canaries import WINDOW, Canaries, Rule, Seen, rules, verdict

if TYPE_CHECKING:
    from pathlib import Path

WELL = Seen(100, 1, 100, 100 * 20_000)  # 1% fails, 20 ms to the first content
RULE = Canary()


@pytest.mark.parametrize(
    ("own", "others", "why"),
    [
        (WELL, WELL, None),
        (Seen(100, 6, 100, 100 * 20_000), WELL, None),  # not more than 5% beyond the others' 1%
        (Seen(100, 7, 100, 100 * 20_000), WELL, "7% of 100 requests failed, of the others' 1%"),
        (Seen(19, 19, 0, 0), WELL, None),  # too few requests
        (Seen(20, 20, 0, 0), WELL, "100% of 20 requests failed, of the others' 1%"),
        (Seen(100, 90, 10, 1), Seen(100, 90, 10, 1), None),  # all fail alike
        (Seen(20, 20, 0, 0), Seen(19, 0, 19, 1), None),  # too little is known of the others
        (Seen(100, 1, 100, 100 * 30_000), WELL, None),
        (
            Seen(100, 1, 100, 100 * 30_001),
            WELL,
            "its first content takes 30 ms on average, the others' 20 ms",
        ),
        (Seen(100, 1, 19, 19 * 90_000), WELL, None),  # too few first contents
        (Seen(100, 1, 100, 100 * 9_000), Seen(100, 1, 100, 100 * 2_000), None),  # both are quick
    ],
)
def test_a_verdict(own: Seen, others: Seen, why: str | None) -> None:
    """Failures count beyond those of the others, and first contents in relation to theirs."""
    assert verdict(RULE, own, others) == why


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
    done = {"p/a": WELL, "p/b": Seen()}
    with Steered(tmp_path, "p/a", "{target: p/b, canary: {}}") as node:
        names = {target.slot: target.id for target in node.publisher.snapshot.targets}

        class Read:
            def read_target(self, slot: int, _now_ns: int) -> dict[str, object]:
                seen = done.get(names[slot], Seen())
                counts = [seen.requests - seen.failures, *[0] * 8, seen.failures, *[0] * 30]
                return {"counts": tuple(counts), "first_hist": (seen.firsts,), "first_sum_us": seen.first_us}

        watch = Canaries(node.shared_state, node.operations, lambda: node.publisher.snapshot.targets)
        monkeypatch.setattr(watch, "_shared_state", Read())
        watch.poll(1)
        done.update({"p/a": WELL.plus(WELL), "p/b": Seen(50, 40, 10, 1)})
        watch.poll(2)
        assert node.operations.ledger.by_hand["p/b"].reason.startswith("canary: 80% of 50 requests failed")
        watch.poll(3)
        node.operations.steer("p/b", "restore", "")
        for turn in range(WINDOW + 2):
            watch.poll(4 + turn)
        assert node.operations.ledger.by_hand == {}
    assert canaries.WINDOW <= 30
