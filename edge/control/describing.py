"""Asks the backends of gRPC services what they offer, so that clients of edge can ask edge by reflection.

One backend of each service is asked every five minutes, within a deadline, for the files that define it. What it says
is checked and bounded; a service whose backends do not reflect, or say too much, is left out. While no backend answers,
the last answer stays. Workers get the descriptors with the Snapshot. Source: grpc/grpc, doc/server-reflection.md.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from edge import clock
from edge.control.health import open_channel
from edge.telemetry import logs
from edge.terms.target_state import OPEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import grpc

    from edge.native import SharedState
    from edge.terms.snapshot import Snapshot, Target

    Described = Mapping[str, tuple[bytes, ...]]

_S: Final = 1_000_000_000
PERIOD_NS: Final = 300 * _S
# A backend that could not be asked, as at the start of a cluster, is asked again soon.
AGAIN_NS: Final = 15 * _S
FIRST_NS: Final = 2 * _S
LIMIT_S: Final = 3.0
AT_ONCE: Final = 4
MOST_FILES: Final = 256
MOST_BYTES: Final = 1024 * 1024
"""Of the files of one service."""
MOST_IN_ALL: Final = 4 * MOST_BYTES
"""Of all services; the Snapshot carries them."""
VERSIONS: Final = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
# Edge answers for these itself, or passes them to the service that names them.
_OWN: Final = ("edge.v1.", "grpc.health.v1.", "grpc.reflection.")


class TooMuchError(ValueError):
    """A backend's description of a service is too large, or not valid."""


class Describing:
    """Asks at most :data:`AT_ONCE` backends at a time.

    Args:
        shared_state: tells which targets are in rotation.
        known: the descriptions of an earlier control process.
        changed: called with all descriptions after a change.
    """

    def __init__(self, shared_state: SharedState, known: Described, changed: Callable[[Described], None]) -> None:
        self._shared_state = shared_state
        self._known = dict(known)
        self._changed = changed
        self._due_ns: dict[str, int] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._doubted: set[str] = set()

    def tend(self, snapshot: Snapshot, now_ns: int, chance: Callable[[], float]) -> None:
        """Start the questions that are due. Called once a second.

        Args:
            snapshot: names the services and their targets.
            now_ns: monotonic nanoseconds.
            chance: returns a random number in [0, 1), for jitter.
        """
        routes: dict[str, int] = {}
        for match in snapshot.services:
            service = match.grpc.partition("/")[0]
            if service and not service.startswith(_OWN):
                routes.setdefault(service, match.route)
        self._due_ns = {name: self._due_ns.get(name, now_ns + int(FIRST_NS * chance())) for name in routes}
        self._known = {name: files for name, files in self._known.items() if name in routes}
        for name, due_ns in sorted(self._due_ns.items(), key=lambda item: item[1]):
            if due_ns > now_ns or name in self._running or len(self._running) >= AT_ONCE:
                continue
            members = snapshot.routes[routes[name]].members
            usable = [snapshot.targets[member.target] for member in members]
            usable = [target for target in usable if self._is_usable(target, now_ns)]
            self._due_ns[name] = now_ns + int((PERIOD_NS if usable else AGAIN_NS) * (0.75 + chance() / 2))
            if usable:
                target = usable[int(chance() * len(usable))]
                self._running[name] = task = asyncio.get_running_loop().create_task(self._ask(name, target))
                task.add_done_callback(partial(self._forget, name))

    async def stop(self) -> None:
        """Cancel what runs."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_usable(self, target: Target, now_ns: int) -> bool:
        view = self._shared_state.read_target(target.slot, now_ns)
        return view["state"] != OPEN.label and view["quarantined_until_ns"] <= now_ns

    def _forget(self, name: str, task: asyncio.Task[None]) -> None:
        self._running.pop(name, None)
        if not task.cancelled() and task.exception() is not None:
            logs.say(logs.WARNING, "reflection failed", service=name, error=repr(task.exception()))

    async def _ask(self, name: str, target: Target) -> None:
        import grpc  # noqa: PLC0415  # most nodes have no gRPC service, and it takes about 10 MiB

        channel = open_channel(target)
        files: tuple[bytes, ...] = ()
        try:
            async with asyncio.timeout(LIMIT_S):
                files = await described(channel, name)
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            if isinstance(error, TimeoutError) or error.code() in _passing():
                self._due_ns[name] = clock.now_ns() + AGAIN_NS
                return
            logs.say(logs.DEBUG, "no reflection", service=name, target=target.id, code=error.code().name)
        except TooMuchError as error:
            logs.say(logs.WARNING, "a service is left out of reflection", service=name, error=str(error))
        finally:
            await channel.close(None)
        if files:
            self._doubted.discard(name)
        elif name not in self._doubted:
            self._doubted.add(name)  # it may be a server that has just begun, and is asked once more
            self._due_ns[name] = clock.now_ns() + AGAIN_NS
            return
        others = sum(len(file) for other, held in self._known.items() if other != name for file in held)
        if files and others + sum(map(len, files)) > MOST_IN_ALL:
            logs.say(logs.WARNING, "a service is left out of reflection", service=name, error="all are over 4 MiB")
            files = ()
        if files == self._known.get(name, ()):
            return
        self._known.pop(name, None)
        if files:
            self._known[name] = files
        self._changed(dict(self._known))


def _passing() -> tuple[grpc.StatusCode, ...]:
    """Return the statuses that say nothing about whether a backend reflects."""
    import grpc  # noqa: PLC0415  # as above

    return grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED


async def described(channel: grpc.aio.Channel, service: str) -> tuple[bytes, ...]:
    """Return the files that define a service, each behind its imports; empty: the server does not know it.

    Raises:
        AioRpcError: the server has no reflection, or cannot be asked.
        TooMuchError: its answer is too large or not valid.
    """
    import grpc  # noqa: PLC0415  # as above

    # A call that the server ended before the question was written fails with INTERNAL in grpc.aio, whatever its status.
    unknown = grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL
    for version in VERSIONS:
        try:
            return await _files(channel, version, service)
        except grpc.aio.AioRpcError as error:
            if error.code() not in unknown or version == VERSIONS[-1]:
                raise
    return ()


async def _files(channel: grpc.aio.Channel, version: str, service: str) -> tuple[bytes, ...]:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto  # noqa: PLC0415  # as above
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from grpc_reflection.v1alpha import reflection_pb2  # noqa: PLC0415

    Request, Response = reflection_pb2.ServerReflectionRequest, reflection_pb2.ServerReflectionResponse  # noqa: N806
    ask: Any = channel.stream_stream(
        f"/{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=Request.SerializeToString,
        response_deserializer=Response.FromString,
    )
    call = ask(timeout=LIMIT_S)
    found: dict[str, FileDescriptorProto] = {}
    wanted = [Request(file_containing_symbol=service)]
    size = 0
    while wanted:
        with contextlib.suppress(asyncio.InvalidStateError):  # the call has ended already; reading raises its status
            await call.write(wanted.pop())
        answer: Any = await call.read()
        if not isinstance(answer, Response):
            raise TooMuchError("the server ended the call without an answer")
        if answer.WhichOneof("message_response") != "file_descriptor_response":
            if not found:
                call.cancel()
                return ()
            raise TooMuchError("an imported file cannot be had")
        for data in answer.file_descriptor_response.file_descriptor_proto:
            try:
                file = FileDescriptorProto.FromString(data)
            except DecodeError as error:
                raise TooMuchError("a file is no descriptor") from error
            size += len(data)
            found.setdefault(file.name, file)
        if size > MOST_BYTES or len(found) > MOST_FILES:
            raise TooMuchError(f"its files are more than {MOST_FILES}, or larger than {MOST_BYTES} bytes")
        missing = {name for file in found.values() for name in file.dependency} - found.keys()
        wanted = [Request(file_by_filename=name) for name in sorted(missing)[:1]]
        if wanted and not answer.file_descriptor_response.file_descriptor_proto:
            raise TooMuchError("an imported file cannot be had")
    await call.done_writing()
    call.cancel()
    return _checked(found, service)


def _checked(found: Mapping[str, Any], service: str) -> tuple[bytes, ...]:
    """Return the files in an order in which each stands behind its imports, if they define the service."""
    from google.protobuf.descriptor_pool import DescriptorPool  # noqa: PLC0415  # as above

    pool, left, ordered = DescriptorPool(), dict(found), list[bytes]()
    while left:
        ready = [name for name, file in left.items() if not left.keys() & set(file.dependency)]
        if not ready:
            raise TooMuchError("its files import each other in a circle")
        for name in ready:
            data = left.pop(name).SerializeToString()
            try:
                pool.AddSerializedFile(data)
            except TypeError as error:
                raise TooMuchError(f"the file {name[:200]!r} is not valid") from error
            ordered.append(data)
    try:
        pool.FindServiceByName(service)
    except KeyError as error:
        raise TooMuchError("its files do not define it") from error
    return tuple(ordered)
