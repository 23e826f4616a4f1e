# Parses the requests of one HTTP/1.1 connection.  Types of the compiled module; see http1_request_parser.pxd.

from native.codec.head import Head

class RequestEvents: ...

class RequestParser:
    # The parser of one connection.

    def __init__(self, events: RequestEvents, header_bytes: int, header_count: int) -> None: ...

def parse_requests(
    pieces: list[bytes], header_bytes: int = 65536, header_count: int = 100
) -> tuple[list[tuple[Head, bytes, bool]], tuple[int, str] | None]: ...
