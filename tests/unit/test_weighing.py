"""An operator's weight of a target holds in every route, over reloads and restarts, until it is taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from test_operations import Steered, text

from edge.config.schema_targets import ServiceTarget
from edge.config.shape import Scalar, section_of
from edge.control import weighing
from edge.control.compose import compile_config
from edge.control.operations import Operations, UnknownTargetError
from edge.control.reasons import NoReasonError
from edge.control.weighing import BadWeightError, weigh

if TYPE_CHECKING:
    from pathlib import Path


def weights(node: Steered) -> dict[str, set[float]]:
    """Return the weights that the data path uses, by target."""
    snapshot = node.publisher.snapshot
    found: dict[str, set[float]] = {}
    for route in snapshot.routes:
        for member in route.members:
            found.setdefault(snapshot.targets[member.target].id, set()).add(member.weight)
    found.pop("p/*", None)  # of names that no alias has
    return found


def test_a_weight_holds_in_every_route(tmp_path: Path) -> None:
    """It replaces the configured one in all routes of the target; taken back, all is as before."""
    with Steered(tmp_path, "p/a", "p/b") as node:
        assert node.reload(text("p/a", "p/b").replace("models: {", "models: {other: {targets: [p/b, p/a]}, "))
        before = node.publisher.snapshot
        weigh(node.operations, "p/a", 0.05, "a canary")
        assert weights(node) == {"p/a": {0.05}, "p/b": {1.0}}
        assert node.publisher.snapshot.version == before.version + 1
        assert node.slot("p/a") == next(target.slot for target in before.targets if target.id == "p/a")
        weigh(node.operations, "p/a", None, "")
        assert weights(node) == {"p/a": {1.0}, "p/b": {1.0}}
        assert node.publisher.snapshot.weights == {}


def test_a_weight_survives(tmp_path: Path) -> None:
    """A reload keeps it, and so does control that starts anew; a target that is gone leaves none."""
    with Steered(tmp_path, "p/a", "p/b") as node:
        weigh(node.operations, "p/a", 3, "more")
        assert node.reload(text("p/a", "p/b", "p/c"))
        assert weights(node) == {"p/a": {3.0}, "p/b": {1.0}, "p/c": {1.0}}
        kept = node.ledger.recall()
        last = node.last.recall()
        assert kept is not None
        assert compile_config(kept.config, now=2.0, previous=last).weights == {"p/a": 3.0}
        anew = Operations(
            node.shared_state, node.publisher, node.ledger, node.last, applied=lambda *_: None, leave=lambda: None
        )
        assert anew.refresh() is None
        assert node.reload(text("p/b"))
        assert node.publisher.snapshot.weights == {}


@pytest.mark.parametrize("weight", [0, -1, 1000.5, float("nan"), float("inf")])
def test_a_weight_that_no_file_may_have(tmp_path: Path, weight: float) -> None:
    """It is refused with the bounds, and nothing changes."""
    with Steered(tmp_path, "p/a") as node:
        before = node.publisher.snapshot
        with pytest.raises(BadWeightError, match="at most 1000"):
            weigh(node.operations, "p/a", weight, "why")
        assert node.publisher.snapshot is before


def test_who_and_why_must_be_known(tmp_path: Path) -> None:
    """An unknown target gets the nearest name; a weight needs a reason, and taking it back does not."""
    with Steered(tmp_path, "p/alpha") as node:
        told: list[tuple[str, str, str]] = []
        node.operations.acted = lambda *what: told.append(what)
        with pytest.raises(UnknownTargetError, match="did you mean p/alpha"):
            weigh(node.operations, "p/alpa", 2, "why")
        with pytest.raises(NoReasonError):
            weigh(node.operations, "p/alpha", 2, " ")
        assert told == []
        weigh(node.operations, "p/alpha", 2, "more of it")
        weigh(node.operations, "p/alpha", None, "")
        assert told == [("weight", "p/alpha", "2: more of it"), ("weight", "p/alpha", "as configured")]


def test_the_bounds_are_those_of_the_schema() -> None:
    """The highest weight is that of the configuration."""
    shape = next(field.shape for field in section_of(ServiceTarget).fields if field.name == "weight")
    assert isinstance(shape, Scalar)
    assert (shape.above, shape.high) == (0, weighing.HIGHEST)
