# Defines the four roles between the wire and an exchange.  Types of the compiled module; the contract is in stream.pxd.

from native.io.timer_wheel import Wheel

class Share: ...
class ClientCertificate: ...
class ServerEvents: ...

class ServerStream:
    # Sends the answer of one exchange.

    @property
    def scheme(self) -> str: ...

class ClientEvents: ...

class ClientStream:
    # Sends the request of one attempt.

    @property
    def reused(self) -> bool: ...
    @property
    def refused(self) -> bool: ...
    @property
    def connection_ended(self) -> bool: ...
    @property
    def reset_code(self) -> int: ...

class Acceptor:
    # The data plane as a server connection sees it.

    @property
    def coarse(self) -> Wheel: ...
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

def first_slow(buffered: int, limit: int, steps: list[tuple[int, int, int]], shared: int = -1) -> int: ...
