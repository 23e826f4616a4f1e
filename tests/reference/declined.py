"""Remembers answers that declined requests as plain facts: the reference model of native.balance.declined."""

from __future__ import annotations

from dataclasses import dataclass, field

HOLDS_MS = 60_000
KINDS = 4


@dataclass
class Note:
    """One kind of answer: when it came last, to which body, of which key, and after how many good answers."""

    at_ms: int
    status: int
    body: int
    key: int
    good: int


@dataclass
class Declined:
    """What one target has declined."""

    good: int = 0
    active: set[int] = field(default_factory=set)  # keys that have used the target lately
    notes: dict[int, Note] = field(default_factory=dict)  # by the mark of the answer

    def _fresh(self, now_ms: int) -> dict[int, Note]:
        return {
            mark: note
            for mark, note in self.notes.items()
            if now_ms - note.at_ms <= HOLDS_MS and note.good == self.good
        }

    def alike(self, now_ms: int, status: int, answer: int, body: int, key: int) -> bool:
        """Note an answer; return whether another request was declined alike."""
        self.notes = self._fresh(now_ms)
        known = self.notes.get(answer)
        another_key = key < 0 or known is None or known.key != key or not self.active - {key}
        if known is not None and known.body != body and another_key:
            self.notes = {}
            return True
        if known is None and len(self.notes) == KINDS:
            del self.notes[min(self.notes, key=lambda mark: self.notes[mark].at_ms)]
        self.notes[answer] = Note(now_ms, status, body, key, self.good)
        return False

    def statuses(self, now_ms: int) -> set[int]:
        """Return the statuses of the youngest unexplained answers; {0} = there is none."""
        fresh = self._fresh(now_ms).values()
        youngest = max((note.at_ms for note in fresh), default=0)
        return {note.status for note in fresh if note.at_ms == youngest} or {0}
