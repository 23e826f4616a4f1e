"""The Store over etcd's gRPC API; ``calls`` holds the calls, ``refusals`` the meaning of errors.

Each operation has one deadline for all of its attempts. Idempotent operations (reads, puts, leases) are retried at
another member when one fails. A transaction or a deletion is retried only if it was certainly not sent, because a
second attempt could see the result of the first. A watch asks its member for a progress report every second, since
TCP alone takes minutes to notice a stalled host, and abandons the member after three seconds of silence.

Calls require a member that has a leader (``hasleader``): a member that is cut off from the others then fails at once,
instead of keeping a watch open that will never deliver. docs/decisions/etcd-client.md says why this is not an existing
client library.
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
# Keys in one answer: with values of a few hundred bytes far below any limit, and soon there over a slow connection.
PER_PAGE: Final = 5000
# etcd hashes the password at each login, with 100 ms of CPU: nodes whose tokens expired together must log in staggered.
LOGIN_JITTER_S: Final = 0.3
_LEADER: Final = ("hasleader", "true")
_CLOSED: Final = "the store is closed"


class EtcdStore:
    """A client of etcd; implements ``edge.terms.ports.Store``. It connects at the first call.

    ``root`` stands before every key; None: the prefix of the settings and a slash.
    """

    def __init__(self, settings: Etcd, clock: Clock = real, *, root: str | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self._root = f"{settings.prefix}/" if root is None else root
        self._deadline_s = settings.timeout / NS_PER_S
        self._members = Members(settings, clock)
        self._token: str | None = None
        self._logged_in = False
        self._login = asyncio.Lock()
        self._closed = False

    async def get(self, key: str) -> Item | None:
        """Return a key, or None if it does not exist."""
        bounds.check_key(key)
        answer = await self._ask(calls.list_range, wire.RangeRequest(key=self._key(key)))
        return self._item(answer.kvs[0]) if answer.kvs else None

    async def list(self, prefix: str) -> Listing:
        """Return all keys under a prefix, at one revision; they are read in pages, so their number has no bound.

        A page is asked for before the one that came is decoded.
        """
        key, end = self._key(prefix), _after(self._key(prefix))
        items: list[Item] = []
        answer = await self._ask(calls.list_range, wire.RangeRequest(key=key, range_end=end, limit=PER_PAGE))
        revision = answer.header.revision
        while answer.more and answer.kvs:
            key = answer.kvs[-1].key + b"\0"
            request = wire.RangeRequest(key=key, range_end=end, limit=PER_PAGE, revision=revision)
            asked = asyncio.ensure_future(self._ask(calls.list_range, request))
            try:
                await asyncio.sleep(0)  # so that it is sent
                items += map(self._item, answer.kvs)
                answer = await asked
            finally:
                asked.cancel()
        items += map(self._item, answer.kvs)
        return Listing(tuple(items), revision)

    async def put(self, key: str, value: bytes, *, lease: int = 0) -> int:
        """Write a key, optionally under a lease; return the revision."""
        bounds.check_key(key)
        bounds.check_value(key, value)
        answer = await self._ask(calls.put, wire.PutRequest(key=self._key(key), value=value, lease=lease))
        return int(answer.header.revision)

    async def delete(self, key: str) -> bool:
        """Delete a key; return False if it did not exist."""
        bounds.check_key(key)
        answer = await self._ask(calls.delete, wire.DeleteRangeRequest(key=self._key(key)), twice=False)
        return bool(answer.deleted)

    async def txn(self, conditions: Sequence[Unchanged], writes: Sequence[Write]) -> int | None:
        """Apply all writes atomically if every condition holds and return the revision; else write nothing: None."""
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
        """Return a new lease; etcd counts in whole seconds and grants at least two."""
        bounds.check_ttl(ttl_s)
        answer = await self._ask(calls.grant, wire.LeaseGrantRequest(TTL=math.ceil(ttl_s)))
        return int(answer.ID)

    async def keep(self, lease: int) -> None:
        """Renew a lease for its full time.

        Raises:
            LeaseGoneError: the lease has expired.
        """
        answer = await self._ask(calls.keep, wire.LeaseKeepAliveRequest(ID=lease))
        if answer.TTL <= 0:
            raise LeaseGoneError(f"lease {lease:x} has expired")

    async def revoke(self, lease: int) -> None:
        """End a lease and delete its keys; a lease that does not exist is no error."""
        try:
            await self._ask(calls.revoke, wire.LeaseRevokeRequest(ID=lease))
        except LeaseGoneError:
            return

    async def watch(self, prefix: str, revision: int) -> AsyncGenerator[tuple[Change, ...], None]:
        """Yield the changes under a prefix from ``revision`` on, and an empty tuple for each progress report."""
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
        """Return the status of every member, asked in parallel; a member that does not respond carries its error."""
        for _ in range(len(self._members)):
            try:
                await self._metadata(self._deadline_s / 2)
            except grpc.aio.AioRpcError as error:
                self._failed(self._members.pick(), error)
            else:
                break
        return tuple(await asyncio.gather(*(self._status(number) for number in range(len(self._members)))))

    async def _status(self, number: int) -> MemberStatus:
        url = self._members.name(number)
        try:
            async with asyncio.timeout(self._deadline_s):
                # Without _LEADER: a member that has no leader must be able to say so.
                metadata = (("token", self._token),) if self._token else ()
                status = await calls.status(self._channel(number), metadata, self._deadline_s)
        except grpc.aio.AioRpcError as error:
            return MemberStatus(url, error=str(refusals.meaning(error, url).error))
        except (TimeoutError, StoreUnavailableError, StoreRefusedError) as error:
            return MemberStatus(url, error=str(error) or f"{url} did not respond in time")
        return MemberStatus(
            url,
            version=status.version,
            leads=status.leader == status.header.member_id,
            has_leader=status.leader != 0,
            revision=status.header.revision,
            size=status.dbSize,
            in_use=status.dbSizeInUse,
            alarms=tuple(status.errors),
        )

    async def close(self) -> None:
        """Close all connections; calls in progress fail, watches end."""
        self._closed = True
        await self._members.close()

    async def _answers(self, number: int, create: wire.WatchCreateRequest) -> AsyncGenerator[wire.WatchResponse, None]:
        """Yield the responses of a watch; request progress while it is silent, and give up if none arrives."""
        member = self._members.name(number)
        stream = calls.watch(self._channel(number), await self._metadata(self._deadline_s))
        reading: asyncio.Future[Any] = asyncio.ensure_future(stream.read())
        heard_ns = self._clock.now_ns()
        try:
            await self._send(stream, wire.WatchRequest(create_request=create))
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
                    await self._send(stream, wire.WatchRequest(progress_request=wire.WatchProgressRequest()))
        finally:
            stream.cancel()
            await asyncio.wait((reading,))
            if not reading.cancelled():
                reading.exception()

    async def _send(self, stream: Any, request: wire.WatchRequest) -> None:
        try:
            async with asyncio.timeout(self._deadline_s):
                # The stream has ended already; reading it raises the reason.
                with contextlib.suppress(asyncio.InvalidStateError):
                    await stream.write(request)
        except TimeoutError:
            raise StoreUnavailableError("the watch no longer accepts requests") from None

    def _batches(self, answer: wire.WatchResponse, revision: int) -> Iterator[tuple[Change, ...]]:
        if answer.compact_revision:
            raise CompactedError(f"revision {revision} was compacted; the history begins at {answer.compact_revision}")
        if answer.canceled:
            if "permission denied" in answer.cancel_reason:
                self._token = None  # etcd gives the same reason for an invalid token
                raise StoreRefusedError(f"etcd rejects the watch: {answer.cancel_reason}")
            raise StoreUnavailableError(f"etcd ended the watch: {answer.cancel_reason}")
        if not answer.created and not answer.events and answer.header.revision < revision - 1:
            raise StoreUnavailableError("etcd's history is shorter than before: it was restored, wiped, or lags behind")
        changes: list[Change] = []
        for event in answer.events:
            if changes and changes[-1].revision != event.kv.mod_revision:
                yield tuple(changes)
                changes.clear()
            value = None if event.type == wire.Event.DELETE else event.kv.value
            changes.append(Change(self._name(event.kv.key), value, event.kv.mod_revision))
        yield tuple(changes)

    async def _ask(self, call: Call, request: Any, *, twice: bool = True) -> Any:
        """Call members until one responds or the deadline passes. ``twice``: the request may be applied twice."""
        await self._members.tidy()
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._ask_in_turn(call, request, twice=twice)
        except TimeoutError:
            raise StoreUnavailableError(f"no member responded within {self._deadline_s:g} s") from None

    async def _ask_in_turn(self, call: Call, request: Any, *, twice: bool) -> Any:
        ends_ns = self._clock.now_ns() + self._settings.timeout
        tries = len(self._members)
        logins = 1
        while True:
            number = self._members.pick()
            left_s = (ends_ns - self._clock.now_ns()) / NS_PER_S
            # A stalled member may use only half of the time left, unless it is the last to be tried.
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
                    if self._token == token:  # no other call has logged in again meanwhile
                        self._token = None
                    continue
                tries -= 1
                if tries <= 0 or not (found.then == "unsent" or (found.then == "elsewhere" and twice)):
                    raise found.error from error
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                # The task was not cancelled; the call was, because its channel was closed.
                raise StoreUnavailableError(self._why_closed()) from None

    def _failed(self, number: int, error: grpc.aio.AioRpcError) -> refusals.Meaning:
        """Return the meaning of an error; after an error of the member itself, use another member."""
        found = refusals.meaning(error, self._members.name(number))
        if found.then in ("unsent", "elsewhere"):
            self._members.leave(number)
        return found

    def _why_closed(self) -> str:
        return _CLOSED if self._closed else "the connection was closed because its certificates were replaced"

    def _channel(self, number: int) -> grpc.aio.Channel:
        if self._closed:
            raise StoreUnavailableError(_CLOSED)
        return self._members.channel(number)

    async def _metadata(self, within_s: float) -> Metadata:
        """Return the metadata of a call: a leader is required, and the token, after a login if there is none.

        A token is valid at every member. A task that waited for a failed login tries the member that is current now.
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
            # The operator has not enabled authentication yet: go on without it, as etcd's own client does.
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
    """Return the first key behind all keys with this prefix; our prefixes end in ASCII, so incrementing is safe."""
    return prefix[:-1] + bytes((prefix[-1] + 1,))
