"""Detection of another node with this node's name; the two would overwrite each other's digest and use one grant twice.

A digest under our name belongs to another node if its instance differs and it was written after our first write: an
earlier run of this node, whose lease may still be valid, wrote before. One write of that run may have been in progress
when it ended; a live node writes again within seconds, so the second such digest counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.regions.digest import FRESH_NS, HEARTBEAT_NS
from edge.telemetry import logs

if TYPE_CHECKING:
    from edge.regions.digest import Digest

SAY_NS: Final = 60 * 1_000_000_000


class NameConflict:
    """Watches the digest under this node's name.

    Args:
        me: name of this node, REGION/NODE.
        instance: identity of this control process.
    """

    def __init__(self, me: str, instance: str) -> None:
        self._me = me
        self._instance = instance
        self._seen_ns: int | None = None  # time of the last write by another node under our name
        self._until_ns = -1
        self._logged_ns = -SAY_NS

    def observe(self, digest: Digest, revision: int, ours: int, now_ns: int, *, leaving: bool = False) -> None:
        """Take note of a write under this node's name.

        Args:
            digest: the digest that was written.
            revision: revision of the write.
            ours: revision of this node's first write, 0: none is acknowledged yet.
            now_ns: monotonic nanoseconds.
            leaving: whether this node drains, so that another node of its name is its successor.
        """
        if digest.instance == self._instance or digest.draining or not 0 < ours < revision:
            return
        before, self._seen_ns = self._seen_ns, now_ns
        if leaving or before is None or now_ns - before > FRESH_NS + HEARTBEAT_NS:
            return
        self._until_ns = now_ns + FRESH_NS
        if now_ns - self._logged_ns >= SAY_NS:
            self._logged_ns = now_ns
            sentence = "another node has the name of this one: both hold back; give each its own node.name"
            where = ", ".join(digest.addresses) or "it advertises none"
            logs.say(logs.ERROR, sentence, name=self._me, its_addresses=where, its_version=digest.version)

    def detected(self, now_ns: int) -> bool:
        """Return whether there is another node with this name."""
        return now_ns <= self._until_ns

    def has_successor(self, now_ns: int) -> bool:
        """Return whether another node of this name has started, which replaces this one if it drains."""
        return self._seen_ns is not None and now_ns - self._seen_ns <= FRESH_NS
