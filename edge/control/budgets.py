"""This node's part of budgets that several nodes share: connects published spending and the shared state.

Four times a second it reads the spending from the shared state and writes a ceiling per key, by which workers refuse
requests without asking anybody. This node's spending is published with the heartbeat. While the store is silent, the
ceilings stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.control.spend import Spent
from edge.regions import budgets
from edge.regions.budgets import Part, Told
from edge.regions.digest import SPENT, name_of
from edge.regions.keeper import PATIENCE_NS
from edge.regions.shares import SILENT_NS
from edge.telemetry.usage import month_of, spent_in
from edge.terms.ports import Write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edge.clock import Clock
    from edge.cluster.follow import Held
    from edge.native import SharedState
    from edge.regions.view import Heard
    from edge.terms.snapshot import Snapshot

_NANO: Final = 1_000_000_000
# As many names as a cluster sees in a month; with a limit, adding them up stays cheap whatever keys the prefix holds.
MOST_OTHERS: Final = 10_000
_AT: Final = "@"  # separator in KEY@REGION/NODE; names of keys cannot contain it


class Budgets:
    """The shared budgets of one node.

    Args:
        shared_state: counts spending and holds the ceilings for workers.
        me: name of this node, REGION/NODE.
        remembered: spending of other nodes from an earlier run, as :meth:`remembered` returns it.
        clock: source of time.
    """

    def __init__(self, shared_state: SharedState, me: str, remembered: Mapping[str, Spent], clock: Clock) -> None:
        self._shared_state = shared_state
        self._me = me
        self._clock = clock
        self._started_ns = clock.now_ns()
        self._first = remembered
        self._others: dict[str, Told] = {}
        self._remembered: dict[str, Spent] | None = None  # None: must be computed again
        self._gone_ns: dict[str, int] = {}  # when nodes with published spending were first missed
        self._mine: Told | None = None  # this node's document as found in the store at the start
        self._heard = False
        self._stored: Told | None = None  # the document that the store has acknowledged; None: none this month
        self._month = 0
        self._ceilings: dict[str, int] = {}
        self._early: set[str] = set()  # keys whose ceiling is the one for the time before the store was heard
        self._raised: set[str] = set()  # keys whose earlier spending by this node is in the shared state
        self._stands: set[str] = set()  # nodes that have a document in the store
        self._alive: set[str] = set()
        self._forgotten = 0  # Told.forgotten of this node
        self.unread = 0
        """Number of documents that could not be used."""
        self.urgent = False
        """Whether spending must be published before the next heartbeat."""

    def take(self, changed: Mapping[str, Held | None]) -> None:
        """Apply changed documents. A deleted document does not reduce the spending."""
        month = month_of(self._clock.wall())
        for key, held in changed.items():
            if not key.startswith(SPENT) or held is None:
                continue
            document = budgets.decode(held.value)
            if document is None or not self._take_one(key.removeprefix(SPENT), document, month):
                self.unread += 1

    def update(self, snapshot: Snapshot, heard: Sequence[Heard], held: Mapping[str, Held], *, seeing: bool) -> None:
        """Write the ceilings to the shared state.

        Args:
            snapshot: the Snapshot, which names the keys.
            heard: the other nodes.
            held: the local copy of the store.
            seeing: whether the copy is current; otherwise a node's silence means nothing.
        """
        month, now_ns = month_of(self._clock.wall()), self._clock.now_ns()
        if self._month != month:
            self._turn(month, held)
        if seeing:
            if not self._heard and self._mine is not None and self._mine.month == month:
                self._stored = self._mine
            self._heard = True
            self._alive = {name_of(node.digest.region, node.digest.node) for node in heard}
            self._stands = {key.removeprefix(SPENT) for key in held if key.startswith(SPENT)}
        silences = self._silences(heard, now_ns)
        others = [(document, silences[name]) for name, document in self._others.items()]
        self.urgent = False
        for name, slot, budget in _common(snapshot):
            self._resume(name, slot, month)
            part = self._stored.keys.get(name) if self._stored is not None else None
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
        """Return the document to publish with the next heartbeat; None: no news, or the store was never heard."""
        if not self._heard:
            return None
        month = month_of(self._clock.wall())
        before = self._stored.keys if self._stored is not None else {}
        silences = self._silences(heard, self._clock.now_ns())
        others = [(document, silences[name]) for name, document in self._others.items()]
        parts = {name: Part(part.spent, part.spent) for name, part in before.items()}  # keeps keys that were removed
        for name, slot, budget in _common(snapshot):
            spent = max(self._spent(slot, month), before[name].spent if name in before else 0)
            if spent:
                there = budgets.elsewhere(name, month, others)
                parts[name] = Part(spent, budgets.ceiling(budget, spent, there, 1 + len(heard)))
        document = Told(month, dict(sorted(parts.items())[: budgets.MOST_TOLD]), forgotten=self._forgotten)
        if not document.keys or (document == self._stored and self._me in self._stands):
            return None
        return document

    def writes(self, document: Told | None, held: Mapping[str, Held]) -> list[Write]:
        """Return the writes of a heartbeat: this node's document, one lost document of a dead node, one deletion."""
        found = [] if document is None else [Write(SPENT + self._me, budgets.encode(document))]
        if not self._heard:
            return found
        month = month_of(self._clock.wall())
        lost = budgets.of_gone(self._others, month, self._stands, {*self._alive, self._me})
        found += [Write(SPENT + name, budgets.encode(self._others[name])) for name in lost[:1]]
        documents = {key: budgets.decode(held[key].value) for key in sorted(held) if key.startswith(SPENT)}
        # A month of tolerance: no clock is that wrong.
        over = [key for key, old in documents.items() if old is not None and old.month < month - 1]
        found += [Write(key, None) for key in over[:1] if key != SPENT + self._me]
        return found

    def acknowledged(self, document: Told | None) -> None:
        """Record that the store has the document, whose ceilings hold from now on, unless the month has changed."""
        if document is not None and document.month == self._month:
            self._stored = document

    def farewell(self, snapshot: Snapshot) -> list[Write]:
        """Return the last write of a node that stops: its ceilings become its spending."""
        if not self._heard:
            return []
        month = month_of(self._clock.wall())
        parts = {} if self._stored is None else {name: part.spent for name, part in self._stored.keys.items()}
        for name, slot, _ in _common(snapshot):
            parts[name] = max(self._spent(slot, month), parts.get(name, 0))
        known = sorted((name, Part(spent, spent)) for name, spent in parts.items() if spent)
        document = Told(month, dict(known[: budgets.MOST_TOLD]), forgotten=self._forgotten)
        return [Write(SPENT + self._me, budgets.encode(document))] if document.keys else []

    def nodes(self) -> dict[str, dict[str, Part]]:
        """Return what each other node has published for this month: REGION/NODE, then key."""
        month = month_of(self._clock.wall())
        return {name: dict(told.keys) for name, told in self._others.items() if told.month == month and told.keys}

    def forget(self, name: str) -> tuple[str, Told]:
        """Return the key and the document to write, so that all nodes forget what a node has published this month."""
        month = month_of(self._clock.wall())
        known = self._mine if name == self._me else self._others.get(name)
        before = 0 if known is None else known.forgotten
        return SPENT + name, Told(month, forgotten=max(int(self._clock.wall() * 1000), before + 1))

    def forgot(self, name: str, document: Told) -> None:
        """Apply a document of :meth:`forget` that the store has; the watch may deliver it again."""
        if name == self._me:
            self._mine = self._stored = document
            self._forgotten = document.forgotten
            self._ceilings.clear()
        else:
            self._take_one(name, document, document.month)

    def remembered(self) -> dict[str, Spent]:
        """Return the spending of other nodes, by KEY@REGION/NODE, for a start without a store."""
        if self._remembered is None:
            self._remembered = {
                f"{key}{_AT}{name}": Spent(document.month, part.spent)
                for name, document in self._others.items()
                for key, part in document.keys.items()
            }
        return self._remembered

    def report(self, snapshot: Snapshot) -> dict[str, dict[str, float]]:
        """Return the state of each shared budget in US dollars: budget, spending here and elsewhere, ceiling."""
        month = month_of(self._clock.wall())
        others = [(document, 0) for document in self._others.values()]
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
        """Begin a month: the next one, or another one because the clock was set."""
        self._month, self._stored, self._ceilings = month, None, {}
        self._raised.clear()
        self._others = {name: document for name, document in self._others.items() if document.month == month}
        self._remembered = None
        for name, document in _others(self._first, month).items():
            self._take_one(name, document, month)
        for key in [key for key in held if key.startswith(SPENT)]:
            found = budgets.decode(held[key].value)
            if found is not None:
                self._take_one(key.removeprefix(SPENT), found, month)

    def _take_one(self, name: str, document: Told, month: int) -> bool:
        """Apply the document of one node; return False if there are too many nodes.

        A document for a future month is ignored until then. Either its node's clock is ahead or ours is behind, and it
        must not replace the node's spending of this month.
        """
        if document.month > month:
            return True
        if name == self._me:
            self._mine = document
            if document.forgotten > self._forgotten:  # while this node was silent: what it has spent is told again
                self._forgotten, self._stored = document.forgotten, None
            return True
        if name not in self._others and len(self._others) >= MOST_OTHERS:
            return False
        self._others[name] = budgets.later(self._others.get(name), document)
        self._remembered = None
        return True

    def _resume(self, name: str, slot: int, month: int) -> None:
        """Raise a key's spending to what an earlier run of this node published, in case this run does not know it."""
        if not self._heard or name in self._raised:
            return
        self._raised.add(name)
        if self._mine is not None and self._mine.month == month and name in self._mine.keys:
            self._shared_state.raise_spent(slot, month, self._mine.keys[name].spent)

    def _unheard(self, name: str, slot: int, budget: int, month: int, now_ns: int) -> None:
        """Set a ceiling from remembered spending before the store was heard; keep one that an earlier control wrote."""
        early = now_ns - self._started_ns < PATIENCE_NS
        if name in self._ceilings and (early or name not in self._early):
            return
        if name not in self._ceilings and self._shared_state.read_allowance(slot)["ceiling_month"] == month:
            return
        there = budgets.elsewhere(name, month, [(document, 0) for document in self._others.values()])
        nodes = budgets.EARLY if early else budgets.ASSUMED
        self._ceilings[name] = budgets.ceiling(budget, self._spent(slot, month), there, nodes)
        (self._early.add if early else self._early.discard)(name)

    def _spent(self, slot: int, month: int) -> int:
        return spent_in(self._shared_state.read_allowance(slot), month)

    def _silences(self, heard: Sequence[Heard], now_ns: int) -> dict[str, int]:
        ages = {  # a node found after an interruption, without a change since, counts as silent
            name_of(node.digest.region, node.digest.node): node.age_ns if node.proven else max(node.age_ns, SILENT_NS)
            for node in heard
        }
        for name in self._others:
            if name in ages:
                self._gone_ns.pop(name, None)
            else:
                ages[name] = SILENT_NS + now_ns - self._gone_ns.setdefault(name, now_ns)
        return ages


def _common(snapshot: Snapshot) -> Iterator[tuple[str, int, int]]:
    """Yield name, slot and budget (US dollars * 1e9) of the keys whose budget is shared."""
    for key in snapshot.keys:
        if key.budget_nano and key.allowance is not None and key.allowance.shared:
            yield key.name, key.allowance.slot, key.budget_nano


def _others(remembered: Mapping[str, Spent], month: int) -> dict[str, Told]:
    found: dict[str, Told] = {}
    for what, spent in remembered.items():
        key, _, name = what.partition(_AT)
        if spent.month == month:
            document = Told(spent.month, {key: Part(spent.nano, spent.nano)})
            found[name] = budgets.later(found.get(name), document)
    return found
