"""What other nodes tell of their incidents and of their operators' actions, and what this node tells of its own."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from edge.incidents import incident as incidents
from edge.incidents.elsewhere import (
    MOST_INCIDENTS,
    SILENT_S,
    TOLD_FOR_S,
    may_take,
    recent_actions,
    sound,
    taken,
    to_tell,
)
from edge.incidents.history import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge.incidents.book import IncidentBook
    from edge.incidents.database import Action
    from edge.incidents.incident import Incident
    from edge.incidents.told_minutes import ToldMinutes

MOST: Final = 200
"""Open incidents of other nodes in memory; further ones are not taken."""
SAME_S: Final = 30.0
"""Seconds within which two nodes note what was done once: clocks differ, and the store may be slow."""
AGAIN_S: Final = 55.0
"""The counts of an open incident are written once in so long."""


def same(action: Action, other: Action) -> bool:
    """Return whether two nodes have noted the same act: of one kind on one subject, within the time that news take."""
    return (action.what, action.subject) == (other.what, other.subject) and abs(action.at - other.at) < SAME_S


class Hearsay:
    """The incidents and actions of other nodes, beside those of this one.

    Args:
        keep: writes entries to the history.
    """

    def __init__(self, keep: Callable[[Sequence[Entry]], None]) -> None:
        self._keep = keep
        self.known: dict[str, Incident] = {}  # of other nodes, that are open or have just ended, by id here
        self._heard: dict[str, float] = {}  # up to which time the actions of each node were taken
        self._own: deque[Action] = deque(maxlen=1000)
        self._followed: deque[Action] = deque(maxlen=1000)

    def acted(self, action: Action) -> None:
        """Tell the others what an operator did here."""
        self._own.append(action)

    def followed(self, action: Action) -> bool:
        """Note what was done elsewhere and holds here, too; return whether it was not done here."""
        if any(same(action, each) for each in self._own):
            return False
        self._followed.append(action)
        return True

    def to_tell(self, book: IncidentBook, wall: float) -> tuple[list[Incident], tuple[Action, ...]]:
        """Return what this node tells now: open incidents, and what ended or was done within the last hour."""
        ended = [each for each in book.closed if each.closed > wall - TOLD_FOR_S]
        told = sorted((*ended, *book.open.values()), key=lambda each: (not each.closed, each.opened))[-MOST_INCIDENTS:]
        return [to_tell(each) for each in told], recent_actions(self._own, wall)

    def hear(self, node: str, document: ToldMinutes, wall: float) -> None:
        """Take what another node tells, as far as it is new."""
        for incident in filter(sound, document.incidents):
            self._take(taken(incident, node, wall), wall)
        after = self._heard.get(node, 0.0)
        new = [action for action in document.actions if action.at > after and may_take(action, node, wall)]
        if new:
            self._heard[node] = max(action.at for action in new)
            self._keep(
                [Entry(action=action) for action in new if not any(same(action, each) for each in self._followed)]
            )

    def open(self, wall: float) -> list[Incident]:
        """Return incidents of other nodes that last, as far as is known, and forget what is over."""
        self.known = {
            name: each
            for name, each in self.known.items()
            if wall - each.heard < SILENT_S and not (each.closed and wall - each.closed > TOLD_FOR_S + SILENT_S)
        }
        return [each for each in self.known.values() if not each.closed]

    def _take(self, incident: Incident, wall: float) -> None:
        before = self.known.get(incident.id)
        if (before is None and len(self.known) >= MOST) or incident.opened > wall + SILENT_S:
            return
        if before is not None:
            if (before.closed, before.acknowledged) == (incident.closed, incident.acknowledged) and (
                wall - before.heard < AGAIN_S or incident.closed
            ):
                return
            if before.where != incident.where and wall - before.heard < SILENT_S and not incident.closed:
                return  # one node speaks for its region
        self.known[incident.id] = incident
        # In the table an incident of another node ends when it was last heard of: only own ones are taken up again.
        ended = incident.closed or wall
        self._keep([Entry(incident=(incident.id, incident.opened, ended, incidents.encode(incident)))])
