"""Who may hold how much of what is left: the reference model of the reservations in native.state.allowance."""

from __future__ import annotations

from dataclasses import dataclass, field

MANY = 16


@dataclass
class Held:
    """A budget, and what requests hold of it."""

    budget: int
    spent: int = 0
    held: list[int] = field(default_factory=list)

    def hold(self, usual: int, worst: int) -> int | None:
        """Return what a request holds; None = it is refused."""
        left = self.budget - self.spent
        if left <= 0:
            return None
        free = left - sum(self.held)
        want = usual if free > 0 and usual * MANY <= free else max(usual, worst)
        if want > free and any(self.held) and want:
            return None
        self.held.append(want)
        return want

    def settle(self, want: int, cost: int) -> None:
        """Spend what a request cost, and give back what it held."""
        self.held.remove(want)
        self.spent += cost
