# Drives an upstream's HTTP/2 connection.  Types of the compiled module.

from native.http.connection_pool import ConnectionPool
from native.http.http2_connection import Http2Connection
from native.http.stream import ClientStream
from native.io.stream_socket import SocketEvents

class Http2Call(ClientStream): ...

class Http2Client(Http2Connection):
    # One upstream connection.

    def __init__(self, home: ConnectionPool, header_bytes: int, header_count: int) -> None: ...
    def socket_events(self) -> SocketEvents: ...
    def fail_unsubmitted(self, call: Http2Call) -> None: ...
