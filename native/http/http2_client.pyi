# How does an upstream's HTTP/2 connection look on the wire?  Types of the compiled module.

from native.http.connection_pool import ConnectionPool
from native.http.http2_connection import Http2Wire

class Http2Client(Http2Wire):
    # The protocol object of one upstream connection.

    def __init__(self, home: ConnectionPool, header_bytes: int, header_count: int) -> None: ...
