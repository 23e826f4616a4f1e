"""Taking targets out of rotation by hand, and putting them back: on one node, or where the store says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge import clock
from edge.control.ledger import ByHand
from edge.control.reasons import Action, checked_reason
from edge.regions.digest import ManualOverride, name_of
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge.control.operations import Operations
    from edge.terms.snapshot import Target

CODES: Final[dict[Action, int]] = {"restore": 0, "drain": 1, "eject": 2}
"""The code of each action in the shared state."""

_NAMES: Final = {code: action for action, code in CODES.items()}


def steer(operations: Operations, name: str, action: Action, reason: str) -> Target:
    """Drain, eject or restore a target on this node; :meth:`Operations.steer` has the contract."""
    target = operations.named(name)
    reason = checked_reason(action, reason)
    ledger = operations.ledger
    by_hand = {known: done for known, done in ledger.by_hand.items() if known != name}
    overruled, before = ledger.overruled, ledger.by_hand.get(name)
    if before is not None and before.by:  # the shared override stays in force elsewhere, but no longer here
        overruled = {**overruled, name: before.since}
    if action != "restore":
        by_hand[name] = ByHand(CODES[action], reason, clock.wall())
    operations.set_by_hand(by_hand, overruled)
    logs.say(logs.WARNING, f"manual override: {action}", target=name, reason=reason)
    operations.acted(action, name, reason)
    return target


def checked(operations: Operations, name: str, action: Action, reason: str) -> ManualOverride | None:
    """Return the override to publish for other nodes; :meth:`Operations.checked_override` has the contract."""
    operations.named(name)
    said = checked_reason(action, reason)
    if action == "restore":
        return None
    snapshot = operations.snapshot
    return ManualOverride(CODES[action], said, clock.wall(), name_of(snapshot.region, snapshot.node))


def apply(operations: Operations, overrides: Mapping[str, ManualOverride]) -> None:
    """Apply the overrides that the store has for this node, and undo those that were deleted; its own stay."""
    ledger = operations.ledger
    known = {target.id for target in operations.snapshot.targets}
    by_hand = {name: done for name, done in ledger.by_hand.items() if not done.by or name in overrides}
    overruled = {name: since for name, since in ledger.overruled.items() if name in overrides}
    for name, override in overrides.items():
        undone = overruled.get(name) == override.since
        before = by_hand.get(name)
        if name in known and not undone and (before is None or before.by):
            by_hand[name] = ByHand(override.code, override.reason, override.since, override.by)
    if (by_hand, overruled) == (ledger.by_hand, ledger.overruled):
        return
    operations.set_by_hand(by_hand, overruled)
    for name in ledger.by_hand.keys() | by_hand.keys():
        done = by_hand.get(name)
        if name in known and done != ledger.by_hand.get(name):
            facts = {} if done is None else {"reason": done.reason, "by": done.by}
            sentence = "manual override from the cluster" + (": restore" if done is None else "")
            logs.say(logs.WARNING, sentence, target=name, **facts)
            operations.for_many.follow("restore" if done is None else _NAMES[done.code], name, " ".join(facts.values()))


def give_way(operations: Operations, name: str) -> None:
    """Drop what was done to a target on this node itself, for what was just done for many."""
    ledger = operations.ledger
    operations.set_by_hand({known: done for known, done in ledger.by_hand.items() if known != name}, ledger.overruled)
    logs.say(logs.WARNING, "the manual override of this node gives way to that of many", target=name)
    operations.take_shared()


def adopt(operations: Operations, name: str, override: ManualOverride) -> None:
    """Take an override of this node for the shared one that it has become, so that its end is seen here."""
    done = operations.ledger.by_hand.get(name)
    if done is not None and (done.code, done.reason, done.by) == (override.code, override.reason, ""):
        adopted = ByHand(override.code, override.reason, override.since, override.by)
        operations.set_by_hand({**operations.ledger.by_hand, name: adopted}, operations.ledger.overruled)
