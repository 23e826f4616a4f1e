"""A worker's view of the cluster's keys: reads them from memory that control shares, and each change of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from edge import clock
from edge.admission.key_documents import KeyDocument
from edge.control.key_cells import KeyBase, KeyFacts, slot_and_body
from edge.control.members import OTHERS, digest_of
from edge.native import KeyTable
from edge.routing import allowances
from edge.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.control.key_cells import Entry, KeyCells, KeyChanges
    from edge.native import SharedState
    from edge.terms.snapshot import Key

AGAIN_S: Final = 1.0
MOST_ASKED: Final = 10_000
KEY_DIGEST: Final = 32


class KeyMaker:
    """Makes callers of what control has written, and asks for records of members that have none.

    Args:
        want: asks control for a record of an identity of a group.
    """

    def __init__(self, want: Callable[[str, str], None]) -> None:
        self._want = want
        self._asked: dict[tuple[str, str], float] = {}

    def __call__(self, entry: bytes) -> Key:
        """Return the key of what :meth:`edge.control.key_cells.Entry.packed` returned, as a Snapshot has it."""
        slot, body = slot_and_body(entry)
        return allowances.key(msgspec.json.decode(body, type=KeyDocument).key, slot)

    def want(self, group: str, name: str) -> None:
        """Ask for a record, but not twice within a second: the answer takes milliseconds."""
        now_s = clock.now_ns() / 1e9
        if now_s - self._asked.get((group, name), 0.0) >= AGAIN_S:
            if len(self._asked) >= MOST_ASKED:
                self._asked.clear()
            self._asked[group, name] = now_s
            self._want(group, name)


class KeyFollower:
    """Keeps a :class:`~edge.native.KeyTable` as control says.

    Args:
        cells: where control writes.
        shared_state: the node's shared state.
        workers: number of columns in use on this node.
        changed: called when a Router has to be made anew: what keys have in common has changed, or a member's record.
        want: asks control for a record of an identity of a group.
    """

    def __init__(
        self,
        cells: KeyCells,
        shared_state: SharedState,
        workers: int,
        changed: Callable[[], None],
        want: Callable[[str, str], None] = lambda _group, _name: None,
    ) -> None:
        self._cells = cells
        self._changed = changed
        self._number, self._applied = -1, 0
        self._facts = KeyFacts()
        self._loading: asyncio.Task[None] | None = None
        self.table = KeyTable(shared_state, KeyMaker(want), workers)

    def load(self) -> None:
        """Read all keys at once, before this worker serves."""
        base = self._cells.base.recall()
        if base is None:
            return
        entries: dict[bytes, bytes] = {}
        for chunk in base.entries():
            _add(entries, chunk)
        self._adopt(base, entries)

    def refresh(self) -> None:
        """Read what has changed; many changes are read between turns of the event loop."""
        changes = self._cells.changes.recall()
        if changes is None or self._loading is not None:
            return
        if changes.follows == (self._number, self._applied):
            self._number, self._applied = changes.number, 0
        if changes.number == self._number:
            self._apply(changes)
        elif changes.number > self._number:  # else control was killed before it wrote these; its successor does
            self._loading = asyncio.get_running_loop().create_task(self._load())
            self._loading.add_done_callback(self._loaded)

    def stop(self) -> None:
        """Stop reading."""
        if self._loading is not None:
            self._loading.cancel()

    async def _load(self) -> None:
        base = await asyncio.to_thread(self._cells.base.recall)
        if base is None:
            return
        entries: dict[bytes, bytes] = {}
        for chunk in base.entries():
            _add(entries, chunk)
            await asyncio.sleep(0)
        self._adopt(base, entries)

    def _loaded(self, task: asyncio.Task[None]) -> None:
        self._loading = None
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, Exception):
            logs.say_failure("the cluster's keys cannot be read; those before stay in use", error)
            return
        self.refresh()  # of what came meanwhile

    def _adopt(self, base: KeyBase, entries: dict[bytes, bytes]) -> None:
        self.table.adopt(entries)
        self._number, self._applied = base.number, 0
        changes = self._cells.changes.recall()
        if changes is not None and changes.number == base.number:
            self._apply(changes)
        else:
            self._note(base.facts)

    def _apply(self, changes: KeyChanges) -> None:
        moved = False  # tokens remember the callers that they lead to
        for change in changes.changes[self._applied :]:
            moved = moved or any(len(digest) > KEY_DIGEST for digest in change.gone)
            for digest in change.gone:
                self.table.remove(digest)
            packed = change.entry.packed() if change.entry.digests else b""
            for digest in change.entry.digests:
                moved = moved or (len(digest) > KEY_DIGEST and self._is_known(digest, change.entry.name))
                self.table.put(digest, packed)
        self._applied = len(changes.changes)
        self._note(changes.facts)
        if moved:
            self._changed()

    def _is_known(self, digest: bytes, name: str) -> bool:
        """Return whether tokens may lead to a member of a group: it has a record already, or shares one with others."""
        group = name.partition("/")[0]
        return any(self.table.lookup(each) is not None for each in (digest, digest_of(group, OTHERS)))

    def _note(self, facts: KeyFacts) -> None:
        before, self._facts = self._facts, facts
        self.table.complete = facts.complete
        self.table.in_use, self.table.metered = facts.in_use, facts.metered
        self.table.priorities = frozenset(facts.priorities)
        if (before.in_use, before.metered, before.priorities) != (facts.in_use, facts.metered, facts.priorities):
            self._changed()


def _add(entries: dict[bytes, bytes], chunk: list[Entry]) -> None:
    for entry in chunk:
        for digest in entry.digests:
            entries[digest] = entry.packed()
