"""Reads and writes what gRPC-Web adds to gRPC: media types, base64 text, and trailers in the body (sans-I/O).

Source: grpc/grpc, doc/PROTOCOL-WEB.md."""

from libc.stdint cimport uint32_t

cdef enum WebKind:
    NOT_WEB = 0
    WEB_BINARY = 1              # application/grpc-web
    WEB_TEXT = 2                # application/grpc-web-text: the body is base64

cdef int web_kind(bytes content_type) noexcept          # a WebKind; None is NOT_WEB
cdef bytes message_format(bytes content_type)           # the part from the first plus sign, such as b"+proto"; b"" = none
# Return trailers as the last frame of a body, with the flag 0x80. Names and values are valid field text.
cdef bytes trailer_frame(list trailers)
cdef bytes to_text(bytes data)                          # base64 with padding

cdef class TextReader:
    """Decodes base64 as it comes. Padding may stand in the middle, because each flush of a client may end with it."""
    cdef readonly bint failed       # what came is not base64: nothing more is decoded
    cdef uint32_t bits              # of the quantum that is not complete yet
    cdef int count                  # characters of it
    cdef int padding                # ... of which are padding
    cdef bytes push(self, bytes data)
    cdef bint is_whole(self) noexcept       # no quantum is incomplete
