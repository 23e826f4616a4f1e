# Runs exchanges in virtual time and without sockets.  Types of the compiled module; see virtual_wire.pxd.

from typing import Any, Protocol

from edge.terms.snapshot import Listener
from native.http.connection_pool import ConnectionPool
from native.proxy.data_plane import DataPlane

class Model(Protocol):
    # What stands in place of clients and upstreams. It is called while an exchange acts, so it may note and schedule,
    # and answers at a later time only.
    def asked(self, connection: VirtualConnection, /) -> None:
        # A whole request has come on the connection.
        ...
    def left(self, connection: VirtualConnection, /) -> None:
        # The request on the connection has been abandoned, and the connection closed.
        ...
    def ended(self, call: Call, /) -> None:
        # The client's answer is over.
        ...

class Call:
    number: int
    status: int
    fields: list[tuple[bytes, bytes]]
    last: bytes | None
    begun_ns: int
    first_ns: int
    ended_ns: int
    complete: bool
    def leave(self) -> None: ...

class VirtualConnection:
    owner: Any
    path: bytes
    body: bytes
    @property
    def target(self) -> str: ...
    def answer(self, status: int, fields: list[tuple[bytes, bytes]]) -> None: ...
    def send(self, data: bytes) -> None: ...
    def finish(self) -> None: ...
    def reset(self, detail: str) -> None: ...

class VirtualWire:
    now_ns: int
    def __init__(
        self, plane: DataPlane, model: Model, listener: Listener, now_ns: int, wall_ns: int, seed: int
    ) -> None: ...
    def call(self, path: bytes, fields: list[tuple[bytes, bytes]], body: bytes, number: int) -> Call: ...
    def connected(self, pool: ConnectionPool) -> VirtualConnection: ...
    def refused(self, pool: ConnectionPool, reason: str) -> None: ...
    def advance(self, until_ns: int) -> bool: ...
