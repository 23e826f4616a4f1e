# What does one worker's data path share between its exchanges?  Types of the compiled module; see data_plane.pxd.

from asyncio import AbstractEventLoop, BaseProtocol
from collections.abc import Callable

from native.http.stream import Acceptor
from native.proxy.router import Router
from native.state.shared_state import SharedState

class DataPlaneCore(Acceptor):
    # The shared part of a worker's data path; ``native.proxy.exchange.DataPlane`` is the one to use.

    def __init__(
        self,
        shared_state: SharedState,
        worker: int,
        router: Router,
        *,
        opener: object,
        local: Callable[..., tuple[int, list[tuple[bytes, bytes]], bytes]],
        reply: object,
        rest: Callable[[list[tuple[bytes, bytes]]], float | None],
        calls: object = None,
        named: Callable[[tuple[tuple[str, str], ...], tuple[str, ...]], bool] | None = None,
        records: Callable[[list[tuple[object, ...]]], bool] | None = None,
    ) -> None: ...
    def protocol(self, allow_anonymous: bool = False) -> BaseProtocol: ...
    def swap(self, router: Router) -> None: ...
    def start(self, loop: AbstractEventLoop) -> None: ...
    def stop(self) -> None: ...
    def leave(self) -> None: ...
    def drain(self) -> None: ...
    @property
    def connections(self) -> int: ...
    @property
    def active(self) -> int: ...
    @property
    def shared_state(self) -> SharedState: ...
    @property
    def worker(self) -> int: ...
    @property
    def router(self) -> Router: ...
