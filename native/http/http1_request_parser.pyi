# Parses the requests of one HTTP/1.1 connection.  Types of the compiled module; see http1_request_parser.pxd.

class RequestEvents: ...

class RequestParser:
    # The parser of one connection.

    def __init__(self, events: RequestEvents, header_bytes: int, header_count: int) -> None: ...
