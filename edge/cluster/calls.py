"""The calls of etcd's gRPC API that edge uses, one function each, on a channel to one member; errors are gRPC's."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from edge.errors import StoreUnavailableError
from edge.wire.etcd import rpc_pb2 as wire
from edge.wire.etcd import rpc_pb2_grpc as stubs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import grpc.aio

    Metadata = tuple[tuple[str, str], ...]
    Call = Callable[[grpc.aio.Channel, Any, Metadata, float], Awaitable[Any]]


async def list_range(channel: grpc.aio.Channel, request: Any, metadata: Metadata, within_s: float) -> Any:
    """Read one key, or all keys of a range."""
    return await stubs.KVStub(channel).Range(request, metadata=metadata, timeout=within_s)


async def put(channel: grpc.aio.Channel, request: Any, metadata: Metadata, within_s: float) -> Any:
    """Write a key."""
    return await stubs.KVStub(channel).Put(request, metadata=metadata, timeout=within_s)


async def delete(channel: grpc.aio.Channel, request: Any, metadata: Metadata, within_s: float) -> Any:
    """Delete a key."""
    return await stubs.KVStub(channel).DeleteRange(request, metadata=metadata, timeout=within_s)


async def txn(channel: grpc.aio.Channel, request: Any, metadata: Metadata, within_s: float) -> Any:
    """Write several keys if all conditions hold."""
    return await stubs.KVStub(channel).Txn(request, metadata=metadata, timeout=within_s)


async def grant(channel: grpc.aio.Channel, request: Any, metadata: Metadata, within_s: float) -> Any:
    """Create a lease."""
    return await stubs.LeaseStub(channel).LeaseGrant(request, metadata=metadata, timeout=within_s)


async def revoke(channel: grpc.aio.Channel, request: Any, metadata: Metadata, within_s: float) -> Any:
    """End a lease."""
    return await stubs.LeaseStub(channel).LeaseRevoke(request, metadata=metadata, timeout=within_s)


async def keep(channel: grpc.aio.Channel, request: Any, metadata: Metadata, within_s: float) -> Any:
    """Renew a lease once: etcd's API is a stream, of which one request and one response are used."""
    stream = stubs.LeaseStub(channel).LeaseKeepAlive(metadata=metadata, timeout=within_s)
    try:
        # The stream has ended already; reading it raises the reason.
        with contextlib.suppress(asyncio.InvalidStateError):
            await stream.write(request)
        answer = await stream.read()
    finally:
        stream.cancel()
    if not isinstance(answer, wire.LeaseKeepAliveResponse):  # grpc.aio.EOF
        raise StoreUnavailableError("etcd ended the stream that renews leases")
    return answer


async def authenticate(channel: grpc.aio.Channel, name: str, password: str, within_s: float) -> str:
    """Return an authentication token for this user."""
    request = wire.AuthenticateRequest(name=name, password=password)
    answer = await stubs.AuthStub(channel).Authenticate(request, timeout=within_s)
    return str(answer.token)


async def status(channel: grpc.aio.Channel, metadata: Metadata, within_s: float) -> wire.StatusResponse:
    """Return the status of a member; it answers by itself, with or without a leader."""
    answer: wire.StatusResponse = await stubs.MaintenanceStub(channel).Status(
        wire.StatusRequest(), metadata=metadata, timeout=within_s
    )
    return answer


def watch(channel: grpc.aio.Channel, metadata: Metadata) -> Any:
    """Open a stream of watches, without a deadline."""
    return stubs.WatchStub(channel).Watch(metadata=metadata)
