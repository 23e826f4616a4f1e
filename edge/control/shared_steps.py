"""What operators do on one node for the nodes of a region or of all regions, through the store.

The store is believed within bounds: it can drain targets, and weigh them from above 0 to 1000. Other documents are
ignored, and told once. Documents have no lease, so that they outlive the nodes; they end when they are deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import Struct

from edge.cluster.follow import Held
from edge.control.membership import overrides, unreadable, weights
from edge.control.sharing_deps import NothingSharedError
from edge.errors import EdgeError
from edge.regions import digest as digests
from edge.regions.digest import EVERYWHERE, OVERRIDES, REGIONAL, WEIGHTS, ManualOverride, SharedWeight
from edge.telemetry import logs
from edge.terms.ports import Unchanged, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.cluster.follow import Follower
    from edge.control.sharing_deps import SharingDeps
    from edge.terms.ports import Store

MOST_IGNORED: Final = 64
"""Keys of documents that are told to be unreadable; of more the log says nothing."""


class Withdrawn(Struct, frozen=True):
    """A document of this node that is to be deleted, because an operator has decided since."""

    value: bytes
    revision: int  # 0: it is not known whether the store has taken it
    relists: int  # full lists of the store by then; a later one tells what the store has


class SharedSteps:
    """Publishes what is done on this node, and applies what others have published.

    Args:
        store: the store; None: there is no cluster.
        follower: the copy of the store; None: the same.
        deps: told of what holds here.
        region: region of this node.
    """

    def __init__(self, store: Store | None, follower: Follower | None, deps: SharingDeps, region: str) -> None:
        self._store = store
        self._follower = follower
        self._deps = deps
        self._region = region
        self._overrides: dict[str, ManualOverride] | None = None  # None: the store was not heard yet
        self._weights: dict[str, SharedWeight] | None = None  # the same
        self._ignored: set[str] = set()  # keys that were told to be unreadable
        self.untold: dict[str, tuple[ManualOverride, Callable[[], None]]] = {}
        """Canaries that were taken out here, which the others do not know yet."""
        self._withdrawn: dict[str, Withdrawn] = {}  # documents of canaries that were put back, by key

    async def override(self, target: str, override: ManualOverride | None, region: str = EVERYWHERE) -> None:
        """Publish a manual override of a target for a region or for all, or delete it (None).

        Raises:
            NothingSharedError: there is no cluster.
            StoreUnavailableError: the store cannot be reached; nothing has changed.
            StoreRefusedError: the store denies the write.
        """
        key = digests.override_key(target, region)
        await self._publish(key, None if override is None else digests.encode(override))

    async def weigh(self, target: str, weight: SharedWeight | None, region: str = EVERYWHERE) -> None:
        """Publish the weight of a target for a region or for all, or delete it (None); raises as :meth:`override`."""
        key = digests.weight_key(target, region)
        await self._publish(key, None if weight is None else digests.encode(weight))

    async def _publish(self, key: str, value: bytes | None) -> None:
        """Write a document of an operator, and apply it at once, beside what else the store is known to have.

        Before the store was read nothing is applied: what others have done is not known, and would be undone.
        """
        if self._store is None:
            raise NothingSharedError("this node shares nothing: configure a cluster, or act on each node by itself")
        self._applied(key, value, await self._store.txn((), (Write(key, value),)))

    def _applied(self, key: str, value: bytes | None, revision: int | None) -> None:
        """Apply a document that was written, unless the watch has shown it already."""
        if self._follower is None or self._overrides is None or revision is None:
            return
        if self._follower.revision < revision:
            held = {known: item for known, item in self._follower.held.items() if known != key}
            if value is not None:
                held[key] = Held(value, revision, 0)
            self._apply(held)

    def aborted(self, target: str, override: ManualOverride, told: Callable[[], None]) -> None:
        """Tell the nodes of this region that a canary was taken out here, as soon as the store takes it.

        ``told`` is called then. A later call for the target, or :meth:`restored`, replaces this one.
        """
        if self._store is not None:
            self.untold[target] = (override, told)

    def restored(self, target: str) -> None:
        """Do not tell of a canary any more, because it was put back before the others knew."""
        self.untold.pop(target, None)

    @property
    def pending(self) -> bool:
        """Whether the store has yet to hear of something."""
        return bool(self.untold or self._withdrawn)

    async def tell(self) -> None:
        """Publish the canaries that were taken out here, and delete what was published of those that are back."""
        for key, withdrawn in list(self._withdrawn.items()):
            try:
                await self._withdraw(key, withdrawn)
            except EdgeError:
                return  # the next turn tries again; the status says that the store is away
        for target, untold in list(self.untold.items()):
            try:
                await self._tell(target, *untold)
            except EdgeError:
                return  # as above

    async def _tell(self, target: str, override: ManualOverride, told: Callable[[], None]) -> None:
        """Publish one, and take it back if an operator has decided meanwhile; what operators wrote is left alone."""
        if self._store is None or self._follower is None:
            return
        key, value = digests.override_key(target, self._region), digests.encode(override)
        held = self._follower.held.get(key)
        unchanged = Unchanged(key, 0 if held is None else held.revision)
        try:
            revision = await self._store.txn((unchanged,), (Write(key, value),))
        except EdgeError:
            if target not in self.untold:
                self._withdrawn[key] = Withdrawn(value, 0, self._follower.relists)
            raise
        if revision is None:
            return  # somebody else was quicker: the next turn knows it
        if target not in self.untold:
            self._withdrawn[key] = withdrawn = Withdrawn(value, revision, self._follower.relists)
            await self._withdraw(key, withdrawn)
        elif self.untold[target] == (override, told):
            self._applied(key, value, revision)
            del self.untold[target]
            told()

    async def _withdraw(self, key: str, withdrawn: Withdrawn) -> None:
        """Delete a document of this node, unless somebody has written another one since."""
        if self._store is None or self._follower is None:
            return
        revision, held = withdrawn.revision, self._follower.held.get(key)
        if not revision and held is not None and held.value == withdrawn.value:
            revision = held.revision
        if revision:
            await self._store.txn((Unchanged(key, revision),), (Write(key, None),))
        elif self._follower.relists == withdrawn.relists:
            return  # whether the store has it shows with the next full list
        if self._withdrawn.get(key) == withdrawn:
            del self._withdrawn[key]

    def begin(self) -> None:
        """Apply what the store has, unless that was done: also that it has nothing."""
        if self._overrides is None:
            self._take_all()

    def take(self, changed: Mapping[str, Held | None]) -> None:
        """Apply what has changed in the store."""
        if not any(key.startswith((OVERRIDES, REGIONAL, WEIGHTS)) for key in changed):
            return
        self._take_all()
        for key, item in changed.items():
            if item is None or key in self._ignored or not unreadable(key, item.value):
                continue
            if len(self._ignored) < MOST_IGNORED:
                self._ignored.add(key)
                logs.say(logs.WARNING, "the store has a document that is ignored; delete the key", key=key[:200])

    def _take_all(self) -> None:
        self._apply({} if self._follower is None else self._follower.held)

    def _apply(self, held: Mapping[str, Held]) -> None:
        self._set_overrides(overrides(held, self._region))
        self._set_weights(weights(held, self._region))

    def _set_weights(self, found: dict[str, SharedWeight]) -> None:
        if found != self._weights:
            self._weights = found
            self._deps.weights_changed(found)

    def _set_overrides(self, found: dict[str, ManualOverride]) -> None:
        if found != self._overrides:
            self._overrides = found
            self._deps.overrides_changed(found)
