"""Changing the weight of a target while the node runs: a canary gets more of the traffic, or less, without a reload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.control.reasons import checked_reason
from edge.errors import EdgeError
from edge.telemetry import logs

if TYPE_CHECKING:
    from edge.control.operations import Operations

HIGHEST: Final = 1000.0
"""As in the configuration; test_weighing.py compares them."""


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
    operations.named(name)
    reason = checked_reason("restore" if weight is None else "drain", reason)
    if weight is not None and not 0 < weight <= HIGHEST:
        sentence = f"a weight is above 0 and at most {HIGHEST:g}; take a target out with `edge target drain`"
        raise BadWeightError(sentence)
    before = operations.weights
    operations.weights = {known: kept for known, kept in before.items() if known != name}
    if weight is not None:
        operations.weights[name] = weight
    try:
        operations.refresh()
    except BaseException:
        operations.weights = before
        raise
    shown = "as configured" if weight is None else f"{weight:g}"
    logs.say(logs.WARNING, "weight set by hand", target=name, weight=shown, reason=reason)
    operations.acted("weight", name, f"{shown}: {reason}" if reason else shown)
