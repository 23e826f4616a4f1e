# Serves a client's HTTP/1.1 connection.  Types of the compiled module.

from asyncio import Protocol

from native.http.stream import Acceptor, ClientCertificate, ServerStream

class Http1Stream(ServerStream): ...

class Http1Server(Protocol):
    # The protocol object of one client connection.

    def __init__(
        self, acceptor: Acceptor, allow_anonymous: bool = False, certificate: ClientCertificate | None = None
    ) -> None: ...
    def check_deadlines(self, now_ns: int) -> None: ...
    def retire(self) -> None: ...
    def kill(self) -> None: ...
