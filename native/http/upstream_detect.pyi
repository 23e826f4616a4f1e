# Gives a new upstream connection to the client of the protocol that TLS has agreed on.  Types of the compiled module.

from native.http.connection_pool import ConnectionPool
from native.io.stream_socket import SocketEvents

class UpstreamDetect(SocketEvents):
    def __init__(self, home: ConnectionPool, header_bytes: int, header_count: int) -> None: ...
    def socket_events(self) -> SocketEvents: ...
