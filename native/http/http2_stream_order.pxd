"""Follows, from frame headers alone, on which streams an HTTP/2 client may still send (RFC 9113 5.1, 5.1.1, 6.3).

libnghttp2 forgets a stream that is closed, and ignores what comes for it. Whether a frame is late or wrong depends only on
what the client itself has sent before: after its END_STREAM or RST_STREAM it may send no HEADERS and no DATA."""

from libc.stdint cimport uint32_t

cdef enum:
    # A power of two above the number of concurrent streams, so that consecutive streams do not collide.
    PLACES = 256
    # Streams that we closed before the client did: it may not know yet. The oldest is forgotten beyond this number.
    CLOSED_BY_US = 256

cdef class StreamOrder:
    cdef uint32_t highest               # the highest stream that the client has opened
    cdef uint32_t[PLACES] places        # the streams that it may still send on; 0 = the place is free
    cdef set elsewhere                  # streams whose place is taken
    cdef list closed_by_us
    # Return 0, or the HTTP/2 error that the frame is.
    cdef uint32_t judge(self, int kind, int flags, uint32_t stream)
    cdef int close(self, uint32_t stream) except -1              # the session has closed it
    cdef bint may_send(self, uint32_t stream)
    cdef int _add(self, uint32_t stream) except -1
    cdef int _remove(self, uint32_t stream) except -1
