"""The cluster's keys as control holds them: checks what the store says, and tells workers and the disk of changes."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from msgspec import structs

from edge.admission.key_documents import KeyDocument, KeyDocumentError, decode, verified
from edge.control.key_cells import NOTHING, Entry, KeyBase, KeyChange, KeyChanges, KeyFacts, base_of
from edge.routing import allowances
from edge.telemetry import logs
from edge.terms.snapshot import PRIORITIES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from edge.control.key_cells import KeyCells
    from edge.native import SharedState
    from edge.terms.snapshot import Key

MOST_CHANGES: Final = 1000
"""Changes after which all keys are written anew."""

KEPT_BACK: Final = 1024
"""One record of so many is kept for the members of groups that share one."""

MOST_LOOKED_AT: Final = 64
"""Records of former members that are looked at for one without a request in flight."""


class KeyBook:
    """All keys of the cluster, by name; revoked ones stay as a mark.

    Args:
        cells: where workers read them; only this object writes them.
        shared_state: has the records of their allowances.
        reused: called with the name and the record of each key that is new here, before workers can use it.
    """

    def __init__(
        self, cells: KeyCells, shared_state: SharedState, reused: Callable[[str, int], None] = lambda _name, _slot: None
    ) -> None:
        self._cells = cells
        self._shared_state = shared_state
        self._reused = reused
        self._first, self._most = shared_state.reserved_allowances
        self._entries: dict[str, Entry] = {}
        self._ending: dict[str, float] = {}  # names whose previous key counts, and until when
        self._by_slot: dict[int, str] = {}
        self._names: frozenset[str] = frozenset()  # of the file's keys, which come first
        self._facts = KeyFacts()
        self._base: KeyBase = KeyBase(0, KeyFacts())
        self._changes: KeyChanges = KeyChanges(0, KeyFacts())
        self._next_slot = self._first
        self._freed: deque[int] = deque()  # of members; used again after all that were never used
        self._complained: dict[str, str] = {}
        self.unread = 0
        """Documents that count for nothing."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def complete(self) -> bool:
        """Whether the keys are known, from the store or from an earlier run."""
        return self._facts.complete

    @property
    def written(self) -> tuple[KeyBase, KeyChanges]:
        """What workers read."""
        return self._base, self._changes

    def recall(self) -> None:
        """Continue with what an earlier control process, or the supervisor, left in the cells."""
        base, changes = self._cells.base.recall(), self._cells.changes.recall()
        if base is None:
            return
        entries = {entry.name: entry for chunk in base.entries() for entry in chunk}
        self._base, self._facts = base, base.facts
        if changes is not None and changes.number == base.number:
            self._changes, self._facts = changes, changes.facts
            entries.update((change.entry.name, change.entry) for change in changes.changes)
        else:  # the process was killed between the two: workers have to read the base, which has what they missed
            self._changes = KeyChanges(base.number, base.facts)
            self._cells.changes.keep(self._changes)
        for entry in entries.values():
            if entry.digests or "/" not in entry.name:  # else a member of a group, which has given up its record
                self._hold(entry)
        self._next_slot = max(self._next_slot, self._facts.next_slot)
        self._freed.extend(slot for slot in range(self._first, self._next_slot) if slot not in self._by_slot)
        silent = (entry for entry in self._entries.values() if not entry.digests and not self._is_revoked(entry))
        self._names = frozenset(entry.name for entry in silent)  # the file had keys of these names, and may have others

    def restore(self, entries: dict[str, Entry], now: float) -> None:
        """Begin with the keys of an earlier run of the node; their records are assigned anew."""
        for entry in entries.values():
            document = self._read(entry)
            is_member = "/" in entry.name
            if document is not None and (entry.digests or not is_member):
                digests = entry.digests if is_member else document.digests(now)
                self._hold(Entry(entry.name, self._slot(entry.name), digests, entry.body), document)
                self._note(document)
        self.finish()

    def document(self, name: str) -> KeyDocument | None:
        """Return what is known of a key; None: nothing."""
        entry = self._entries.get(name)
        return None if entry is None else self._read(entry)

    def documents(self) -> Iterator[KeyDocument]:
        """Yield every document, of revoked keys too."""
        for entry in tuple(self._entries.values()):
            document = self._read(entry)
            if document is not None:
                yield document

    def members(self) -> list[str]:
        """Return the names of the members of groups, as GROUP/NAME; no key of the cluster has a slash in its name."""
        return [name for name in self._entries if "/" in name]

    def holder(self, digest: bytes) -> str | None:
        """Return the name of the key that this SHA-256 leads to; None: none of the cluster's."""
        return next((entry.name for entry in self._entries.values() if digest in entry.digests), None)

    def slot(self, name: str) -> int:
        """Return the record of a key or member that is known."""
        return self._entries[name].slot

    def admit(self, name: str, digest: bytes, document: KeyDocument, body: bytes) -> KeyChange:
        """Add a member of a group, or change what it may use; return the change.

        Raises:
            KeyDocumentError: there is no record for it.
        """
        before = self._entries.get(name)
        entry = Entry(name, self._slot(name) if before is None else before.slot, (digest,), body)
        self._hold(entry, document)
        self._note(document)
        return KeyChange(entry, ())

    def dismiss(self, name: str) -> KeyChange:
        """Take its record from a member of a group; return the change."""
        entry = self._entries.pop(name)
        self._by_slot.pop(entry.slot, None)
        self._freed.append(entry.slot)
        return KeyChange(structs.replace(entry, digests=()), entry.digests)

    def take(self, name: str, value: bytes | None, secret: bytes, now: float) -> KeyChange | None:
        """Take what the store says of a name; None: it changes nothing here.

        A deletion changes nothing: only a document that says so revokes a key.
        """
        known = self.document(name)
        if value is None:
            if known is not None and not known.revoked:
                self._complain(
                    name, "its document is gone from the store, which revokes nothing; edge keys revoke does"
                )
            return None
        try:
            body = verified(name, value, secret)
            document = decode(name, body)
            if known is not None and document.generation <= known.generation:
                if self._entries[name].body != body:
                    raise KeyDocumentError(f"it is older than generation {known.generation}, which is known here")  # noqa: TRY301  # as the other reasons
                return None
            return self._change(document, body, now)
        except KeyDocumentError as error:
            self._complain(name, str(error))
            return None

    def expire(self, now: float) -> list[KeyChange]:
        """Return the changes of keys whose previous key has counted long enough."""
        over = [name for name, until in self._ending.items() if now >= until]
        return [change for name in over if (change := self._again(name, now)) is not None]

    def yield_to(self, names: Collection[str], now: float) -> list[KeyChange]:
        """Return the changes that follow from the names of the file's keys: those of the cluster do not count then."""
        before, self._names = self._names, frozenset(names)
        for name in sorted(self._names - before):
            if name in self._entries:
                sentence = "a key of the file has the name of one of the cluster's, which does not count here"
                logs.say(logs.WARNING, sentence, key=name)
        moved = [name for name in before ^ self._names if name in self._entries]
        return [change for name in moved if (change := self._again(name, now)) is not None]

    def publish(self, changes: Collection[KeyChange]) -> bool:
        """Write changes for the workers; return whether all keys were written anew."""
        held = self._changes.changes
        if len(changes) > MOST_CHANGES:
            self._rebase(NOTHING)
            return True
        if len(held) + len(changes) > MOST_CHANGES:
            # a worker that has all changes so far goes on with these, and need not read the base
            self._rebase((self._changes.number, len(held)), tuple(changes))
            return True
        self._changes = structs.replace(self._changes, facts=self._told_facts(), changes=(*held, *changes))
        self._cells.changes.keep(self._changes)
        return False

    def finish(self) -> None:
        """Write all keys for the workers, which are complete from now on."""
        self._facts = structs.replace(self._facts, complete=True, in_use=bool(self._entries))
        self._rebase(NOTHING)

    def used(self) -> list[Key]:
        """Return the keys that workers have used since the node was started, as a Snapshot has them."""
        found = []
        for slot in self._shared_state.touched_allowances(self._first):
            name = self._by_slot.get(slot)
            document = None if name is None else self.document(name)
            if document is not None:
                found.append(allowances.key(document.key, slot))
        return found

    def _rebase(self, follows: tuple[int, int], changes: tuple[KeyChange, ...] = ()) -> None:
        """Write all keys; ``changes`` are those that the base has, and the one before with its changes has not."""
        number, facts = self._base.number + 1, self._told_facts()
        self._base = base_of(number, facts, self._entries.values())
        self._changes = KeyChanges(number, facts, follows, changes)
        self._cells.base.keep(self._base)
        self._cells.changes.keep(self._changes)

    def _told_facts(self) -> KeyFacts:
        self._facts = structs.replace(self._facts, next_slot=self._next_slot)
        return self._facts

    def _change(self, document: KeyDocument, body: bytes, now: float) -> KeyChange:
        name = document.key.name
        self._complained.pop(name, None)
        before = self._entries.get(name)
        slot = self._slot(name) if before is None or before.slot < 0 else before.slot
        return self._replaced(name, slot, body, document, now)

    def _again(self, name: str, now: float) -> KeyChange | None:
        entry = self._entries[name]
        document = self._read(entry)
        return None if document is None else self._replaced(name, entry.slot, entry.body, document, now)

    def _replaced(self, name: str, slot: int, body: bytes, document: KeyDocument, now: float) -> KeyChange:
        before = self._entries.get(name)
        digests = () if name in self._names else document.digests(now)
        entry = Entry(name, slot, digests, body)
        self._hold(entry, document)
        self._note(document)
        gone = () if before is None else tuple(each for each in before.digests if each not in digests)
        return KeyChange(entry, gone)

    def _hold(self, entry: Entry, document: KeyDocument | None = None) -> None:
        self._entries[entry.name] = entry
        self._by_slot[entry.slot] = entry.name
        if entry.slot >= self._next_slot:
            self._next_slot = entry.slot + 1
        if len(entry.digests) > 1 and (document := self._read(entry) if document is None else document) is not None:
            self._ending[entry.name] = document.previous_until
        else:
            self._ending.pop(entry.name, None)

    def _note(self, document: KeyDocument) -> None:
        """Keep what the data path has to know about all keys together; it is not taken back while the node runs."""
        key, facts = document.key, self._facts
        metered, priority = key.budget is not None or key.tokens_per_minute > 0, PRIORITIES.index(key.priority)
        if not facts.in_use or metered > facts.metered or priority not in facts.priorities:
            priorities = tuple(sorted({*facts.priorities, priority}))
            metered = metered or facts.metered
            self._facts = structs.replace(facts, in_use=True, metered=metered, priorities=priorities)

    def _slot(self, name: str) -> int:
        """Return a record for a new name: one that was never used, else that of a former member or of a revoked key.

        Raises:
            KeyDocumentError: there is none.
        """
        kept_back = 0 if name.endswith("/*") else self._most // KEPT_BACK
        slot = self._next_slot
        if slot >= self._first + self._most - kept_back:
            slot = self._former()
            self._shared_state.clear_allowance(slot)
        self._next_slot = max(self._next_slot, slot + 1)
        self._reused(name, slot)
        return slot

    def _former(self) -> int:
        """Return a record that nobody has any more; what its last requests cost must not be charged to another."""
        for _ in range(min(len(self._freed), MOST_LOOKED_AT)):
            slot = self._freed.popleft()
            if not self._is_busy(slot):
                return slot
            self._freed.append(slot)
        revoked = (entry for entry in self._entries.values() if self._is_revoked(entry))
        gone = next((entry for entry in revoked if not self._is_busy(entry.slot)), None)
        if gone is None:
            raise KeyDocumentError(f"a node has records for {self._most} keys of the cluster, and they are used up")
        self._entries[gone.name] = structs.replace(gone, slot=-1)  # the mark that it is revoked stays
        return gone.slot

    def _is_busy(self, slot: int) -> bool:
        return bool(self._shared_state.read_allowance(slot)["inflight"])

    def _is_revoked(self, entry: Entry) -> bool:
        document = None if entry.digests or entry.slot < 0 else self._read(entry)
        return document is not None and document.revoked

    def _read(self, entry: Entry) -> KeyDocument | None:
        try:
            return decode(entry.name, entry.body)
        except KeyDocumentError as error:
            self._complain(entry.name, str(error))
            return None

    def _complain(self, name: str, reason: str) -> None:
        if self._complained.get(name) != reason:
            if len(self._complained) > MOST_CHANGES:  # whoever may write the store can make up any number of names
                self._complained.clear()
            self._complained[name] = reason
            self.unread += 1
            logs.say(logs.WARNING, "a key's document in the store counts for nothing", key=name[:63], reason=reason)
