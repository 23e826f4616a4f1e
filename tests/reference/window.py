"""Counts the last ten seconds from a list of samples: the reference model of native/state/window.pyx."""

from __future__ import annotations

SECOND = 1_000_000_000
PLACES = 10


class Window:
    """Keeps the second and the kind of each sample; drops a sample whose place in the ring has a later second."""

    def __init__(self) -> None:
        self.ended: list[tuple[int, bool]] = []
        self.overdue: list[tuple[int, bool]] = []

    def add(self, now_ns: int, failed: bool = False) -> None:
        """Count an ended attempt."""
        self._keep(self.ended, now_ns // SECOND, failed)

    def slow(self, now_ns: int) -> None:
        """Count an overdue attempt."""
        self._keep(self.overdue, now_ns // SECOND, True)

    def read(self, now_ns: int, seconds: int = 10) -> tuple[int, int, int]:
        """Return (ended, failed, overdue) of the last seconds, the current one included."""
        now = now_ns // SECOND
        ended = [failed for second, failed in self.ended if now - min(seconds, PLACES) < second <= now]
        overdue = [True for second, _ in self.overdue if now - min(seconds, PLACES) < second <= now]
        return len(ended), sum(ended), len(overdue)

    def clear(self) -> None:
        """Remove all samples."""
        self.ended.clear()
        self.overdue.clear()

    @staticmethod
    def _keep(samples: list[tuple[int, bool]], second: int, what: bool) -> None:
        same_place = [kept for kept, _ in samples if kept % PLACES == second % PLACES]
        if any(kept > second for kept in same_place):
            return
        samples[:] = [(kept, said) for kept, said in samples if kept % PLACES != second % PLACES or kept == second]
        samples.append((second, what))
