"""How do edges agree through etcd?  The Store over its gRPC API; ``calls`` has what is said, ``refusals`` how it fails.

Every call has one deadline for all that it tries. What can be asked twice without harm (reads, puts, leases) is tried
at another member when one fails; a transaction or deletion only if it surely was not sent, because the second try could
see the work of the first. A watch asks its member once a second for a sign of life, for TCP alone notices a stalled
host after minutes, and leaves it after three seconds of silence.

Calls ask for a member that has a leader (``hasleader``): a member cut off from the others then refuses at once instead
of showing a watch that is alive and will never deliver. Why not a ready-made client: docs/decisions/etcd-client.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import grpc.aio

from edge import clock as real
from edge.cluster import bounds, calls, refusals
from edge.cluster.members import Members, MemberStatus
from edge.config.units import NS_PER_S
from edge.errors import CompactedError, LeaseGoneError, StoreRefusedError, StoreUnavailableError
from edge.terms.ports import Change, Item, Listing
from edge.wire.etcd import rpc_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from edge.clock import Clock
    from edge.cluster.calls import Call, Metadata
    from edge.config.schema_cluster import Etcd
    from edge.terms.ports import Unchanged, Write

HEARTBEAT_S: Final = 1.0
SILENCE_S: Final = 3.0
# etcd hashes the password for 100 ms of CPU at each login: edges whose tokens ended together log in one after another.
LOGIN_JITTER_S: Final = 0.3
_LEADER: Final = ("hasleader", "true")
_CLOSED: Final = "the store is closed"


class EtcdStore:
    """Satisfies ``edge.terms.ports.Store``. Nothing is read and nothing connects before the first call."""

    def __init__(self, settings: Etcd, clock: Clock = real) -> None:
        self._settings = settings
        self._clock = clock
        self._root = f"{settings.prefix}/"
        self._deadline_s = settings.timeout / NS_PER_S
        self._members = Members(settings, clock)
        self._token: str | None = None
        self._logged_in = False
        self._login = asyncio.Lock()
        self._closed = False

    async def get(self, key: str) -> Item | None:
        """Return a key as it stands."""
        bounds.check_key(key)
        answer = await self._ask(calls.list_range, wire.RangeRequest(key=self._key(key)))
        return self._item(answer.kvs[0]) if answer.kvs else None

    async def list(self, prefix: str) -> Listing:
        """Return every key under a prefix; their values together are at most 64 MiB."""
        answer = await self._ask(
            calls.list_range, wire.RangeRequest(key=self._key(prefix), range_end=_after(self._key(prefix)))
        )
        return Listing(tuple(self._item(kv) for kv in answer.kvs), answer.header.revision)

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        """Write a key, under a lease if one is given; return the revision."""
        bounds.check_key(key)
        bounds.check_value(key, value)
        answer = await self._ask(calls.put, wire.PutRequest(key=self._key(key), value=value, lease=lease))
        return int(answer.header.revision)

    async def delete(self, key: str) -> bool:
        """Delete a key; False if it did not exist."""
        bounds.check_key(key)
        answer = await self._ask(calls.delete, wire.DeleteRangeRequest(key=self._key(key)), twice=False)
        return bool(answer.deleted)

    async def txn(self, conditions: Sequence[Unchanged], writes: Sequence[Write]) -> int | None:
        """Make all writes at once if every condition holds; return the revision. None, and no write, if one fails."""
        bounds.check_txn(conditions, writes)
        request = wire.TxnRequest(
            compare=[
                wire.Compare(
                    key=self._key(condition.key),
                    result=wire.Compare.EQUAL,
                    target=wire.Compare.MOD,
                    mod_revision=condition.revision,
                )
                for condition in conditions
            ],
            success=[self._operation(write) for write in writes],
        )
        answer = await self._ask(calls.txn, request, twice=False)
        return int(answer.header.revision) if answer.succeeded else None

    async def grant(self, ttl_s: float) -> int:
        """Return a new lease; etcd counts whole seconds and gives at least two."""
        bounds.check_ttl(ttl_s)
        answer = await self._ask(calls.grant, wire.LeaseGrantRequest(TTL=math.ceil(ttl_s)))
        return int(answer.ID)

    async def keep(self, lease: int) -> None:
        """Keep a lease for its whole time from now on. LeaseGoneError when it has run out."""
        answer = await self._ask(calls.keep, wire.LeaseKeepAliveRequest(ID=lease))
        if answer.TTL <= 0:
            raise LeaseGoneError(f"the lease {lease:x} has run out")

    async def revoke(self, lease: int) -> None:
        """End a lease and delete its keys; one that is gone is no error."""
        try:
            await self._ask(calls.revoke, wire.LeaseRevokeRequest(ID=lease))
        except LeaseGoneError:
            return

    async def watch(self, prefix: str, revision: int) -> AsyncGenerator[tuple[Change, ...], None]:
        """Yield the changes under a prefix from ``revision`` on; an empty tuple at each sign of life."""
        key = self._key(prefix)
        create = wire.WatchCreateRequest(key=key, range_end=_after(key), start_revision=revision)
        number = self._members.pick()
        try:
            async with aclosing(self._answers(number, create)) as answers:
                async for answer in answers:
                    for changes in self._batches(answer, revision):
                        yield changes
        except grpc.aio.AioRpcError as error:
            found = self._failed(number, error)
            if found.then == "token":
                self._token = None
            raise found.error from error

    async def members(self) -> tuple[MemberStatus, ...]:
        """Ask every member how it is, all at once; one that does not answer is told with its error."""
        for _ in range(len(self._members)):
            try:
                await self._metadata(self._deadline_s / 2)
            except grpc.aio.AioRpcError as error:
                self._failed(self._members.pick(), error)
            else:
                break
        return tuple(await asyncio.gather(*(self._look(number) for number in range(len(self._members)))))

    async def _look(self, number: int) -> MemberStatus:
        url = self._members.name(number)
        try:
            async with asyncio.timeout(self._deadline_s):
                # Not _LEADER: one that has none is to say so.
                metadata = (("token", self._token),) if self._token else ()
                said = await calls.status(self._channel(number), metadata, self._deadline_s)
        except grpc.aio.AioRpcError as error:
            return MemberStatus(url, error=str(refusals.meaning(error, url).error))
        except (TimeoutError, StoreUnavailableError, StoreRefusedError) as error:
            return MemberStatus(url, error=str(error) or f"{url} did not answer in time")
        return MemberStatus(
            url,
            version=said.version,
            leads=said.leader == said.header.member_id,
            has_leader=said.leader != 0,
            revision=said.header.revision,
            size=said.dbSize,
            in_use=said.dbSizeInUse,
            alarms=tuple(said.errors),
        )

    async def close(self) -> None:
        """Let go of connections; calls under way fail, watches end."""
        self._closed = True
        await self._members.close()

    async def _answers(self, number: int, create: wire.WatchCreateRequest) -> AsyncGenerator[wire.WatchResponse, None]:
        """Yield what a watch answers; ask for a sign of life when it is silent, and give it up when none comes."""
        member = self._members.name(number)
        stream = calls.watch(self._channel(number), await self._metadata(self._deadline_s))
        reading: asyncio.Future[Any] = asyncio.ensure_future(stream.read())
        heard_ns = self._clock.now_ns()
        try:
            await self._say(stream, wire.WatchRequest(create_request=create))
            while True:
                await asyncio.wait((reading,), timeout=HEARTBEAT_S)
                if reading.cancelled():
                    raise StoreUnavailableError(self._why_closed())
                if reading.done():
                    answer = reading.result()
                    if not isinstance(answer, wire.WatchResponse):  # grpc.aio.EOF
                        raise StoreUnavailableError(f"{member} ended the watch")
                    heard_ns = self._clock.now_ns()
                    reading = asyncio.ensure_future(stream.read())
                    yield answer
                elif self._clock.now_ns() - heard_ns > SILENCE_S * NS_PER_S:
                    self._members.leave(number)
                    raise StoreUnavailableError(f"{member} has been silent for {SILENCE_S:g} s")
                else:
                    await self._say(stream, wire.WatchRequest(progress_request=wire.WatchProgressRequest()))
        finally:
            stream.cancel()
            await asyncio.wait((reading,))
            if not reading.cancelled():
                reading.exception()

    async def _say(self, stream: Any, request: wire.WatchRequest) -> None:
        try:
            async with asyncio.timeout(self._deadline_s):
                # The stream has ended: reading it tells why.
                with contextlib.suppress(asyncio.InvalidStateError):
                    await stream.write(request)
        except TimeoutError:
            raise StoreUnavailableError("the watch takes nothing any more") from None

    def _batches(self, answer: wire.WatchResponse, revision: int) -> Iterator[tuple[Change, ...]]:
        if answer.compact_revision:
            raise CompactedError(f"revision {revision} is forgotten; the history begins at {answer.compact_revision}")
        if answer.canceled:
            if "permission denied" in answer.cancel_reason:
                self._token = None  # etcd says the same of a token that it does not know
                raise StoreRefusedError(f"etcd refuses the watch: {answer.cancel_reason}")
            raise StoreUnavailableError(f"etcd ended the watch: {answer.cancel_reason}")
        if not answer.created and not answer.events and answer.header.revision < revision - 1:
            raise StoreUnavailableError("etcd has less history than it had: it was restored or wiped, or lags behind")
        changes: list[Change] = []
        for event in answer.events:
            if changes and changes[-1].revision != event.kv.mod_revision:
                yield tuple(changes)
                changes.clear()
            value = None if event.type == wire.Event.DELETE else event.kv.value
            changes.append(Change(self._name(event.kv.key), value, event.kv.mod_revision))
        yield tuple(changes)

    async def _ask(self, call: Call, request: Any, *, twice: bool = True) -> Any:
        """Ask members until one answers or the time is up. ``twice``: also when the one before may have done it."""
        await self._members.tidy()
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._ask_in_turn(call, request, twice=twice)
        except TimeoutError:
            raise StoreUnavailableError(f"no member answered within {self._deadline_s:g} s") from None

    async def _ask_in_turn(self, call: Call, request: Any, *, twice: bool) -> Any:
        ends_ns = self._clock.now_ns() + self._settings.timeout
        tries = len(self._members)
        logins = 1
        while True:
            number = self._members.pick()
            left_s = (ends_ns - self._clock.now_ns()) / NS_PER_S
            # A stalled member must not use up the time of the others, unless there is to be no other.
            within_s = left_s / 2 if twice and tries > 1 else left_s
            token = self._token
            try:
                metadata = await self._metadata(within_s)
                token = self._token
                return await call(self._channel(number), request, metadata, within_s)
            except grpc.aio.AioRpcError as error:
                found = self._failed(number, error)
                if found.then == "token" and self._settings.user and logins:
                    logins -= 1
                    if self._token == token:  # nobody else has a new one yet
                        self._token = None
                    continue
                tries -= 1
                if tries <= 0 or not (found.then == "unsent" or (found.then == "elsewhere" and twice)):
                    raise found.error from error
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                # It was not us who were cancelled, but the call: its channel was closed.
                raise StoreUnavailableError(self._why_closed()) from None

    def _failed(self, number: int, error: grpc.aio.AioRpcError) -> refusals.Meaning:
        """Return what an error means, and leave the member if it is the member's."""
        found = refusals.meaning(error, self._members.name(number))
        if found.then in ("unsent", "elsewhere"):
            self._members.leave(number)
        return found

    def _why_closed(self) -> str:
        return _CLOSED if self._closed else "the connection was closed, for its certificates were replaced"

    def _channel(self, number: int) -> grpc.aio.Channel:
        if self._closed:
            raise StoreUnavailableError(_CLOSED)
        return self._members.channel(number)

    async def _metadata(self, within_s: float) -> Metadata:
        """Return what goes with a call: that a leader is wanted, and our token, for which it logs in if need be.

        A token is good at every member, so those who waited for another's login that failed ask the member of now.
        """
        if self._settings.user and self._token is None:
            async with self._login:
                if self._token is None:
                    self._token = await self._log_in(self._members.pick(), within_s)
        return (_LEADER, ("token", self._token)) if self._token else (_LEADER,)

    async def _log_in(self, number: int, within_s: float) -> str:
        if self._logged_in:
            await self._clock.sleep(LOGIN_JITTER_S * self._clock.random())
        user, password = self._settings.user, self._settings.password
        try:
            token = await calls.authenticate(self._channel(number), user, password, within_s)
        except grpc.aio.AioRpcError as error:
            # A cluster whose operator has yet to enable it: go on without, as etcd's own client does.
            if "authentication is not enabled" in (error.details() or ""):
                return ""
            raise
        self._logged_in = True
        return token

    def _key(self, name: str) -> bytes:
        return (self._root + name).encode("utf-8", "surrogateescape")

    def _name(self, key: bytes) -> str:
        return key.decode("utf-8", "surrogateescape").removeprefix(self._root)

    def _item(self, kv: wire.KeyValue) -> Item:
        return Item(self._name(kv.key), kv.value, kv.mod_revision, kv.lease)

    def _operation(self, write: Write) -> wire.RequestOp:
        key = self._key(write.key)
        if write.value is None:
            return wire.RequestOp(request_delete_range=wire.DeleteRangeRequest(key=key))
        return wire.RequestOp(request_put=wire.PutRequest(key=key, value=write.value, lease=write.lease))


def _after(prefix: bytes) -> bytes:
    """Return the first key behind all that begin with a prefix; prefixes of ours end in ASCII, so it is there."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))
