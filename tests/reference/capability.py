"""Whose fault a failure is, as plain facts: the reference model of native.balance.capability.

It keeps every outcome, and decides by reading them all. Circuits are those of the reference model of the breaker, so
only what is blamed, and what opens, is modelled here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

S = 1_000_000_000
COMMON = 7  # streaming, chat: the numbers from here on


@dataclass(frozen=True)
class Ended:
    """One attempt that has ended. ``blamed``: a capability, -1 the target, None a success."""

    at_ns: int
    needs: frozenset[int]
    blamed: int | None


@dataclass
class Model:
    """The outcomes of one target, oldest first. No circuit is open yet."""

    window_s: int
    ended: list[Ended] = field(default_factory=list)
    doubted: dict[int, int] = field(default_factory=dict)  # capability -> when its failures began
    others: dict[int, int] = field(default_factory=dict)  # capability -> when a request without it last succeeded
    bodies: dict[int, set[int]] = field(default_factory=dict)  # of failures since the doubt

    def blamed(self, needs: frozenset[int], now_ns: int) -> int:
        """Return what a failure is blamed on."""
        recent = [one for one in self.ended if now_ns // S - one.at_ns // S < self.window_s]
        own = [one for one in self.ended if one.blamed in (None, -1)]
        well = not own or own[-1].blamed is None
        found: list[tuple[int, int]] = []
        for part in needs:
            without = [one for one in recent if one.blamed is None and part not in one.needs]
            with_it = [one for one in recent if one.blamed is None and part in one.needs]
            later = part in self.doubted and self.others.get(part, 0) > self.doubted[part]
            if later or (part < COMMON and well and without):
                found.append((len(with_it), part))
        return min(found)[1] if found else -1

    def fail(self, needs: frozenset[int], now_ns: int, body: int) -> int:
        """Record a failure; return what is blamed."""
        blamed = self.blamed(needs, now_ns)
        for part in needs:
            if self.doubted.setdefault(part, now_ns) == now_ns and part not in self.bodies:
                self.bodies[part] = set()
        if blamed >= 0:
            self.bodies[blamed].add(body)
        self.ended.append(Ended(now_ns, needs, blamed))
        return blamed

    def work(self, needs: frozenset[int], now_ns: int) -> None:
        """Record a success."""
        for part in needs:
            self.doubted.pop(part, None)
            self.others.pop(part, None)
            self.bodies.pop(part, None)
        for part in self.doubted:
            self.others[part] = now_ns
        self.ended.append(Ended(now_ns, needs, None))

    def opens(self, part: int, consecutive: int) -> bool:
        """Return whether the circuit of what was just blamed opens now."""
        row = 0
        for one in reversed(self.ended):
            if one.blamed == part:
                row += 1
            elif one.blamed is None and part in one.needs:
                break
        return row >= consecutive and len(self.bodies[part]) > 1
