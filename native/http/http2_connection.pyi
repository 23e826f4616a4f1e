# Drives one libnghttp2 session.  Types of the compiled module; the contract is in http2_connection.pxd.

from native.io.stream_socket import SocketEvents

class Http2Connection(SocketEvents): ...
