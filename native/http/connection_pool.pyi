# Keeps the upstream connections of one worker to one target. The contract is in connection_pool.pxd.

from collections.abc import Callable
from typing import Protocol

from edge.terms.snapshot import Target
from native.http.stream import ClientStream
from native.io.stream_socket import SocketEvents

class Opener(Protocol):
    # Starts connections; each ends in a call of the pool's ``connection`` or ``failed``.

    def open(self, pool: ConnectionPool, /) -> None: ...

class Client(Protocol):
    # Http1Client or Http2Client.

    def socket_events(self) -> SocketEvents: ...

class PooledConnection(ClientStream): ...

class ConnectionPool:
    # Upstream connections of one worker to one target; ``plan`` says where and how.

    connect_ns: int
    idle_limit_ns: int
    age_limit_ns: int
    silence_ns: int
    pong_ns: int
    drain_limit_ns: int
    tail_ns: int
    def __init__(
        self,
        name: str,
        plan: Target,
        opener: Opener,
        factory: Callable[[ConnectionPool], Client],
        verdicts: bytes,
        hints: tuple[tuple[int, bytes, int], ...],
    ) -> None: ...
    def learn_words(self, wordings: tuple[tuple[tuple[int, ...], tuple[bytes, ...], int, int], ...]) -> None: ...
    def connection(self) -> SocketEvents: ...
    def failed(self, reason: str, timed_out: bool = False, local: bool = False) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def plan(self) -> Target: ...
    @property
    def live(self) -> int: ...
    @property
    def opening(self) -> int: ...
    @property
    def cap(self) -> int: ...
    @property
    def idle_count(self) -> int: ...
    @property
    def authority(self) -> bytes: ...
    @property
    def base_path(self) -> bytes: ...
    @property
    def model(self) -> bytes: ...
    @property
    def fields(self) -> list[tuple[bytes, bytes]]: ...
    @property
    def verdicts(self) -> bytes: ...
    @property
    def hints(self) -> tuple[tuple[int, bytes, int], ...]: ...
    @property
    def wordings(self) -> dict[int, list[tuple[tuple[bytes, ...], int]]]: ...
    @property
    def is_service(self) -> bool: ...
