"""Faults and counts of a simulated gRPC service.

A fault is an edge.sim.v1.Fault, set for all calls by the Switch, or for one call by its metadata ``sim-fault-bin``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import grpc

from edge.wire.edge.sim.v1 import service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

METADATA: Final = "sim-fault-bin"
CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_FOREVER_S: Final = 86_400.0  # grpc.aio cancels the call when its deadline expires or its caller leaves
_NO_LINGER: Final = struct.pack("ii", 1, 0)


class ServiceFaults:
    """The active fault, and the counts."""

    def __init__(self, fault: service_pb2.Fault | None = None) -> None:
        self.fault = fault if fault is not None else service_pb2.Fault()
        self.calls: Counter[str] = Counter()
        self.running = 0
        self.struck = 0

    @contextlib.asynccontextmanager
    async def call(self, method: str, told: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Call]:
        """Count a call while it runs, and decide whether a fault applies to it.

        Args:
            method: full name of the method, ``/package.Service/Method``.
            told: the call's context from grpc.aio.
        """
        self.calls[method] += 1
        self.running += 1
        try:
            fault = self._fault_for(method, told)
            if fault is not None:
                self.struck += 1
            yield Call(fault, told)
        finally:
            self.running -= 1

    def _fault_for(self, method: str, told: grpc.aio.ServicerContext[Any, Any]) -> service_pb2.Fault | None:
        fault = self.fault
        for name, value in told.invocation_metadata() or ():
            if name == METADATA and isinstance(value, bytes):
                fault = service_pb2.Fault.FromString(value)
        hit = fault.ByteSize() > 0 and method.startswith(fault.method)
        return fault if hit and (fault.rate <= 0 or random.random() < fault.rate) else None


class Call:
    """One call; a method awaits :meth:`message` before each message that it sends."""

    def __init__(self, fault: service_pb2.Fault | None, told: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._fault = fault
        self._told = told
        self._sent = 0

    async def message(self) -> None:
        """Wait, abort the call, or return, as the fault specifies."""
        fault = self._fault
        if fault is None:
            return
        if fault.latency_s > 0:
            await asyncio.sleep(fault.latency_s)
        self._sent += 1
        if self._sent <= fault.after:
            return
        if fault.blackhole:
            await asyncio.sleep(_FOREVER_S)
        if fault.reset:
            cut(self._told.peer())
            await asyncio.sleep(_FOREVER_S)
        if fault.status:
            await self._told.abort(CODES.get(fault.status, grpc.StatusCode.UNKNOWN), fault.message or "simulated")


def cut(peer: str) -> None:
    """Break this process's TCP connection to ``peer`` ("ipv4:HOST:PORT", "ipv6:[HOST]:PORT") without a GOAWAY.

    gRPC has no function for this, so the connection is searched among the open descriptors.
    """
    port = int(peer.rpartition(":")[2])
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  # numbers, not paths
        try:
            sock = socket.socket(fileno=os.dup(int(name)))
        except OSError:  # closed meanwhile, or not a socket
            continue
        with sock:
            try:
                found = sock.type == socket.SOCK_STREAM and sock.getpeername()[1:2] == (port,)
            except OSError:  # not connected
                continue
            if found and sock.family in {socket.AF_INET, socket.AF_INET6}:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                sock.shutdown(socket.SHUT_RDWR)
