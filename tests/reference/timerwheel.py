"""Searches a dictionary for timers that are due: the reference model of native/io/timer_wheel.pyx."""

from __future__ import annotations


class Deadlines:
    """Deadlines by name."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns
        self.deadlines: dict[int, int] = {}

    def schedule(self, name: int, deadline_ns: int) -> None:
        """Set or move a deadline."""
        self.deadlines[name] = deadline_ns

    def cancel(self, name: int) -> None:
        """Remove a deadline."""
        self.deadlines.pop(name, None)

    def advance(self, now_ns: int) -> set[int]:
        """Remove the deadlines that have passed; return their names."""
        self.now_ns = max(self.now_ns, now_ns)
        due = {name for name, deadline in self.deadlines.items() if deadline <= self.now_ns}
        for name in due:
            del self.deadlines[name]
        return due
