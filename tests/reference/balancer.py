"""Chooses a target by the three rules, on plain lists: the reference model of native/balance/balancer.pyx."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.reference.capacity import Capacity

if TYPE_CHECKING:
    from tests.reference.breaker import Circuit
    from tests.reference.bucket import Bucket

MS = 1_000_000
TAU_MS = 10_000
USUAL_TAU_MS = 600_000
ALIKE = 3.0
ALIKE_TRIES = 1.25
PENALTY_NS = 5_000 * MS
LOW = 2
USABLE, OPEN, TRIAL, RATE_LIMITED, QUARANTINED, FULL, MANUAL, TRIED, EXHAUSTED, RAMP = range(10)


def float32(value: float) -> float:
    """Round as a cell of the shared state does."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


@dataclass
class PeakEwma:
    """Rises at once, and falls with a time constant of ten seconds; reading decays too."""

    ms: float = 0.0
    stamp_ms: int = 0
    usual_ms: float = 0.0  # the average of successes over ten minutes, without the peak
    usual_stamp_ms: int = 0

    def read(self, now_ns: int) -> float:
        """Return the milliseconds, decayed to now; 0 = no data."""
        return self.ms * self.left(now_ns) if self.ms else 0.0

    def left(self, now_ns: int) -> float:
        """Return what is left of the value; 0 after two time constants."""
        age = float(now_ns // MS - self.stamp_ms) * MS / float(TAU_MS * MS)
        return math.exp(-age) if age <= 2.0 else 0.0

    def observe(self, now_ns: int, latency_ns: int, *, failed: bool = False) -> None:
        """Record a latency; a failure counts as at least five seconds."""
        sample = max((max(latency_ns, PENALTY_NS) if failed else latency_ns) / MS, 1e-3)
        weight = self.left(now_ns)
        value = self.ms * weight
        self.ms = float32(sample if sample >= value else value + sample * (1.0 - weight))
        self.stamp_ms = now_ns // MS
        if not failed:
            age = float(now_ns // MS - self.usual_stamp_ms) * MS / float(USUAL_TAU_MS * MS)
            left = math.exp(-age) if self.usual_ms and age <= 2.0 else 0.0
            self.usual_ms = float32(self.usual_ms * left + sample * (1.0 - left))
            self.usual_stamp_ms = now_ns // MS

    def told(self, now_ns: int) -> float:
        """Return the last milliseconds, after 20 s the usual ones; -1 = a minute has passed."""
        if now_ns // MS - self.stamp_ms <= 20_000:
            return self.ms
        return self.usual_ms if self.usual_ms and now_ns // MS - self.usual_stamp_ms <= 60_000 else -1.0


@dataclass
class Member:
    """A target in the pool, with its state."""

    circuit: Circuit
    tier: int = 1
    weight: float = 1.0
    cap: int = 0
    inflight: int = 0
    classes: list[int] = field(default_factory=lambda: [0, 0, 0])
    adaptive: bool = False
    capacity: Capacity = field(default_factory=lambda: Capacity(2))
    manual: int = 0
    quarantined_until_ns: int = 0
    rate_limited_until_ns: int = 0
    grant: Bucket | None = None  # requests that its credential has left
    cells: list[PeakEwma] = field(default_factory=lambda: [PeakEwma(), PeakEwma()])

    def limit(self, now_ns: int) -> float:
        """Return the limit of concurrent requests; 0 = no limit."""
        bounds = [float(self.cap)] if self.cap else []
        learned = self.capacity.limit(now_ns, self.inflight) if self.adaptive else 0.0
        bounds += [learned] if learned else []
        return min(bounds, default=0.0)

    def spill_limit(self, now_ns: int) -> float:
        """Return the limit of a target that replaces a better tier."""
        limit = self.limit(now_ns)
        if not self.adaptive:
            return limit
        allowance = self.capacity.spill.allowance(now_ns)
        return min(limit, allowance) if limit else allowance

    def full(self, now_ns: int, priority: int, shares: tuple[float, ...] | None, *, spilled: bool) -> bool:
        """Return whether there is no place for another request of this class."""
        if 0 < self.limit(now_ns) < self.inflight + 1:
            return True
        if spilled and self.adaptive and self.inflight + 1 > self.capacity.spill.allowance(now_ns):
            return False  # for another reason
        limit = self.spill_limit(now_ns) if spilled else self.limit(now_ns)
        if limit <= 0:
            return False
        crowded = self.inflight >= 0.8 * limit
        if priority == LOW and spilled:
            return crowded
        return bool(priority and shares and crowded and self.classes[priority] >= shares[priority] * limit)

    def ramped(self, now_ns: int, priority: int, *, spilled: bool) -> bool:
        """Return whether a target of a later tier has all the requests it may have, in total or of the low class."""
        if not spilled:
            return False
        if self.adaptive and self.inflight + 1 > self.capacity.spill.allowance(now_ns):
            return True
        limit, low = self.spill_limit(now_ns), self.classes[LOW]
        return priority == LOW and limit > 0 and low + 1 > self.capacity.spill.low(now_ns, limit, low)

    def barred(
        self, now_ns: int, *, tried: bool, priority: int = 1, shares: tuple[float, ...] | None = None, best: int = 0
    ) -> int:
        """Return the first reason not to use the target now; 0 = none."""
        due = self.circuit.state != "closed" and now_ns // MS >= self.circuit.until_ms
        reasons = {
            TRIED: tried,
            MANUAL: self.manual != 0,
            QUARANTINED: now_ns < self.quarantined_until_ns,
            RATE_LIMITED: now_ns < self.rate_limited_until_ns,
            EXHAUSTED: self.grant is not None and self.grant.wait(now_ns) > 0,
        }
        for reason, applies in reasons.items():
            if applies:
                return reason  # without a look at the limit, which is dropped when it is looked at and old
        reasons = {
            FULL: self.full(now_ns, priority, shares, spilled=self.tier > best),
            RAMP: self.ramped(now_ns, priority, spilled=self.tier > best),
            TRIAL: self.circuit.state == "half_open" and not due,
            OPEN: self.circuit.state == "open" and not due,
        }
        return next((reason for reason, applies in reasons.items() if applies), USABLE)

    def passes(self, now_ns: int, priority: int, shares: tuple[float, ...] | None) -> bool:
        """Return whether the target, which is full and in the best tier, may take what no other target can take."""
        if not self.adaptive:
            return False
        bounds = [bound for bound in (float(self.cap), self.capacity.binding(now_ns, self.inflight)) if bound]
        limit = min(bounds, default=math.inf)
        if priority and shares and self.inflight >= 0.8 * limit and self.classes[priority] >= shares[priority] * limit:
            return False
        return self.inflight + 1 <= limit

    def share(self, now_ns: int) -> float:
        """Return the probability that the target does not stand aside."""
        return min(self.circuit.slow_start(now_ns), self.circuit.remote.weight(now_ns))

    def slowness(self, now_ns: int, latency_cell: int) -> float:
        """Return the latency in ms; -1 = it is not known any more."""
        cell = next((cell for cell in (self.cells[latency_cell], self.cells[1 - latency_cell]) if cell.ms), None)
        if cell is None:
            return 1e9 if self.inflight else 0.05
        ms = cell.told(now_ns)
        return ms if ms < 0 else max(ms, 0.05)

    def tries(self, now_ns: int) -> float:
        """Return attempts per success."""
        total, failed, _ = self.circuit.window.read(now_ns)
        return (total + 3.0) / (total - failed + 3.0)


def mix(value: int) -> int:
    """Return splitmix64's next number."""
    mask = 2**64 - 1
    value = (value + 0x9E3779B97F4A7C15) & mask
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & mask
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & mask
    return value ^ (value >> 31)


def pick(
    members: list[Member],
    now_ns: int,
    rnd: int,
    tried: int,
    latency_cell: int,
    *,
    priority: int = 1,
    shares: tuple[float, ...] | None = None,
) -> tuple[int, int, int]:
    """Return (index, admit, generation); (-1, 0, 0) if no member can take the attempt."""
    best = min((member.tier for member in members), default=0)
    barred = [
        member.barred(now_ns, tried=bool(tried >> place & 1), priority=priority, shares=shares, best=best)
        for place, member in enumerate(members)
    ]
    passing = [
        place
        for place, member in enumerate(members)
        if barred[place] == FULL and member.tier == best and member.passes(now_ns, priority, shares)
    ]
    chosen = _pick(members, barred, now_ns, rnd, latency_cell=latency_cell, tried=tried, passing=passing)
    member = members[chosen[0]] if chosen[0] >= 0 else None
    if member is None:
        return chosen
    spill = member.capacity.spill
    if member.tier > best:
        if member.adaptive:
            spill.used(now_ns)
        limit = member.spill_limit(now_ns)
        if priority == LOW and limit > 0:
            spill.low_used(now_ns, limit, member.classes[LOW])
    spill.highest.note(now_ns, member.inflight + 1)
    return chosen


def _pick(
    members: list[Member],
    barred: list[int],
    now_ns: int,
    rnd: int,
    *,
    latency_cell: int,
    tried: int,
    passing: list[int],
) -> tuple[int, int, int]:
    healthy = [i for i, bar in enumerate(barred) if bar == USABLE and members[i].circuit.state == "closed"]
    due = [i for i, bar in enumerate(barred) if bar == USABLE and members[i].circuit.state != "closed"]
    if due and (not tried or not healthy):
        return _take_first(members, due, now_ns, last_resort=False)
    if healthy:
        aside = {
            i
            for i in healthy
            if (mix((rnd + i) % 2**64) >> 11) / 2**53 >= members[i].share(now_ns) and members[i].share(now_ns) < 1.0
        }
        staying = [i for i in healthy if i not in aside]
        candidates = [
            i for i in healthy if i not in aside or not any(members[j].tier >= members[i].tier for j in staying)
        ]
        best = min(members[i].tier for i in candidates)
        group = [i for i in candidates if members[i].tier == best]
        chosen = _two_choices(members, group, now_ns, rnd, latency_cell)
        return (chosen, *members[chosen].circuit.take(now_ns))
    passing = [i for i in passing if members[i].circuit.state == "closed"]
    if passing:
        tier = [member.weight for member in members if member.tier == members[passing[0]].tier]
        chosen = min(passing, key=lambda i: members[i].inflight * (sum(tier) / len(tier) / members[i].weight))
        return (chosen, *members[chosen].circuit.take(now_ns))
    return _take_first(members, [i for i, bar in enumerate(barred) if bar in (OPEN, TRIAL)], now_ns, last_resort=True)


def _drawn(members: list[Member], group: list[int], bits: int) -> int:
    """Draw a member of a group by weight, with 32 random bits."""
    draw = bits / 2**32 * sum(members[i].weight for i in group)
    for i in group:
        draw -= members[i].weight
        if draw < 0:
            return i
    return group[-1]


def _two_choices(members: list[Member], group: list[int], now_ns: int, rnd: int, latency_cell: int) -> int:
    if len(group) == 1:
        return group[0]
    if len({(member.tier, member.weight) for member in members}) == len({member.tier for member in members}):
        first = group[(rnd >> 32) * len(group) >> 32]
    else:
        first = _drawn(members, group, rnd >> 32)
    others = [i for i in group if i != first]
    second = others[(rnd & 0xFFFFFFFF) * len(others) >> 32]
    return second if _gives_way(members, first, second, now_ns, latency_cell) else first


def _gives_way(members: list[Member], first: int, second: int, now_ns: int, latency_cell: int) -> bool:
    """Return whether the second member that was drawn is the better choice."""
    tier = [member.weight for member in members if member.tier == members[first].tier]
    one, other = (sum(tier) / len(tier) / members[i].weight for i in (first, second))  # the load of one request
    inflight, beside = members[first].inflight, members[second].inflight
    slow, quick = (members[i].slowness(now_ns, latency_cell) for i in (first, second))
    tries, fewer = (members[i].tries(now_ns) for i in (first, second))
    if slow >= 0 and quick >= 0 and (slow > ALIKE * quick or quick > ALIKE * slow):
        return slow * (tries * (inflight + 1.0) * one) > quick * fewer * (beside + 1.0) * other
    if max(tries, fewer) > ALIKE_TRIES * min(tries, fewer):
        return tries * (1.0 + inflight * one) > fewer * (1.0 + beside * other)
    if inflight <= 1 and one > other:
        return False
    return inflight * one >= (beside + 1.0) * other


def _take_first(members: list[Member], some: list[int], now_ns: int, *, last_resort: bool) -> tuple[int, int, int]:
    for i in sorted(some, key=lambda i: members[i].tier):
        admit, generation = members[i].circuit.take(now_ns, last_resort=last_resort)
        if admit:
            return i, admit, generation
    return -1, 0, 0
