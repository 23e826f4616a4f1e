"""Decides which exchanges are recorded: the reference model of native/proxy/record.pyx."""

from __future__ import annotations

from collections import defaultdict

from tests.reference.trace_context import parse

SECOND_NS = 1_000_000_000


class Seconds:
    """A limit per second; a second begins with its first event."""

    def __init__(self, most: int) -> None:
        self.most, self.started_ns, self.used = most, 0, 0

    def spend(self, now_ns: int) -> bool:
        """Take one event from the second's limit."""
        if now_ns - self.started_ns >= SECOND_NS:
            self.started_ns, self.used = now_ns, 0
        self.used += self.used < self.most + 1
        if self.used > self.most:
            self.used = self.most
            return False
        return True


class Recorder:
    """Sampling, forced samples within a budget, and exchanges that are kept without being sampled."""

    def __init__(self, sample: float, errors: int, asked: int, restart: bool, logs_all: bool = False) -> None:
        self.rest = "logged" if logs_all else "not_kept"
        self.every, self.bound, self.restart = sample >= 1, int(sample * 2**64), restart
        self.asked = Seconds(asked)
        self.spare: dict[str, Seconds] = defaultdict(lambda: Seconds(errors))

    def decide(
        self, caller: bytes | None, trusted: bool, now_ns: int, chance: tuple[int, int, int]
    ) -> tuple[str, str, str, str, int, bool]:
        """Return (trace id, own span, parent, link, flags, whether the caller's trace continues)."""
        said = parse(caller) if caller is not None else None
        wished = said is not None and bool(said[2] & 1)
        link = ""
        goes_on = said is not None
        if said is not None and self.restart and not trusted:
            link, goes_on = f"{said[0]}-{said[1]}", False
        if said is not None and goes_on:
            trace, parent, flags = said
        else:
            trace, parent, flags = f"{chance[0]:016x}{chance[1] or 1:016x}", "", 2
        sampled = self.every or int(trace[16:], 16) < self.bound
        if trusted and goes_on:
            sampled = wished
        elif not trusted and not self.every and (wished or (goes_on and sampled)):
            sampled = self.asked.spend(now_ns)
        return trace, f"{chance[2] or 1:016x}", parent, link, flags & 2 | sampled, goes_on

    def judge(self, sampled: bool, now_ns: int, failed: bool, slow: bool, retried: bool) -> str:
        """Return why an exchange is kept; "not_kept" = it is not."""
        if sampled:
            return "sampled"
        for kind, so in (("failed", failed), ("slow", slow), ("retried", retried)):
            if so:
                return kind if self.spare[kind].spend(now_ns) else self.rest
        return self.rest
