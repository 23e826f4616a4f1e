# How does a client's HTTP/1.1 connection look on the wire?  Types of the compiled module.

from asyncio import Protocol

from native.stream import Acceptor, ServerStream

class Refused(Exception): ...
class Http1Stream(ServerStream): ...

class Http1Server(Protocol):
    # The protocol object of one client connection.

    def __init__(self, acceptor: Acceptor) -> None: ...
    def retire(self) -> None: ...
