"""Keeps the answers of models that have a cache; the hook ``Cache`` of the data path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from edge.cache.question import question
from edge.native import CacheEntry

if TYPE_CHECKING:
    from edge.native import AnswerStore


# One answer as it stands in the store: status, fields, target and content.
_Kept = tuple[int, list[tuple[bytes, bytes]], bytes, bytes]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Kept)


class Answers:
    """Answers in the node's shared memory. No method blocks; times are monotonic nanoseconds."""

    def __init__(self, store: AnswerStore) -> None:
        self._store = store

    def question(self, scope: str, path: bytes, content: bytes) -> bytes | None:
        """Return the name of a question; None: its answer is never kept."""
        return question(scope, path, content)

    def find(self, asked: bytes, now_ns: int) -> CacheEntry | None:
        """Return the answer that is kept, however old it is, as long as it may be used at all."""
        found = self._store.get(asked, now_ns)
        if found is None:
            return None
        status, fields, target, content = _decoder.decode(found[0])
        return CacheEntry(status, fields, target, content, max(now_ns - found[1], 0))

    def keep(self, asked: bytes, entry: CacheEntry, now_ns: int, until_ns: int) -> bool:
        """Keep an answer that has just come until ``until_ns``; False: it is too large."""
        kept = (entry.status, entry.fields, entry.target, entry.content)
        return self._store.put(asked, _encoder.encode(kept), now_ns, until_ns)

    def begin(self, asked: bytes) -> tuple[bool, int]:
        """Register a flight, see ``native.state.answer_store``."""
        return self._store.begin(asked)

    def flying(self, asked: bytes, flight: int) -> bool:
        """Return whether the exchange of that flight still asks."""
        return self._store.flying(asked, flight)

    def end(self, asked: bytes, flight: int) -> None:
        """End a flight of this worker."""
        self._store.end(asked, flight)
