"""Holds one parsed message head, of a request or an answer, whichever wire it came over."""

from libc.stdint cimport int64_t

cpdef enum Length:
    NO_BODY = -1            # the message has none
    UNKNOWN_LENGTH = -2     # chunked, or until the end of the stream
    TUNNEL = -3             # of a 101: bytes in both directions until one side ends

cdef class Head:
    """One parsed message head. ``fields`` is a list of (lower-case name, value) of end-to-end fields only: hop-by-hop,
    framing, Host and Expect are taken out and stand in attributes."""
    cdef readonly bytes method      # request
    cdef readonly bytes target      # request: origin form, path and query
    cdef readonly bytes path        # target without the query
    cdef readonly bytes authority   # Host or :authority, as sent
    cdef readonly bytes host        # lower case, no port
    cdef readonly int status        # answer
    cdef readonly list fields
    cdef readonly int64_t length    # Content-Length, or Length
    cdef readonly int version       # 10, 11, 20
    cdef readonly bint expects      # Expect: 100-continue
    cdef readonly bint keep_alive
    cdef readonly bint upgrades     # Upgrade, with Connection: upgrade or without
    cdef readonly bytes upgrade     # its value, where Connection: upgrade says that it is meant (RFC 9110 7.8); else None
    cdef readonly bint until_close  # answer: it ends where the connection does
    cdef readonly bytes content_type
    cdef readonly bytes content_encoding
