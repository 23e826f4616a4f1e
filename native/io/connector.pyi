from collections.abc import Callable, Sequence

from native.io.preface import Preface
from native.io.reactor import Deferred, Pollable, Reactor
from native.io.stream_socket import SocketEvents
from native.io.timer_wheel import Timer
from native.io.tls import TlsContext

class Trial(Pollable): ...
class NextAddress(Timer): ...
class ConnectDeadline(Timer): ...
class ConnectedEvents(SocketEvents): ...

class Connector(Deferred):
    def __init__(
        self,
        reactor: Reactor,
        addresses: Sequence[tuple[int, str]],
        port: int,
        tls: TlsContext | None,
        server_name: bytes | None,
        deadline_ns: int,
        highest_fd: int,
        on_connected: Callable[[], SocketEvents],
        on_failed: Callable[[list[tuple[tuple[int, str] | None, OSError]], bool], None],
        preface: Preface | None = None,
    ) -> None: ...
    def start(self) -> None: ...
    def cancel(self) -> None: ...
