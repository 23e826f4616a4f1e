# Parses the responses of one HTTP/1.1 connection.  Types of the compiled module; see http1_response_parser.pxd.

from native.codec.head import Head

class ResponseEvents: ...

class ResponseParser:
    # The parser of one connection.

    def __init__(self, events: ResponseEvents, header_bytes: int, header_count: int) -> None: ...

def parse_response(
    pieces: list[bytes],
    to_head: bool = False,
    upgrade_requested: bool = False,
    header_bytes: int = 65536,
    header_count: int = 100,
) -> tuple[list[int], Head | None, bytes, bool, str | None]: ...
