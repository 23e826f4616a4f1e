"""Takes a canary out by itself when it does worse than the other targets of its tier, on this node.

Once a second the counters of each canary and of its peers are read, and compared over the last half minute. The abort
is a manual override like an operator's, so that status, history and `edge target restore` know it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from edge.native import Outcome
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from edge.config.schema import Config
    from edge.config.schema_policy import Canary
    from edge.config.schema_targets import ModelTarget, ServiceTarget
    from edge.control.operations import Operations
    from edge.native import SharedState
    from edge.terms.snapshot import Target

WINDOW: Final = 30
"""Polls, one a second, over which a canary is compared."""
NOISE_US: Final = 10_000
"""A first content that is later by less tells of the machine, not of a version: both are quick."""
_FAILURES: Final = slice(Outcome.FAIL_CONNECT, Outcome.FAIL_INBAND + 1)


class Seen(NamedTuple):
    """What a target has done: since it exists, or within a window."""

    requests: int = 0  # that ended well, or as the target's failure
    failures: int = 0
    firsts: int = 0  # first contents
    first_us: int = 0  # the time to all of them

    def since(self, earlier: Seen) -> Seen:
        """Return what was done since then."""
        return Seen(*(now - then for now, then in zip(self, earlier, strict=True)))

    def plus(self, other: Seen) -> Seen:
        """Return what both have done."""
        return Seen(*(one + more for one, more in zip(self, other, strict=True)))


class Rule(NamedTuple):
    """A canary, the targets that it is compared with, and when it is taken out."""

    target: str
    peers: tuple[str, ...]
    canary: Canary


def rules(config: Config) -> Iterator[Rule]:
    """Yield the canaries of a configuration, by the ids of their targets."""
    routes: list[tuple[str, Sequence[ModelTarget | ServiceTarget]]] = [
        *(("", model.targets) for model in config.models.values()),
        *((f"{name}/", service.targets) for name, service in config.services.items()),
    ]
    for before, members in routes:
        for member in members:
            if member.canary is None:
                continue
            peers = (each for each in members if each is not member and each.tier == member.tier)
            yield Rule(before + member.target, tuple(before + each.target for each in peers), member.canary)


def verdict(canary: Canary, own: Seen, others: Seen) -> str | None:
    """Return why a canary is to be taken out, in words; None: it is not, or too little is known."""
    if own.requests < canary.min_requests or others.requests < canary.min_requests:
        return None
    failing, usual = own.failures / own.requests, others.failures / others.requests
    if failing > usual + canary.failure_ratio:
        return f"{failing:.0%} of {own.requests} requests failed, of the others' {usual:.0%}"
    if own.firsts >= canary.min_requests and others.firsts >= canary.min_requests:
        slow, quick = own.first_us / own.firsts, others.first_us / others.firsts
        if slow > canary.slower * quick and slow - quick >= NOISE_US:
            return f"its first content takes {slow / 1000:.0f} ms on average, the others' {quick / 1000:.0f} ms"
    return None


class Canaries:
    """The canaries of one node.

    Args:
        shared_state: the counters of the targets.
        operations: take a target out.
        targets: returns those of the Snapshot in force.
    """

    def __init__(
        self, shared_state: SharedState, operations: Operations, targets: Callable[[], Sequence[Target]]
    ) -> None:
        self._targets = targets
        self._shared_state = shared_state
        self._operations = operations
        self._seen: dict[str, deque[Seen]] = {}

    def poll(self, now_ns: int) -> None:
        """Compare each canary with its peers, once a second, and take out those that do worse."""
        known = {target.id: target.slot for target in self._targets()}
        found = [rule for rule in rules(self._operations.ledger.config) if rule.target in known]
        named = {name for rule in found for name in (rule.target, *rule.peers) if name in known}
        self._seen = {name: self._read(name, known[name], now_ns) for name in named}
        for rule in found:
            if rule.target in self._operations.ledger.by_hand:
                self._seen.pop(rule.target, None)  # it begins anew when it is restored
                continue
            others = self._done(name for name in rule.peers if name in self._seen)
            why = verdict(rule.canary, self._done([rule.target]), others)
            if why is not None:
                logs.say(logs.WARNING, "a canary is taken out", target=rule.target, why=why)
                self._operations.steer(rule.target, "eject", f"canary: {why}")

    def _read(self, name: str, slot: int, now_ns: int) -> deque[Seen]:
        view = self._shared_state.read_target(slot, now_ns)
        failures = sum(view["counts"][_FAILURES])
        firsts = sum(view["first_hist"])
        now = Seen(view["counts"][Outcome.OK] + failures, failures, firsts, view["first_sum_us"])
        kept = self._seen.get(name)
        if kept is None or min(now.since(kept[-1])) < 0:  # new here, or its record was cleared
            kept = deque(maxlen=WINDOW + 1)
        kept.append(now)
        return kept

    def _done(self, names: Iterable[str]) -> Seen:
        done = Seen()
        for name in names:
            kept = self._seen.get(name)
            if kept is not None:
                done = done.plus(kept[-1].since(kept[0]))
        return done
