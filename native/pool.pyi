# Which connection carries this attempt?  Types of the compiled module; the contract is in pool.pxd.

from asyncio import BaseProtocol
from collections.abc import Callable

from native.balancer import Target
from native.stream import ClientStream

class PooledConnection(ClientStream): ...

class ConnectionPool:
    # Upstream connections of one worker to one target; ``plan`` is its edge.terms.snapshot.Target.

    connect_ns: int
    idle_limit_ns: int
    age_limit_ns: int
    silence_ns: int
    pong_ns: int
    dregs_ns: int
    tail_ns: int
    def __init__(
        self,
        target: Target,
        opener: object,
        factory: Callable[[ConnectionPool], BaseProtocol],
        verdicts: bytes,
        hints: tuple[tuple[int, bytes, int], ...],
    ) -> None: ...
    def protocol(self) -> BaseProtocol: ...
    def failed(self, reason: str, timed_out: bool = False) -> None: ...
    @property
    def plan(self) -> object: ...
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
    def is_service(self) -> bool: ...
