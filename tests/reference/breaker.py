"""A target's circuit on plain numbers, without atomics: the reference model of native/balance/breaker.pyx."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from tests.reference.window import Window

MS = 1_000_000
GENERATIONS = 2**22
CONSECUTIVE, RATIO, SLOW, TRIAL, RETRY_AFTER, REMOTE = 1, 2, 3, 4, 5, 6


def ceil_ms(ns: int) -> int:
    """Round up: a target is never tried before its time."""
    return -(-ns // MS)


@dataclass
class Remote:
    """The report of other regions; it holds for 15 s."""

    share: float = 1.0
    shortened: int = 0
    said_ns: int = -100_000 * MS

    def _holds(self, now_ns: int) -> bool:
        return now_ns // MS - self.said_ns // MS <= 15_000

    def weight(self, now_ns: int) -> float:
        """Return the part of its traffic that the target may get."""
        return self.share if self._holds(now_ns) else 1.0

    def threshold(self, now_ns: int) -> int:
        """Return how many failures in a row open the circuit; 0 = as in the policy."""
        return self.shortened if self._holds(now_ns) else 0


@dataclass
class Circuit:
    """One target's circuit under one policy (the attributes of ``edge.terms.snapshot.Breaker``)."""

    policy: Any
    permit_ns: int
    retry_after_max_ns: int = 300_000_000_000
    state: Literal["closed", "open", "half_open"] = "closed"
    generation: int = 0
    until_ms: int = 0
    opened_ns: int = 0
    hint_ns: int = 0
    trial_ns: int = 0
    consecutive: int = 0
    opens: int = 0
    trip_reason: int = 0
    trips: int = 0
    trials: int = 0
    slow_calls: int = 0
    window: Window = field(default_factory=Window)
    keys: dict[int, dict[int, bool]] = field(default_factory=dict)  # epoch -> key -> has it failed
    latest_epoch: int = 0
    remote: Remote = field(default_factory=Remote)

    def take(self, now_ns: int, *, last_resort: bool = False) -> tuple[int, int]:
        """Return (0 no | 1 yes | 2 trial, generation); the generation of a refusal is 0."""
        if self.state == "closed":
            return 1, self.generation
        if now_ns // MS < self.until_ms:
            gap_ns = min(self.policy.open_duration_ns, 1000 * MS)
            if not last_resort or now_ns < max(self.opened_ns, self.trial_ns) + gap_ns:
                return 0, 0
            if self.state == "half_open":
                self.trial_ns = now_ns
                self.trials += 1
                return 2, self.generation
        self.state = "half_open"
        self.generation = (self.generation + 1) % GENERATIONS
        self.until_ms = ceil_ms(now_ns + self.permit_ns)
        self.trial_ns = now_ns
        self.trials += 1
        return 2, self.generation

    def report(
        self,
        now_ns: int,
        generation: int,
        *,
        failed: bool,
        trial: bool = False,
        key: int = -1,
        retry_after_ns: int = 0,
        rnd: int = 0,
    ) -> int:
        """Return the reason if this opened the circuit, -1 if it closed it, else 0."""
        straggler = generation != self.generation
        if not (straggler and self.state == "closed"):
            self.window.add(now_ns, failed)
        if straggler or self.state == "open" or (self.state == "half_open" and not trial):
            return 0
        if self.state == "half_open":
            if failed:
                return self._open(now_ns, RETRY_AFTER if retry_after_ns else TRIAL, retry_after_ns, rnd)
            self.state, self.until_ms, self.consecutive = "closed", max(1, now_ns // MS), 0
            self.window.clear()
            return -1
        self.consecutive = self.consecutive + 1 if failed else 0
        total, failures, _ = self.window.read(now_ns, self.policy.window_ns // 1_000_000_000)
        if key < 0 or self._keys_agree(now_ns, key % 64, failed):
            threshold = self.remote.threshold(now_ns) or self.policy.consecutive_failures
            if (
                self.policy.consecutive_failures
                and min(threshold, self.policy.consecutive_failures) <= self.consecutive
            ):
                reason = CONSECUTIVE if self.policy.consecutive_failures <= self.consecutive else REMOTE
                return self._open(now_ns, reason, retry_after_ns, rnd)
            enough = self.policy.failure_ratio > 0 and total >= max(1, self.policy.min_requests)
            if enough and failures >= self.policy.failure_ratio * total:
                return self._open(now_ns, RATIO, retry_after_ns, rnd)
        return self._open(now_ns, SLOW, retry_after_ns, rnd) if self._too_slow(now_ns) else 0

    def overdue(self, now_ns: int, generation: int, *, trial: bool = False, rnd: int = 0) -> int:
        """Return the reason if this opened the circuit, else 0."""
        straggler = generation != self.generation
        self.slow_calls += 1
        if not (straggler and self.state == "closed"):
            self.window.slow(now_ns)
        if straggler:
            return 0
        if self.state == "half_open" and trial:
            return self._open(now_ns, TRIAL, 0, rnd)
        if self.state == "closed" and self._too_slow(now_ns):
            return self._open(now_ns, SLOW, 0, rnd)
        return 0

    def give_back(self, now_ns: int, generation: int) -> None:
        """Give an unused permit back; the next request may try at once."""
        if self.state == "half_open" and generation == self.generation:
            self.state, self.until_ms = "open", now_ns // MS

    def hint(self, now_ns: int) -> bool:
        """Bring an open circuit's trial forward, not before a quarter of its wait."""
        due = ceil_ms(max(now_ns, self.hint_ns))
        if self.state != "open" or due >= self.until_ms:
            return False
        self.until_ms = due
        return True

    def slow_start(self, now_ns: int) -> float:
        """Return the share of its weight that a recovering target may take."""
        since = self.until_ms * MS
        if self.state != "closed":
            return 0.1
        if since == 0 or self.policy.slow_start_ns == 0 or now_ns >= since + self.policy.slow_start_ns:
            return 1.0
        return max(0.1, (now_ns - since) / self.policy.slow_start_ns)

    def _too_slow(self, now_ns: int) -> bool:
        total, _, slow = self.window.read(now_ns, self.policy.window_ns // 1_000_000_000)
        volume = max(total, slow)
        enough = min(self.policy.min_requests, self.remote.threshold(now_ns) or self.policy.min_requests)
        return self.policy.slow_ratio > 0 and volume >= max(1, enough) and slow >= self.policy.slow_ratio * volume

    def _keys_agree(self, now_ns: int, key: int, failed: bool) -> bool:
        self.latest_epoch = max(self.latest_epoch, now_ns // 10_000_000_000)
        epoch = self.keys.setdefault(self.latest_epoch, {})
        epoch[key] = epoch.get(key, False) or failed
        seen = [*epoch.items(), *self.keys.get(self.latest_epoch - 1, {}).items()]
        active = {key for key, _ in seen}
        failing = {key for key, bad in seen if bad}
        return len(active) < 2 or len(failing) >= 2

    def _open(self, now_ns: int, reason: int, retry_after_ns: int, rnd: int) -> int:
        if self.state == "closed":
            well_for = now_ns - self.until_ms * MS
            if self.until_ms == 0 or well_for > max(self.policy.slow_start_ns, self.policy.open_duration_max_ns // 2):
                self.opens = 0
        cap = self.policy.open_duration_max_ns // 5 * 4
        wait = self.policy.open_duration_ns
        for _ in range(self.opens):
            if wait < cap:
                wait *= 2
        wait = int(min(wait, cap) * (0.75 + 0.5 * ((rnd >> 11) / 2**53)))
        wait = max(wait, min(retry_after_ns, self.retry_after_max_ns))
        self.state = "open"
        self.generation = (self.generation + 1) % GENERATIONS
        self.until_ms = ceil_ms(now_ns + wait)
        self.opened_ns = now_ns
        self.hint_ns = now_ns + wait // 4
        self.opens += 1
        self.trip_reason = reason
        self.trips += 1
        return reason
