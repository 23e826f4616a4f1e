# What do both ends of an HTTP/2 connection have in common?  Types of the compiled module; the contract is in http2.pxd.

from asyncio import Protocol

class Outbox:
    # What one stream still has to send.

    @property
    def queued(self) -> int: ...

class Http2Wire(Protocol):
    # One HTTP/2 connection, whichever end of it we are.

    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
