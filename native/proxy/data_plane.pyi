# Runs a worker's data path.  Types of the compiled module; see data_plane.pxd.

from socket import socket

from edge.terms.snapshot import Listener as ListenerPlan
from native.http.connection_pool import Opener
from native.http.stream import Acceptor
from native.io.listener import Listener
from native.io.reactor import Reactor, Ticker
from native.io.tls import TlsContext
from native.proxy.hooks import Hooks
from native.proxy.router import Router
from native.proxy.runtime import Runtime
from native.state.shared_state import SharedState

class DataPlaneTick(Ticker): ...

class DataPlane(Acceptor):
    # A worker's data path: ``start`` it, then ``listen``.

    def __init__(
        self, shared_state: SharedState, worker: int, router: Router, *, opener: Opener, hooks: Hooks
    ) -> None: ...
    def listen(self, sock: socket, backlog: int, plan: ListenerPlan, tls: TlsContext | None = None) -> Listener: ...
    def swap(self, router: Router) -> None: ...
    def note_refusal(
        self,
        fields: list[tuple[bytes, bytes]],
        peer: tuple[str, int] | None,
        scheme: str,
        version: int,
        status: int,
        reason: str,
        size: int,
    ) -> None: ...
    def start(self, reactor: Reactor) -> None: ...
    def stop(self) -> None: ...
    def leave(self) -> None: ...
    def drain(self) -> None: ...
    def cut(self) -> None: ...
    @property
    def connections(self) -> int: ...
    @property
    def active(self) -> int: ...
    @property
    def router(self) -> Router: ...
    @property
    def runtime(self) -> Runtime: ...
