"""The cluster's keys in memory that processes share, and on disk: all of them now and then, and the changes since.

A change of one key must not cost what all of them cost, in control, in a worker, or on the disk. So there are two
values, in two memory cells and in two files: a base, which is written anew after many changes, and the changes since.
Workers read both when they start, and the changes when control tells them that there are some.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from edge.control.kept_file import KeptFile, StateUnusableError, name_for
from edge.control.memfd_cell import MemfdCell, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PER_CHUNK: Final = 2000
"""Entries that a worker reads between two turns of its event loop."""

NOTHING: Final = (-1, -1)
"""What a base follows that has to be read."""

_MAGIC: Final = b"edge-keys 1\n"
_SLOT: Final = 4


class Entry(Struct, frozen=True, array_like=True, gc=False):
    """A key: its name, its record in the shared state, the SHA-256 of each key that counts, and its document."""

    name: str
    slot: int
    digests: tuple[bytes, ...]
    body: bytes  # JSON of an edge.admission.key_documents.KeyDocument

    def packed(self) -> bytes:
        """Return what a worker keeps of it."""
        return self.slot.to_bytes(_SLOT, "big") + self.body


def slot_and_body(entry: bytes) -> tuple[int, bytes]:
    """Return the record and the document in what :meth:`Entry.packed` returned."""
    return int.from_bytes(entry[:_SLOT], "big"), entry[_SLOT:]


class KeyChange(Struct, frozen=True, array_like=True):
    """A changed entry, and the digests that do not lead to it any more."""

    entry: Entry
    gone: tuple[bytes, ...]


class KeyFacts(Struct, frozen=True):
    """What the data path has to know about all keys together: see native.state.callers.KeyTable."""

    complete: bool = False
    in_use: bool = False
    metered: bool = False
    priorities: tuple[int, ...] = ()
    next_slot: int = 0  # the first record that was never given out, for the next control process


class KeyBase(Struct, frozen=True):
    """All keys at one time; a chunk is a msgpack list of :class:`Entry`."""

    number: int
    facts: KeyFacts
    chunks: tuple[bytes, ...] = ()

    def entries(self) -> Iterator[list[Entry]]:
        """Yield the entries of each chunk."""
        for chunk in self.chunks:
            yield msgspec.msgpack.decode(chunk, type=list[Entry])


class KeyChanges(Struct, frozen=True):
    """The changes since the base of this number, which is the base before and so many of its changes."""

    number: int
    facts: KeyFacts
    follows: tuple[int, int] = NOTHING
    changes: tuple[KeyChange, ...] = ()


def base_of(number: int, facts: KeyFacts, entries: Iterable[Entry]) -> KeyBase:
    """Return a base of these entries."""
    listed = list(entries)
    chunks = (listed[place : place + PER_CHUNK] for place in range(0, len(listed), PER_CHUNK))
    return KeyBase(number, facts, tuple(msgspec.msgpack.encode(chunk) for chunk in chunks))


class KeyCells:
    """The two memory cells; their descriptors are ``fds``."""

    def __init__(self, fds: tuple[int, int]) -> None:
        self.fds = fds
        self.base = MemfdCell(fds[0], KeyBase)
        self.changes = MemfdCell(fds[1], KeyChanges)

    @classmethod
    def create(cls) -> KeyCells:
        """Create empty cells, which children inherit only through ``pass_fds``."""
        return cls((MemfdCell.create("keys", KeyBase).fd, MemfdCell.create("key_changes", KeyChanges).fd))


class KeyFile:
    """The two files, in ``folder``, of the node whose configuration file is ``source``."""

    def __init__(self, folder: Path, source: str) -> None:
        self._base = KeptFile(folder / name_for("keys", source), _MAGIC, "keys")
        self._changes = KeptFile(folder / name_for("key-changes", source), _MAGIC, "key changes")

    @property
    def path(self) -> str:
        """Path of the file with all keys."""
        return str(self._base.path)

    def write(self, base: KeyBase | None, changes: KeyChanges) -> None:
        """Write both, in this order: if only the first is written, its number says that the other is older.

        Raises:
            OSError: the disk is full or read-only, or permission is denied.
        """
        if base is not None:
            self._base.write(packed(base))
        self._changes.write(packed(changes))

    def read(self) -> dict[str, Entry] | None:
        """Return the entries by name; None if there is no file.

        Raises:
            StateUnusableError: a file is damaged, of another version of edge, or could have been written by others.
        """
        body = self._base.read()
        if body is None:
            return None
        late = self._changes.read()
        try:
            base = unpacked(body, KeyBase)
            held = {entry.name: entry for chunk in base.entries() for entry in chunk}
            changes = None if late is None else unpacked(late, KeyChanges)
        except msgspec.MsgspecError as error:
            raise StateUnusableError(
                f"the keys {self.path} were written by another version of edge: {error}"
            ) from error
        if changes is not None and changes.number == base.number:
            held.update((change.entry.name, change.entry) for change in changes.changes)
        return held
