# Which wire does this client speak?  Types of the compiled module.

from asyncio import Protocol

from native.http.stream import Acceptor

class ProtocolDetect(Protocol):
    # The protocol object of a connection that has said nothing yet.

    def __init__(self, acceptor: Acceptor, allow_anonymous: bool = False) -> None: ...
    def retire(self) -> None: ...
    def kill(self) -> None: ...
