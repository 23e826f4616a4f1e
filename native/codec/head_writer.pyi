# Writes HTTP/1.1 heads, chunks and trailers.  Types of the compiled module; see head_writer.pxd.

from enum import IntEnum

class Framing(IntEnum):
    FRAME_NONE = 0
    FRAME_LENGTH = 1
    FRAME_CHUNKED = 2
    FRAME_CLOSE = 4
    FRAME_KEEP_ALIVE = 8
    FRAME_UPGRADE = 16

def request_head(
    method: bytes, target: bytes, authority: bytes, fields: list[tuple[bytes, bytes]], length: int | None = None
) -> bytes: ...
def response_head(status: int, fields: list[tuple[bytes, bytes]], framing: int = 0, length: int = 0) -> bytes: ...
