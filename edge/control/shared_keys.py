"""Callers' keys in the shared store: follows them, and makes, rotates and revokes them for operators.

Workers get each change through memory that they share (``edge.control.key_cells``), so no Snapshot is made for it. The
keys stand on disk too: a node that starts while the store is dark has those of its last run, without what was revoked.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct, structs

from edge import clock as real
from edge.admission.key_documents import KeyDocument, KeyDocumentError, decode, encode, verified
from edge.cluster.follow import Follower
from edge.cluster.memory import MemoryCluster
from edge.config.schema_keys import Key
from edge.errors import EdgeError
from edge.telemetry import logs
from edge.terms.ports import Unchanged, Write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge.clock import Clock
    from edge.cluster.follow import Held
    from edge.config.schema import Config
    from edge.control.key_book import KeyBook
    from edge.control.key_cells import KeyFile
    from edge.control.members import Members
    from edge.terms.ports import Item, Store
    from edge.terms.snapshot import Key as PlannedKey

ROOT: Final = ".keys/"
"""Behind ``cluster.etcd.prefix``: not below it, because what nodes tell each other is listed as a whole."""

FIRST_S: Final = 3.0
"""How long a node that starts waits for the store before it serves without what the store says."""

RELIST_S: Final = 600.0
AGAIN_S: Final = 60.0
PER_TURN: Final = 500
LONGEST_OVERLAP_S: Final = 90 * 86400.0


class KeyExistsError(EdgeError):
    """There is a key of this name."""

    kind = "key_exists"
    source = "client"


class UnknownKeyError(EdgeError):
    """There is no key of this name in the store."""

    kind = "unknown_key"
    source = "client"


class KeysState(Struct, frozen=True):
    """The state of the cluster's keys, for operators. ``age_s`` None: the store has not been heard."""

    complete: bool
    connected: bool
    age_s: float | None
    error: str
    unread: int  # documents that count for nothing
    disk_error: str  # why the newest keys are not on disk; "" if they are


class SharedKeys:
    """The cluster's keys on this node.

    Args:
        book: the keys; only this object changes them.
        store: the store, whose keys are names; None: there is no cluster, and only members of groups are kept.
        members: the members of groups that have records.
        secret: returns the secret of the documents' MACs; None: none counts.
        config: returns the configuration in force.
        told: called after each change that workers should read.
        file: the keys on disk; None: they are kept in memory alone.
        clock: source of time and chance.
    """

    def __init__(
        self,
        book: KeyBook,
        store: Store | None,
        *,
        members: Members,
        secret: Callable[[], bytes | None],
        config: Callable[[], Config],
        told: Callable[[], None],
        file: KeyFile | None = None,
        clock: Clock = real,
    ) -> None:
        self._book = book
        self._members = members
        self._shared = store is not None
        self._store: Store = MemoryCluster(clock).client() if store is None else store
        self._secret = secret
        self._config = config
        self._told = told
        self._file = file
        self._clock = clock
        self._follower = Follower(self._store, "", self._changed, clock=clock, relist_s=RELIST_S)
        self._pending: dict[str, bytes | None] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._writing = asyncio.Lock()
        self._anew = False  # all keys have to be written to disk, and not only the changes
        self._unsaved = False
        self._again_ns = 0
        self._disk_error = ""
        self._secret_before = secret()
        self._used: tuple[int, tuple[PlannedKey, ...]] = (-1, ())

    async def start(self) -> None:
        """Follow the store; return when its keys are known, or after a bounded time."""
        self.follow()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._follow()), loop.create_task(self._work())]
        end_ns = self._clock.now_ns() + int(FIRST_S * 1e9)
        while self._clock.now_ns() < end_ns and not self._follower.error:
            if self._follower.relists:
                self._wake.set()
                if self._book.complete and not self._pending:
                    return
            await self._clock.sleep(0.01)

    def follow(self) -> None:
        """Let the file's keys come first, as the configuration in force names them."""
        now = self._clock.wall()
        changes = self._book.yield_to({key.name for key in self._config().keys}, now) + self._members.follow()
        if changes:
            self._publish(changes)
        secret = self._secret()
        if secret != self._secret_before:  # what counted for nothing may count now
            self._secret_before = secret
            self._changed(self._follower.held)

    @property
    def shared(self) -> bool:
        """Whether there is a store with keys of the cluster."""
        return self._shared

    def want(self, group: str, name: str) -> None:
        """Give an identity of a group a record of its own, if there is one; workers ask."""
        try:
            changes = self._members.admit(group, name)
        except KeyDocumentError as error:
            logs.say(logs.WARNING, "an identity of a group gets no record of its own", key=group, reason=str(error))
            return
        if changes:
            self._publish(changes)

    def poll(self) -> None:
        """End what has lasted long enough, and repeat what failed. Called once a second."""
        changes = self._book.expire(self._clock.wall())
        if changes:
            self._publish(changes)
        if self._follower.relists and not self._book.complete:
            self._wake.set()
        if self._unsaved and self._clock.now_ns() >= self._again_ns and not self._writing.locked():
            self._tasks = [task for task in self._tasks if not task.done()]
            self._tasks.append(asyncio.get_running_loop().create_task(self._save()))

    async def stop(self) -> None:
        """Stop following, and write the last changes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._save()
        await self._store.close()

    def state(self) -> KeysState:
        """Return the state, for the status."""
        follower = self._follower
        return KeysState(
            complete=self._book.complete,
            connected=follower.connected,
            age_s=round(follower.age_s(), 3) if follower.relists else None,
            error=follower.error,
            unread=self._book.unread,
            disk_error=self._disk_error,
        )

    def used(self) -> tuple[PlannedKey, ...]:
        """Return the keys that workers have used since the node was started, as a Snapshot has them.

        They are read again at most once a second.
        """
        second = self._clock.now_ns() // 1_000_000_000
        if self._used[0] != second:
            self._used = (second, tuple(self._book.used()))
        return self._used[1]

    def listed(self, prefix: str, most: int) -> tuple[int, list[dict[str, Any]]]:
        """Return how many keys have names that begin with ``prefix``, and the first of them, without their hashes."""
        now = self._clock.wall()
        found = sorted(
            (
                document
                for document in self._book.documents()
                if document.key.name.startswith(prefix) and "/" not in document.key.name
            ),
            key=lambda document: document.key.name,
        )
        return len(found), [self._shown(document, now) for document in found[:most]]

    async def create(self, key: Key) -> dict[str, Any]:
        """Make a key for all nodes; return it as listed.

        Raises:
            KeyExistsError: there is one of this name, in the store or in the file, or another with this SHA-256.
            StoreUnavailableError, StoreRefusedError: the store does not take it; nothing has changed.
        """
        if key.name in {each.name for each in self._config().keys}:
            raise KeyExistsError(f"the file has a key {key.name}; give the new one another name, or remove that first")
        self._refuse_twin(key.name, key.sha256)
        item, known = await self._known(key.name)
        if known is not None and not known.revoked:
            raise KeyExistsError(f"there is a key {key.name}; edge keys rotate {key.name} makes a new secret for it")
        generation = 1 if known is None else known.generation + 1
        return await self._put(item, KeyDocument(key, generation, self._clock.wall()))

    async def rotate(self, name: str, sha256: str, overlap_s: float) -> dict[str, Any]:
        """Replace a key's secret; the one before counts for ``overlap_s`` seconds more. Return it as listed.

        Raises:
            UnknownKeyError: there is none of this name.
            KeyExistsError: another key has this SHA-256.
            StoreUnavailableError, StoreRefusedError: the store does not take it; nothing has changed.
        """
        item, known = await self._known(name)
        if known is None or known.revoked:
            raise UnknownKeyError(self._unknown(name))
        self._refuse_twin(name, sha256)
        now = self._clock.wall()
        document = KeyDocument(
            structs.replace(known.key, sha256=sha256),
            known.generation + 1,
            now,
            previous=known.key.sha256 if overlap_s > 0 else "",
            previous_until=now + min(overlap_s, LONGEST_OVERLAP_S) if overlap_s > 0 else 0.0,
        )
        return await self._put(item, document)

    async def revoke(self, name: str) -> dict[str, Any]:
        """Revoke a key on all nodes; return it as listed.

        Raises:
            UnknownKeyError: there is none of this name.
            StoreUnavailableError, StoreRefusedError: the store does not take it; nothing has changed.
        """
        item, known = await self._known(name)
        if known is None or known.revoked:
            raise UnknownKeyError(self._unknown(name))
        return await self._put(item, KeyDocument(Key(name), known.generation + 1, self._clock.wall(), revoked=True))

    def _refuse_twin(self, name: str, sha256: str) -> None:
        """Raise KeyExistsError if another key has this SHA-256: revoking one of them would decide about both."""
        of_file = (key.name for key in self._config().keys if key.sha256.lower() == sha256)
        owner = next(of_file, None) or self._book.holder(bytes.fromhex(sha256))
        if owner not in (None, name):
            raise KeyExistsError(f"it is the same key as {owner}; make one for each caller")

    def _unknown(self, name: str) -> str:
        if name in {key.name for key in self._config().keys}:
            return f"the key {name} stands in the file; change it there, and reload"
        return f"the cluster has no key {name}; edge keys list --cluster shows all"

    async def _known(self, name: str) -> tuple[Item | None, KeyDocument | None]:
        """Return what the store holds under a name, and the newest document that is known of it."""
        item, known = await self._store.get(name), self._book.document(name)
        secret = self._secret()
        if item is not None and secret is not None:
            with contextlib.suppress(KeyDocumentError):  # what is forged is written over
                stored = decode(name, verified(name, item.value, secret))
                known = stored if known is None or stored.generation > known.generation else known
        return item, known

    async def _put(self, item: Item | None, document: KeyDocument) -> dict[str, Any]:
        name, secret = document.key.name, self._secret()
        if secret is None:
            raise KeyDocumentError("keys in the store need peers.token, the secret that all nodes share; write it")
        value = encode(document, secret)
        condition = Unchanged(name, 0 if item is None else item.revision)
        if await self._store.txn((condition,), (Write(name, value),)) is None:
            raise KeyExistsError(f"the key {name} was changed elsewhere at the same time; look at it, and try again")
        change = self._book.take(name, value, secret, self._clock.wall())
        if change is not None:  # else the watch was quicker
            self._publish([change])
        await self._save()
        return self._shown(document, self._clock.wall())

    def _shown(self, document: KeyDocument, now: float) -> dict[str, Any]:
        key, held = document.key, self._follower.held.get(document.key.name)
        shadowed = key.name in {each.name for each in self._config().keys}
        state = "revoked" if document.revoked else "shadowed" if shadowed else "active"
        return {
            "name": key.name,
            "state": state,
            "sha256": key.sha256[:8],
            "models": list(key.models),
            "priority": key.priority,
            "requests_per_minute": key.requests_per_minute,
            "tokens_per_minute": key.tokens_per_minute,
            "concurrent": key.concurrent,
            "budget": key.budget,
            "scope": key.scope,
            "generation": document.generation,
            "written": document.written,
            "previous_until": document.previous_until if now < document.previous_until else None,
            "in_store": held is not None,
        }

    def _changed(self, changed: Mapping[str, Held | None]) -> None:
        self._pending.update((name, None if held is None else held.value) for name, held in changed.items())
        self._wake.set()

    async def _follow(self) -> None:
        while True:
            try:
                await self._follower.run()
            except Exception as error:  # noqa: BLE001  # a defect must not end what revocation depends on
                logs.say_failure("following the cluster's keys failed", error)
                await self._clock.sleep(1.0)

    async def _work(self) -> None:
        """Take what the store says, some hundred documents between two turns of the event loop."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._take()
            except Exception as error:  # noqa: BLE001  # as above
                logs.say_failure("taking the cluster's keys failed", error)

    async def _take(self) -> None:
        secret, now = self._secret(), self._clock.wall()
        changes = []
        if secret is None:  # nothing that the store says can be believed
            self._pending.clear()
        while self._pending and secret is not None:
            for _ in range(min(PER_TURN, len(self._pending))):
                # the newest first: the oldest are behind the empty places of those before, which are searched each time
                change = self._book.take(*self._pending.popitem(), secret, now)
                if change is not None:
                    changes.append(change)
            await asyncio.sleep(0)
        if not self._book.complete:
            self._book.finish()
            self._anew = True
            self._told_and_unsaved()
        elif changes:
            self._publish(changes)
        if changes:
            logs.say(logs.INFO, "keys of the cluster have changed", keys=len(changes))
        if self._unsaved:
            await self._save()

    def _publish(self, changes: list[Any]) -> None:
        self._anew = self._book.publish(changes) or self._anew
        self._told_and_unsaved()

    def _told_and_unsaved(self) -> None:
        self._unsaved = True
        self._used = (-1, ())
        self._told()

    async def _save(self) -> None:
        """Write what has changed to disk, one write at a time."""
        async with self._writing:
            if self._file is None or not self._unsaved:
                return
            base, changes = self._book.written
            anew, self._anew, self._unsaved = self._anew, False, False
            try:
                await asyncio.to_thread(self._file.write, base if anew else None, changes)
            except OSError as error:
                self._anew, self._unsaved = self._anew or anew, True
                self._again_ns = self._clock.now_ns() + int(AGAIN_S * 1e9)
                self._disk_error = error.strerror or str(error)
                sentence = "the cluster's keys cannot be written to disk"
                logs.say(logs.WARNING, sentence, path=self._file.path, error=self._disk_error)
            else:
                self._disk_error = ""
