# Drives an upstream's HTTP/1.1 connection.  Types of the compiled module.

from asyncio import Protocol

from native.http.connection_pool import ConnectionPool

class ReceivedResponse: ...

class Http1Client(Protocol):
    # The protocol object of one upstream connection.

    def __init__(self, home: ConnectionPool, header_bytes: int, header_count: int) -> None: ...
