"""Follows one stream through the queue of its connection: the reference model of native/http/passage."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Passage:
    """Two marks, each (bytes of the connection, bytes of the stream), between which the stream is spread evenly."""

    marks: list[tuple[int, int]] = field(default_factory=list)

    def passed(self, written: int, acked: int, pulled: int) -> int:
        """Return how many bytes of the stream the client has taken, of ``acked`` bytes of the connection."""
        if not self.marks or self.marks[1][0] == 0:
            self.marks = [(acked, pulled - (written - acked)), (written, pulled)]
        elif acked >= self.marks[1][0]:
            self.marks = [self.marks[1], (written, pulled)]
        (first, first_own), (last, last_own) = self.marks
        if last <= first:
            return last_own
        return first_own + (last_own - first_own) * (acked - first) // (last - first)
