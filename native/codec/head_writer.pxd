"""Writes HTTP/1.1 heads, chunks and trailers (RFC 9112 2 to 7), each into one buffer of its exact size."""

from libc.stdint cimport int64_t

cpdef enum Framing:             # the lines of a head that say how its message ends; they follow the fields
    FRAME_NONE = 0
    FRAME_LENGTH = 1
    FRAME_CHUNKED = 2
    FRAME_CLOSE = 4
    FRAME_KEEP_ALIVE = 8
    FRAME_UPGRADE = 16

cdef bytes write_request_head(bytes method, bytes target, bytes authority, list fields, int framing, int64_t length)
cdef bytes write_response_head(int status, list fields, int framing, int64_t length)
cdef bytes status_line(int status)                      # ends in CRLF
cdef bytes frame_chunk(bytes held, bytes data)          # ``held`` (may be None), followed by one chunk
cdef bytes last_chunk(list trailers)                    # trailers may be None
