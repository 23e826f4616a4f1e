"""What a node tells the others of the ids that providers have issued through it: the latest, in a ring of documents.

    issued/REGION/NODE/PLACE    a document: 256 records at most, numbered; under a lease of a day

A record is 32 bytes of a node's table: half of the SHA-256 of an id, a word for the provider and one for the key. No
id, key or answer leaves the node. All nodes together keep about 65,536 records in the store, each its part; what is
told is remembered by those who hear it (``limits.issued_ids``), so the store needs only what late ones have missed.
"""

from __future__ import annotations

import struct
from typing import Final

ISSUED: Final = "issued/"
RECORD: Final = 32
SEGMENT: Final = 256
"""Records of a document: 8 KiB, of which half is written again on average each time that ids are told."""
MOST_RECORDS: Final = 65_536
"""Of all nodes together."""
MOST_SEGMENTS: Final = 64
"""Documents of one node."""
_PLACE_DIGITS: Final = 2
_HIGHEST: Final = 2**53  # number of a document
_OWN_HIGHEST: Final = 2**52  # no node comes so far; a forged one must not leave it without numbers that others read
_HEAD: Final = struct.Struct("<8sQ")
_MAGIC: Final = b"edgeids1"


def key_of(name: str, place: int) -> str:
    """Return the key of the document of a node (REGION/NODE) at a place of its ring."""
    return f"{ISSUED}{name}/{place:02d}"


def encode(number: int, records: bytes) -> bytes:
    """Return the document of this number, of which no node has two."""
    return _HEAD.pack(_MAGIC, number) + records


def decode(value: bytes) -> tuple[int, bytes] | None:
    """Return number and records of a document; None: it is none."""
    if not _HEAD.size < len(value) <= _HEAD.size + SEGMENT * RECORD or (len(value) - _HEAD.size) % RECORD:
        return None
    magic, number = _HEAD.unpack_from(value)
    return (number, value[_HEAD.size :]) if magic == _MAGIC and number < _HIGHEST else None


def read_key(key: str) -> tuple[str, int] | None:
    """Return node (REGION/NODE) and place of a key; None: it is no such key."""
    name, _, place = key.removeprefix(ISSUED).rpartition("/")
    region, slash, node = name.partition("/")
    if not (key.startswith(ISSUED) and slash and region and node and name.isprintable()):
        return None
    return (
        (name, int(place)) if len(place) == _PLACE_DIGITS and place.isdecimal() and int(place) < MOST_SEGMENTS else None
    )


def room_of(nodes: int) -> int:
    """Return how many records each of so many nodes keeps in the store."""
    return max(MOST_RECORDS // max(nodes, 1), 1)


def places_of(nodes: int) -> int:
    """Return how many documents each of so many nodes keeps in the store."""
    return min(MOST_SEGMENTS, max(room_of(nodes) // SEGMENT, 1))


class Ring:
    """The latest records of one node, in numbered documents."""

    def __init__(self) -> None:
        self._documents: dict[int, bytes] = {}  # by number, the last one open
        self._changed: set[int] = set()
        self._next = 0
        self._pending = bytearray()

    def begin_at(self, number: int) -> None:
        """Number the next documents from here on, if they are not numbered higher already, and it is no forgery."""
        if number <= _OWN_HIGHEST:
            self._next = max(self._next, number)

    def add(self, records: bytes) -> None:
        """Take records; with more than a ring takes, the oldest are dropped."""
        self._pending += records
        del self._pending[: -MOST_SEGMENTS * SEGMENT * RECORD]

    @property
    def due(self) -> bool:
        """Whether something is to be written."""
        return bool(self._pending or self._changed)

    def again(self) -> None:
        """Write everything again: the store has lost it."""
        self._changed = set(self._documents)

    def take(self, nodes: int, most: int) -> dict[int, bytes]:
        """Return the documents to write now, at most so many, by place; ``nodes`` share the room."""
        size = min(SEGMENT, room_of(nodes)) * RECORD
        while self._pending and len(self._changed) < most:
            last = self._next - 1
            free = size - len(self._documents[last]) if last in self._documents else 0
            if free <= 0:
                last, free = self._next, size
                self._documents[last] = b""
                self._next += 1
            self._documents[last] += bytes(self._pending[:free])
            del self._pending[:free]
            self._changed.add(last)
        for number in sorted(self._documents)[: -places_of(nodes)]:
            del self._documents[number]
            self._changed.discard(number)
        chosen = sorted(self._changed)[:most]
        return {number % MOST_SEGMENTS: encode(number, self._documents[number]) for number in chosen}

    def written(self, documents: dict[int, bytes]) -> None:
        """Note that the store has taken these documents."""
        for value in documents.values():
            number, records = decode(value) or (-1, b"")
            if self._documents.get(number) == records:
                self._changed.discard(number)
