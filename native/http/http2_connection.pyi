# Drives one libnghttp2 session.  Types of the compiled module; the contract is in http2_connection.pxd.

from asyncio import Protocol

class Http2Connection(Protocol):
    # One HTTP/2 connection, as client or as server.

    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
