# Serves a client's HTTP/2 connection.  Types of the compiled module.

from native.http.connection_slot import ConnectionSlot
from native.http.http2_connection import Http2Connection
from native.http.listen_policy import ListenPolicy
from native.http.stream import Acceptor, ClientCertificate, ServerStream
from native.io.stream_socket import SocketEvents

class Http2Stream(ServerStream): ...

class Http2Server(Http2Connection):
    # One client connection.

    def __init__(
        self,
        acceptor: Acceptor,
        policy: ListenPolicy,
        slot: ConnectionSlot,
        certificate: ClientCertificate | None = None,
    ) -> None: ...
    def socket_events(self) -> SocketEvents: ...
    def check_deadlines(self, now_ns: int) -> None: ...
    def retire(self) -> None: ...
    def evict(self) -> None: ...
    def kill(self) -> None: ...
