"""Does another node go by our name?  Two of one name overwrite each other's word, and would use one grant twice.

What stands under our name is another's when its instance is not ours and it was written after our first write: what an
earlier life of this node left behind, under a lease that still runs, was written before. One such write may have been
under way when that life ended; a node that lives writes again within seconds, and the second one is believed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge.regions.digest import FRESH_NS, HEARTBEAT_NS
from edge.telemetry import logs

if TYPE_CHECKING:
    from edge.regions.digest import Digest

SAY_NS: Final = 60 * 1_000_000_000


class NameConflict:
    """Watches our own name.

    Args:
        me: our name, REGION/NODE.
        instance: of this control.
    """

    def __init__(self, me: str, instance: str) -> None:
        self._me = me
        self._instance = instance
        self._seen_ns: int | None = None  # the last write of another under our name
        self._until_ns = -1
        self._said_ns = -SAY_NS

    def look(self, stands: Digest, revision: int, ours: int, now_ns: int, *, leaving: bool = False) -> None:
        """Take in what was written under our name.

        Args:
            stands: the digest.
            revision: that of its writing.
            ours: the revision of our first write, 0: none was acknowledged yet.
            now_ns: the time.
            leaving: this node drains: whoever has its name now is its successor.
        """
        if stands.instance == self._instance or stands.draining or not 0 < ours < revision:
            return
        before, self._seen_ns = self._seen_ns, now_ns
        if leaving or before is None or now_ns - before > FRESH_NS + HEARTBEAT_NS:
            return
        self._until_ns = now_ns + FRESH_NS
        if now_ns - self._said_ns >= SAY_NS:
            self._said_ns = now_ns
            sentence = "another node goes by the name of this one: both hold back; give each its own node.name"
            where = ", ".join(stands.addresses) or "it advertises none"
            logs.say(logs.ERROR, sentence, name=self._me, its_addresses=where, its_version=stands.version)

    def here(self, now_ns: int) -> bool:
        """Tell whether there is one."""
        return now_ns <= self._until_ns

    def follows(self, now_ns: int) -> bool:
        """Tell whether another has begun under our name: for a node that drains, its successor."""
        return self._seen_ns is not None and now_ns - self._seen_ns <= FRESH_NS
