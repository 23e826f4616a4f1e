# Reads and writes the frames of WebSocket.  Types of the compiled module; the contract is in websocket.pxd.

from enum import IntEnum

class Opcode(IntEnum):
    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10

class CloseCode(IntEnum):
    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED = 1003
    NOT_TEXT = 1007
    POLICY = 1008
    TOO_BIG = 1009
    TRY_LATER = 1013

class FrameReader:
    def __init__(self, limit: int, masked: bool = True) -> None: ...
    def push(self, data: bytes) -> list[tuple[int, bytes]]: ...
    @property
    def fault(self) -> int: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def closed(self) -> bool: ...
    @property
    def held(self) -> int: ...
    @property
    def within(self) -> bool: ...

def frame(opcode: int, payload: bytes) -> bytes: ...
def text(front: bytes, data: bytes, start: int) -> bytes: ...
def close(code: int, reason: str) -> bytes: ...
def accept(key: bytes) -> bytes | None: ...
def valid_utf8(data: bytes) -> bool: ...
