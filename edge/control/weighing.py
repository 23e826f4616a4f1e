"""Changing the weight of a target while the node runs: a canary gets more of the traffic, or less, without a reload.

An operator sets a weight on one node, or for the nodes of a region or of all regions, which learn it from the store.
What was set on a node itself comes before what the store says.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from edge import clock
from edge.control.ledger import WeightByHand
from edge.control.reasons import checked_reason
from edge.errors import ConfigInvalidError, EdgeError
from edge.regions.digest import HIGHEST_WEIGHT, SharedWeight, name_of
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.control.operations import Operations

HIGHEST: Final = HIGHEST_WEIGHT


class BadWeightError(EdgeError):
    """A weight is not above 0, or too high."""

    kind = "bad_weight"
    source = "client"


def weigh(operations: Operations, name: str, weight: float | None, reason: str) -> None:
    """Give a target this weight in every route of this node; None: the weight that the configuration says.

    It holds over reloads and restarts of the node's processes, as long as the target exists.

    Raises:
        UnknownTargetError: no route has such a target.
        BadWeightError: the weight is not one that a configuration may have.
        NoReasonError: the reason is missing or not one line of text; it may be empty if ``weight`` is None.
        ConfigInvalidError: the Snapshot cannot be made; nothing has changed.
    """
    reason = _checked(operations, name, weight, reason)
    before = operations.ledger.weights.get(name)
    unweighed = operations.ledger.unweighed
    if before is not None and before.by:  # the shared weight stays in force elsewhere, but no longer here
        unweighed = {**unweighed, name: before.since}
    weights = {known: kept for known, kept in operations.ledger.weights.items() if known != name}
    if weight is not None:
        weights[name] = WeightByHand(weight, reason, clock.wall())
    operations.set_weights(weights, unweighed)
    logs.say(logs.WARNING, "weight set by hand", target=name, weight=_shown(weight), reason=reason)
    operations.acted("weight", name, told_weight(weight, reason))


def shared_weight(operations: Operations, name: str, weight: float | None, reason: str) -> SharedWeight | None:
    """Return the weight to publish for other nodes; None: it is to be deleted. Raises as :func:`weigh`."""
    reason = _checked(operations, name, weight, reason)
    if weight is None:
        return None
    snapshot = operations.snapshot
    return SharedWeight(weight, reason, clock.wall(), name_of(snapshot.region, snapshot.node))


def apply_weights(operations: Operations, shared: Mapping[str, SharedWeight]) -> None:
    """Apply the weights that the store has for this node, and undo those that were deleted; its own stay."""
    ledger = operations.ledger
    known = {target.id for target in operations.snapshot.targets}
    weights = {name: kept for name, kept in ledger.weights.items() if not kept.by or name in shared}
    unweighed = {name: since for name, since in ledger.unweighed.items() if name in shared}
    for name, said in shared.items():
        before = weights.get(name)
        if name in known and unweighed.get(name) != said.since and (before is None or before.by):
            weights[name] = WeightByHand(said.weight, said.reason, said.since, said.by)
    if (weights, unweighed) == (ledger.weights, ledger.unweighed):
        return
    try:
        operations.set_weights(weights, unweighed)
    except ConfigInvalidError as error:
        logs.say(logs.ERROR, "shared weights cannot be used", problem="; ".join(error.problems))
        return
    for name in ledger.weights.keys() | weights.keys():
        done = weights.get(name)
        if done != ledger.weights.get(name):
            shown = _shown(None if done is None else done.weight)
            facts = {} if done is None else {"reason": done.reason, "by": done.by}
            logs.say(logs.WARNING, "weight from the cluster", target=name, weight=shown, **facts)
            operations.for_many.follow("weight", name, ": ".join([shown, *facts.values()]))


def told(done: WeightByHand) -> str:
    """Return what status says of a weight: how much, who, why and since when."""
    who = f" of {done.by}" if done.by else ""
    when = datetime.fromtimestamp(done.since, UTC).strftime("%Y-%m-%d %H:%MZ")
    return f"weight {done.weight:g} by hand{who}, since {when}: {done.reason}"


def told_weight(weight: float | None, reason: str) -> str:
    """Return what the history says of a weight that was set; None: that of the configuration."""
    return f"{_shown(weight)}: {reason}" if reason else _shown(weight)


def drop_weight(operations: Operations, name: str) -> None:
    """Drop the weight that was set on this node itself, for what was just set for many."""
    ledger = operations.ledger
    weights = {known: kept for known, kept in ledger.weights.items() if known != name}
    operations.set_weights(weights, ledger.unweighed)
    logs.say(logs.WARNING, "the weight of this node gives way to that of many", target=name)
    operations.take_shared()


def _checked(operations: Operations, name: str, weight: float | None, reason: str) -> str:
    operations.named(name)
    reason = checked_reason("restore" if weight is None else "drain", reason)
    if weight is not None and not 0 < weight <= HIGHEST:
        sentence = f"a weight is above 0 and at most {HIGHEST:g}; take a target out with `edge target drain`"
        raise BadWeightError(sentence)
    return reason


def _shown(weight: float | None) -> str:
    return "as configured" if weight is None else f"{weight:g}"
