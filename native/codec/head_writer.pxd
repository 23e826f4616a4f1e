"""Writes HTTP/1.1 heads, chunks and trailers (RFC 9112 2 to 7), each into one buffer of its exact size."""

cdef bytes write_head(bytes first_line, list fields, bytes last)    # last: framing lines, each ending in CRLF, or b""
cdef bytes status_line(int status)                      # ends in CRLF
cdef bytes frame_chunk(bytes held, bytes data)          # ``held`` (may be None), followed by one chunk
cdef bytes last_chunk(list trailers)                    # trailers may be None
