"""What is done for many nodes, as a node that follows notes it: once, and not where it is done."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class ActsForMany:
    """The acts of a region or of the cluster, on one node. ``noted`` is called with what, target and reason of each."""

    def __init__(self) -> None:
        self.noted: Callable[[str, str, str], object] = lambda _what, _subject, _reason: None
        self._acting: set[tuple[str, str]] = set()

    @contextlib.contextmanager
    def acting(self, what: str, subject: str) -> Iterator[None]:
        """Note nothing of this act: it is done here, and whoever does it says so."""
        act = (what, subject)
        self._acting.add(act)
        try:
            yield
        finally:
            self._acting.discard(act)

    def follow(self, what: str, subject: str, reason: str) -> None:
        """Note what the store has brought, or taken away."""
        if (what, subject) not in self._acting:
            self.noted(what, subject, reason)
