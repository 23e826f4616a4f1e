# Parses the responses of one HTTP/1.1 connection.  Types of the compiled module; see http1_response_parser.pxd.

class ResponseEvents: ...

class ResponseParser:
    # The parser of one connection.

    def __init__(self, events: ResponseEvents, header_bytes: int, header_count: int) -> None: ...
