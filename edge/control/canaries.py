"""Takes a canary out by itself when it does worse than the other targets of its tier, on this node.

Once a second the counters of each canary and of its peers are read, and what they did in the last half minute is
compared (edge/control/canary_rule). The abort is a manual override like an operator's, so that status, history and
`edge target restore` know it.
"""

from __future__ import annotations

from collections import deque
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, NamedTuple

from edge.control.canary_rule import WINDOWS, Seen, total, verdict
from edge.native import Outcome
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from edge.config.schema import Config
    from edge.config.schema_policy import Canary
    from edge.config.schema_targets import ModelTarget, ServiceTarget
    from edge.control.operations import Operations
    from edge.native import SharedState
    from edge.terms.snapshot import Target

_NOTHING: Final = Seen()
_FAILURES: Final = slice(Outcome.FAIL_CONNECT, Outcome.FAIL_INBAND + 1)


class Record(NamedTuple):
    """What was last read of a target, and what it has done in each of the last seconds."""

    last: Seen
    seconds: deque[Seen]


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


class Canaries:
    """The canaries of one node.

    Args:
        shared_state: the counters of the targets.
        operations: take a target out.
        targets: returns those of the Snapshot in force.
        aborted: called with each canary that was taken out, and why.
    """

    def __init__(
        self,
        shared_state: SharedState,
        operations: Operations,
        targets: Callable[[], Sequence[Target]],
        aborted: Callable[[str, str], None] = lambda _target, _reason: None,
    ) -> None:
        self._aborted = aborted
        self._targets = targets
        self._shared_state = shared_state
        self._operations = operations
        self._records: dict[str, Record] = {}

    def poll(self, now_ns: int) -> None:
        """Compare each canary with its peers, once a second, and take out those that do worse."""
        known = {target.id: target.slot for target in self._targets()}
        found = [rule for rule in rules(self._operations.ledger.config) if rule.target in known]
        named = {name for rule in found for name in (rule.target, *rule.peers) if name in known}
        self._records = {name: self._read(name, known[name], now_ns) for name in named}
        for rule in found:
            if rule.target in self._operations.ledger.by_hand:
                self._records[rule.target].seconds.clear()  # it begins anew when it is restored
                continue
            others = together([self._records[name].seconds for name in rule.peers if name in self._records])
            why = verdict(rule.canary, list(self._records[rule.target].seconds), others)
            if why is not None:
                logs.say(logs.WARNING, "a canary is taken out", target=rule.target, why=why)
                self._operations.steer(rule.target, "eject", f"canary: {why}")
                self._records[rule.target].seconds.clear()  # also where it is restored before the next second
                self._aborted(rule.target, f"canary: {why}")

    def _read(self, name: str, slot: int, now_ns: int) -> Record:
        view = self._shared_state.read_target(slot, now_ns)
        failures = sum(view["counts"][_FAILURES])
        now = Seen(view["counts"][Outcome.OK] + failures, failures, view["first_sum_us"], view["first_hist"])
        before = self._records.get(name)
        done = None if before is None else now.since(before.last)
        if before is None or done is None:  # new here, or its record was cleared
            return Record(now, deque(maxlen=max(WINDOWS)))
        before.seconds.append(done)
        return Record(now, before.seconds)


def together(targets: Sequence[Sequence[Seen]]) -> list[Seen]:
    """Return what several targets did in each second, the newest last; some may be known for longer than others."""
    newest_first = zip_longest(*(reversed(seconds) for seconds in targets), fillvalue=_NOTHING)
    return [total(each) for each in newest_first][::-1]
