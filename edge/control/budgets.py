"""What may this node spend of budgets that other nodes spend of too?  Joins what was told and the shared state.

Four times a second, beside all else: what was spent is read from the shared state, and a ceiling is written there for
each key, by which workers refuse without asking anybody. What is told goes out with the heartbeat. While the store is
silent the ceilings stay where they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.admission.report import month_of
from edge.control.spend import Spent
from edge.regions import budgets
from edge.regions.budgets import Part, Told
from edge.regions.digest import SPENT, name_of
from edge.regions.keeper import PATIENCE_NS
from edge.regions.shares import SILENT_NS
from edge.terms.ports import Write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge.clock import Clock
    from edge.cluster.follow import Held
    from edge.native import SharedState
    from edge.regions.view import Heard
    from edge.terms.snapshot import Snapshot

_NANO: Final = 1_000_000_000
# As many names as a cluster sees in a month; whatever fills the prefix with keys, adding them up stays cheap.
MOST_OTHERS: Final = 10_000
_AT: Final = "@"  # KEY@REGION/NODE; no key's name has one


class Budgets:
    """The common budgets of one node.

    Args:
        shared_state: where spending is counted, and by whose ceilings workers refuse.
        me: our own name, REGION/NODE.
        remembered: what others had spent when this node was last heard of, as :meth:`remembered` returns it.
        clock: time.
    """

    def __init__(self, shared_state: SharedState, me: str, remembered: Mapping[str, Spent], clock: Clock) -> None:
        self._shared_state = shared_state
        self._me = me
        self._clock = clock
        self._started_ns = clock.now_ns()
        self._first = remembered
        self._others: dict[str, Told] = {}
        self._remembered: dict[str, Spent] | None = None  # None: it is to be made anew
        self._gone_ns: dict[str, int] = {}  # since when nodes are no more that told something
        self._mine: Told | None = None  # what the store had of us when it was first heard
        self._heard = False
        self._told: Told | None = None  # what the store has acknowledged; None: nothing of this month
        self._month = 0
        self._ceilings: dict[str, int] = {}
        self._early: set[str] = set()  # keys whose ceiling is what one has before anything was heard
        self._raised: set[str] = set()  # keys whose spending by an earlier life of this node is on the SharedState
        self._stands: set[str] = set()
        self._alive: set[str] = set()
        self.unread = 0
        """Documents that nobody here understands."""
        self.urgent = False
        """Whether there is something to tell that should not wait for the next heartbeat."""

    def take(self, changed: Mapping[str, Held | None]) -> None:
        """Take in what was told. What was spent stays spent, whoever removes the document."""
        month = month_of(self._clock.wall())
        for key, held in changed.items():
            if not key.startswith(SPENT) or held is None:
                continue
            told = budgets.decode(held.value)
            if told is None or not self._take_one(key.removeprefix(SPENT), told, month):
                self.unread += 1

    def look(self, snapshot: Snapshot, heard: Sequence[Heard], held: Mapping[str, Held], *, seeing: bool) -> None:
        """Write the ceilings.

        Args:
            snapshot: names the keys.
            heard: the other nodes that there are.
            held: the copy of the store.
            seeing: the copy is alive; else nothing is to be learned from anybody's silence.
        """
        month, now_ns = month_of(self._clock.wall()), self._clock.now_ns()
        if self._month != month:
            self._turn(month, held)
        if seeing:
            if not self._heard and self._mine is not None and self._mine.month == month:
                self._told = self._mine
            self._heard = True
            self._alive = {name_of(each.digest.region, each.digest.node) for each in heard}
            self._stands = {key.removeprefix(SPENT) for key in held if key.startswith(SPENT)}
        silences = self._silences(heard, now_ns)
        others = [(told, silences[name]) for name, told in self._others.items()]
        self.urgent = False
        for name, slot, budget in _common(snapshot):
            self._go_on(name, slot, month)
            part = self._told.keys.get(name) if self._told is not None else None
            if self._heard and (seeing or name not in self._ceilings):
                there = budgets.elsewhere(name, month, others)
                reach = budgets.ceiling(budget, part.spent if part is not None else 0, there, 1 + len(heard))
                self._ceilings[name] = reach if part is None else min(reach, part.ceiling)
            elif not self._heard:
                self._unheard(name, slot, budget, month, now_ns)
            if name in self._ceilings:
                self._shared_state.set_ceiling(slot, month, self._ceilings[name])
            self.urgent |= self._heard and budgets.urgent(part, self._spent(slot, month))

    def document(self, snapshot: Snapshot, heard: Sequence[Heard]) -> Told | None:
        """Return what to tell with the next heartbeat; None: nothing has changed, or nothing was ever heard."""
        if not self._heard:
            return None
        month = month_of(self._clock.wall())
        before = self._told.keys if self._told is not None else {}
        silences = self._silences(heard, self._clock.now_ns())
        others = [(told, silences[name]) for name, told in self._others.items()]
        parts = {name: Part(part.spent, part.spent) for name, part in before.items()}  # of keys that are no more
        for name, slot, budget in _common(snapshot):
            spent = max(self._spent(slot, month), before[name].spent if name in before else 0)
            if spent:
                there = budgets.elsewhere(name, month, others)
                parts[name] = Part(spent, budgets.ceiling(budget, spent, there, 1 + len(heard)))
        told = Told(month, dict(sorted(parts.items())[: budgets.MOST_TOLD]))
        if not told.keys or (told == self._told and self._me in self._stands):
            return None
        return told

    def writes(self, told: Told | None, held: Mapping[str, Held]) -> list[Write]:
        """Return what goes out with a heartbeat: our own word, and one that the store has lost or that is too old."""
        found = [] if told is None else [Write(SPENT + self._me, budgets.encode(told))]
        if not self._heard:
            return found
        month = month_of(self._clock.wall())
        lost = budgets.of_gone(self._others, month, self._stands, {*self._alive, self._me})
        found += [Write(SPENT + name, budgets.encode(self._others[name])) for name in lost[:1]]
        told_before = {key: budgets.decode(held[key].value) for key in sorted(held) if key.startswith(SPENT)}
        # no clock is a month late
        over = [key for key, old in told_before.items() if old is not None and old.month < month - 1]
        found += [Write(key, None) for key in over[:1] if key != SPENT + self._me]
        return found

    def acknowledged(self, told: Told | None) -> None:
        """Take note that the store has it: what it says holds from now on, unless the month has turned meanwhile."""
        if told is not None and told.month == self._month:
            self._told = told

    def farewell(self, snapshot: Snapshot) -> list[Write]:
        """Return the last word of a node that ends: it spends no more."""
        if not self._heard:
            return []
        month = month_of(self._clock.wall())
        parts = {} if self._told is None else {name: part.spent for name, part in self._told.keys.items()}
        for name, slot, _ in _common(snapshot):
            parts[name] = max(self._spent(slot, month), parts.get(name, 0))
        known = sorted((name, Part(spent, spent)) for name, spent in parts.items() if spent)
        told = Told(month, dict(known[: budgets.MOST_TOLD]))
        return [Write(SPENT + self._me, budgets.encode(told))] if told.keys else []

    def remembered(self) -> dict[str, Spent]:
        """Return what others have spent, by KEY@REGION/NODE, for a start at which they cannot be heard."""
        if self._remembered is None:
            self._remembered = {
                f"{key}{_AT}{name}": Spent(told.month, part.spent)
                for name, told in self._others.items()
                for key, part in told.keys.items()
            }
        return self._remembered

    def report(self, snapshot: Snapshot) -> dict[str, dict[str, float]]:
        """Return in US dollars what others have spent of each common budget, and what may be spent here."""
        month = month_of(self._clock.wall())
        others = [(told, 0) for told in self._others.values()]
        return {
            f"key/{name}": {
                "budget": budget / _NANO,
                "spent_here": self._spent(slot, month) / _NANO,
                "spent_elsewhere": budgets.elsewhere(name, month, others) / _NANO,
                "may_spend_here": min(self._ceilings.get(name, budget), budget) / _NANO,
            }
            for name, slot, budget in _common(snapshot)
        }

    def _turn(self, month: int, held: Mapping[str, Held]) -> None:
        """Begin a month: the next one, or the one that it is by a clock that was set."""
        self._month, self._told, self._ceilings = month, None, {}
        self._raised.clear()
        self._others = {name: told for name, told in self._others.items() if told.month == month}
        self._remembered = None
        for name, told in _others(self._first, month).items():
            self._take_one(name, told, month)
        for key in [key for key in held if key.startswith(SPENT)]:
            found = budgets.decode(held[key].value)
            if found is not None:
                self._take_one(key.removeprefix(SPENT), found, month)

    def _take_one(self, name: str, told: Told, month: int) -> bool:
        """Let it count what one node told; False: there is no room.

        What is told of a month that has not come is left where it is until then: that node's clock is ahead, or ours is
        behind, and what it spent before must not be forgotten for it.
        """
        if told.month > month:
            return True
        if name == self._me:
            self._mine = told
            return True
        if name not in self._others and len(self._others) >= MOST_OTHERS:
            return False
        self._others[name] = budgets.later(self._others.get(name), told)
        self._remembered = None
        return True

    def _go_on(self, name: str, slot: int, month: int) -> None:
        """Let a key go on where an earlier life of this node stopped, of which this one may know nothing."""
        if not self._heard or name in self._raised:
            return
        self._raised.add(name)
        if self._mine is not None and self._mine.month == month and name in self._mine.keys:
            self._shared_state.raise_spent(slot, month, self._mine.keys[name].spent)

    def _unheard(self, name: str, slot: int, budget: int, month: int, now_ns: int) -> None:
        """Reckon by what was remembered, while nobody is heard; what the control before this one wrote holds."""
        early = now_ns - self._started_ns < PATIENCE_NS
        if name in self._ceilings and (early or name not in self._early):
            return
        if name not in self._ceilings and self._shared_state.read_allowance(slot)["ceiling_month"] == month:
            return
        there = budgets.elsewhere(name, month, [(told, 0) for told in self._others.values()])
        nodes = budgets.EARLY if early else budgets.ASSUMED
        self._ceilings[name] = budgets.ceiling(budget, self._spent(slot, month), there, nodes)
        (self._early.add if early else self._early.discard)(name)

    def _spent(self, slot: int, month: int) -> int:
        record = self._shared_state.read_allowance(slot)
        return record["spent_nano"] if record["spent_month"] >= month else 0

    def _silences(self, heard: Sequence[Heard], now_ns: int) -> dict[str, int]:
        ages = {  # one that was found after a break, and not heard since, may be silent
            name_of(each.digest.region, each.digest.node): each.age_ns if each.proven else max(each.age_ns, SILENT_NS)
            for each in heard
        }
        for name in self._others:
            if name in ages:
                self._gone_ns.pop(name, None)
            else:
                ages[name] = SILENT_NS + now_ns - self._gone_ns.setdefault(name, now_ns)
        return ages


def _common(snapshot: Snapshot) -> Iterator[tuple[str, int, int]]:
    """Yield the keys whose budget others spend too: name, slot, US dollars * 1e9."""
    for key in snapshot.keys:
        if key.budget_nano and key.allowance is not None and key.allowance.shared:
            yield key.name, key.allowance.slot, key.budget_nano


def _others(remembered: Mapping[str, Spent], month: int) -> dict[str, Told]:
    found: dict[str, Told] = {}
    for what, spent in remembered.items():
        key, _, name = what.partition(_AT)
        if spent.month == month:
            told = Told(spent.month, {key: Part(spent.nano, spent.nano)})
            found[name] = budgets.later(found.get(name), told)
    return found
