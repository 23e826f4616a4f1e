# How does an upstream's HTTP/2 connection look on the wire?  Types of the compiled module.

from native.http2 import Http2Wire
from native.pool import ConnectionPool

class Http2Client(Http2Wire):
    # The protocol object of one upstream connection.

    def __init__(self, home: ConnectionPool, header_bytes: int, header_count: int) -> None: ...
