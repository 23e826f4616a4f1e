# Holds a request that opens a WebSocket of Responses.  Types of the compiled module; see socket_request.pxd.

from native.proxy.request import Request

class SocketRequest(Request): ...
