"""The other nodes as found in the copy of the store, with the age of their digests; decoded once per revision."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Final

from edge.config.addresses import forbidden, parse_address
from edge.config.check_peers import REGION
from edge.config.schema import MOST_MEMBERS
from edge.regions import digest as digests
from edge.regions import shares
from edge.regions.digest import FRESH_NS, NODES, OVERRIDES, REGIONAL, SHARES, WEIGHTS
from edge.regions.keeper import Silence
from edge.regions.view import Heard
from edge.terms import places

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge.cluster.follow import Held
    from edge.regions.digest import Digest, ManualOverride, SharedWeight
    from edge.regions.shares import Shares
    from edge.regions.view import Peer

_NOTHING: Final = (shares.Shares(), 0)
# Digests of further nodes are ignored: processing them all stays cheap, whatever keys the prefix holds.
MOST_NODES: Final = 2_000


class Membership:
    """Digests and ledgers from the copy of the store. ``unread`` counts documents that could not be used.

    Args:
        me: name of this node, REGION/NODE, whose digest is skipped.
    """

    def __init__(self, me: str) -> None:
        self._me = me
        self._digests: dict[str, tuple[int, Digest | None]] = {}
        self._readable: set[str] = set()  # nodes whose digest could be read
        self._ledgers: dict[str, tuple[int, Shares]] = {}
        self._blind: dict[str, int] = {}  # node -> how long its digest may have existed before it was seen
        self._last: dict[str, tuple[int, int]] = {}  # node -> (revision of its digest, time at which it arrived)
        self._unproven: set[str] = set()  # nodes that may be dead, because their digests may be old
        self.unread = 0

    def take(self, changed: Mapping[str, Held | None]) -> None:
        """Apply changed keys; None: the key was deleted."""
        for key, held in changed.items():
            if not key.startswith(NODES):
                continue
            name = key.removeprefix(NODES)
            if held is None:
                self._digests.pop(name, None)
                self._readable.discard(name)
                self._unproven.discard(name)
                self._blind.pop(name, None)
                if name in self._last:
                    self._last[name] = (0, self._last[name][1])
                continue
            digest = digests.decode(held.value, name)
            if not self._has_room(name, digest):
                self.unread += 1
                continue
            self.unread += digest is None
            if held.blind_ns > FRESH_NS:
                self._unproven.add(name)
            else:
                self._unproven.discard(name)
            self._digests[name] = (held.revision, digest)
            self._last[name] = (held.revision, held.seen_ns)
            self._blind[name] = held.blind_ns
        if len(self._last) > 2 * MOST_NODES:  # where each start of a node has a new name, names accumulate
            gone = [name for name in self._last if name not in self._digests]
            for name in sorted(gone, key=lambda name: self._last[name][1])[: len(gone) // 2]:
                del self._last[name]

    def _has_room(self, name: str, digest: Digest | None) -> bool:
        """Return whether a document may be kept; what cannot be read takes no place of a node."""
        if digest is None:
            self._readable.discard(name)
        elif name not in self._readable:
            if len(self._readable) >= MOST_NODES:
                return False
            self._readable.add(name)
        return True

    def heard(self, now_ns: int) -> list[Heard]:
        """Return the digest of every other node, with its age."""
        return [
            Heard(digest, now_ns - self._last[name][1], name not in self._unproven)
            for name, (_, digest) in self._digests.items()
            if digest is not None and name != self._me
        ]

    def digest(self, name: str) -> Digest | None:
        """Return a node's digest, if it was seen to be written."""
        return None if name in self._unproven else self._digests.get(name, (0, None))[1]

    def ledger(self, held: Mapping[str, Held], name: str) -> tuple[Shares, int]:
        """Return the ledger of an allowance and its revision; an empty ledger and 0 if it does not exist."""
        found = held.get(SHARES + name)
        if found is None:
            self._ledgers.pop(name, None)
            return _NOTHING
        known = self._ledgers.get(name)
        if known is None or known[0] != found.revision:
            known = self._ledgers[name] = (found.revision, shares.decode(found.value))
        return known[1], known[0]

    def silences(self, ledger: Shares, now_ns: int) -> dict[str, Silence]:
        """Return the silence of each other node; for a node that was never heard, since it was first missed."""
        gone = [name for name, (_, seen_ns) in self._last.items() if now_ns - seen_ns > 2 * shares.FORGOTTEN_NS]
        for name in gone:
            if name not in ledger.nodes and name not in self._digests:
                del self._last[name]
        for name in ledger.nodes:
            self._last.setdefault(name, (0, now_ns))
        return {
            name: Silence(now_ns - seen_ns, revision, now_ns - seen_ns + self._blind.get(name, 0))
            for name, (revision, seen_ns) in self._last.items()
            if name != self._me and (name in ledger.nodes or name in self._digests)
        }


def overrides(held: Mapping[str, Held], region: str) -> dict[str, ManualOverride]:
    """Return the manual overrides that hold in a region, by target; its own come before those of all regions."""
    found = {}
    for prefix in (OVERRIDES, f"{REGIONAL}{region}/"):
        for key, item in held.items():
            if key.startswith(prefix) and (override := digests.decode_override(item.value)) is not None:
                found[key.removeprefix(prefix)] = override
    return found


def weights(held: Mapping[str, Held], region: str) -> dict[str, SharedWeight]:
    """Return the weights that hold in a region, by target; its own come before those of all regions."""
    found = {}
    for prefix in (f"{WEIGHTS}{digests.EVERYWHERE}/", f"{WEIGHTS}{region}/"):
        for key, item in held.items():
            if key.startswith(prefix) and (weight := digests.decode_weight(item.value)) is not None:
                found[key.removeprefix(prefix)] = weight
    return found


def unreadable(key: str, value: bytes) -> bool:
    """Return whether a value is ignored that should be what an operator has done."""
    if key.startswith((OVERRIDES, REGIONAL)):
        return digests.decode_override(value) is None
    return key.startswith(WEIGHTS) and digests.decode_weight(value) is None


def askable(peers: Iterable[Peer], own: str) -> tuple[places.Peer, ...]:
    """Return usable edges of other regions, as many as a pool takes, taken from the regions in turn."""
    by_region: dict[str, list[places.Peer]] = {}
    for peer in peers:
        if peer.region != own and peer.fresh and not peer.draining and REGION.fullmatch(peer.region):
            found = (places.Peer(peer.region, address) for address in peer.addresses if reachable(address))
            by_region.setdefault(peer.region, []).extend(found)
    turns = chain.from_iterable(zip_longest(*by_region.values()))
    return tuple(dict.fromkeys(peer for peer in turns if peer is not None))[:MOST_MEMBERS]


@lru_cache(maxsize=2 * MOST_NODES)
def reachable(address: str) -> bool:
    """Return whether an advertised address is usable; a mistake of one node must not affect the others.

    Remembered, because it is asked for every node four times a second: with 1,000 nodes that took 3% of a core.
    """
    try:
        host, port = parse_address(address)
    except ValueError:
        return False
    return bool(host) and port > 0 and not forbidden(host)
