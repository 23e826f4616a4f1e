"""Claims on incidents in the shared store, so that one node of all tells the receivers, and tells them once.

    incidents/SUBJECT    which node tells of the incident, under which id, and whether it has told the end

The claim stands under a lease: if its node dies, another one that sees the incident takes it over, under the same id.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from msgspec import Struct

from edge.errors import LeaseGoneError
from edge.terms.ports import Unchanged, Write

if TYPE_CHECKING:
    from edge.terms.ports import Store

PREFIX: Final = "incidents/"
LEASE_S: Final = 30.0
# After the end the claim stays for a lease's time, so that a node that sees the end later does not tell it again.

Whose = Literal["ours", "theirs", "over"]


class Claim(Struct, frozen=True):
    """The document of a claim."""

    id: str  # under which receivers know the incident
    by: str  # REGION/NODE
    resolved: bool = False
    v: int = 1


class Claims:
    """Claims of one node.

    Args:
        store: the shared store.
        me: REGION/NODE.
    """

    def __init__(self, store: Store, me: str) -> None:
        self._store = store
        self._me = me
        self._leases: dict[str, int] = {}  # by subject

    async def claim(self, subject: str, name: str, known: str) -> tuple[Whose, str]:
        """Claim a subject's incident, or renew the claim; return whose it is, and the id that receivers know.

        Args:
            subject: what the incident is about.
            name: the id that this node gave it.
            known: the id under which it was claimed before; "" if it was not.

        Raises:
            StoreUnavailableError, StoreRefusedError: the store does not answer, or denies the write.
        """
        key = key_of(subject)
        found = await self._store.get(key)
        claim = None if found is None else _decode(found.value)
        if claim is not None and claim.resolved and claim.id == known:
            return "over", claim.id
        if claim is not None and not claim.resolved:
            if claim.by != self._me:
                return "theirs", claim.id
            if subject in self._leases:
                try:
                    await self._store.keep(self._leases[subject])
                except LeaseGoneError:
                    del self._leases[subject]
                else:
                    return "ours", claim.id
            known = claim.id
        shared = known or name
        lease = await self._store.grant(LEASE_S)
        value = msgspec.json.encode(Claim(shared, self._me))
        revision = 0 if found is None else found.revision
        if await self._store.txn((Unchanged(key, revision),), (Write(key, value, lease),)) is None:
            await self._store.revoke(lease)
            return await self.claim(subject, name, known) if found is None else ("theirs", shared)
        self._leases[subject] = lease
        return "ours", shared

    async def resolve(self, subject: str, shared: str) -> bool:
        """Note that this node tells the end; return False if that is for another node, or was done by one.

        Raises:
            StoreUnavailableError, StoreRefusedError: the store does not answer, or denies the write.
        """
        key = key_of(subject)
        found = await self._store.get(key)
        claim = None if found is None else _decode(found.value)
        if claim is not None and (claim.by != self._me or claim.resolved):
            return claim.by == self._me
        lease = await self._store.grant(LEASE_S)
        value = msgspec.json.encode(Claim(shared, self._me, resolved=True))
        revision = 0 if found is None else found.revision
        self._leases.pop(subject, None)
        return await self._store.txn((Unchanged(key, revision),), (Write(key, value, lease),)) is not None


def key_of(subject: str) -> str:
    """Return the key of a subject's claim; a subject holds a provider's name, which may have any letters."""
    return PREFIX + re.sub(r"[^A-Za-z0-9._:-]", "_", subject)[:200]


def _decode(value: bytes) -> Claim | None:
    """Return the claim; None if it is unreadable, so that it is overwritten."""
    try:
        return msgspec.json.decode(value, type=Claim)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
