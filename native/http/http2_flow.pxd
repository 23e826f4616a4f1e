"""Adds flow control in both directions to the queue of one HTTP/2 stream (RFC 9113 5.2)."""

from libc.stdint cimport int32_t
from native.http.http2_connection cimport Http2Connection
from native.http.http2_outbox cimport Outbox

cdef class StreamFlow(Outbox):
    """One stream's queue and window."""
    cdef Http2Connection connection
    cdef int32_t number             # of the stream; 0 = it is not submitted yet
    cdef Py_ssize_t owed            # bytes that came while paused: their window is not given back yet
    cdef bint paused
    cdef bint closed                # the session has closed the stream, or it was given up
    cdef bint send(self, bytes data)            # True = the source has to wait from now on
    cdef void end(self, list trailers)          # no more is sent
    cdef void received(self, Py_ssize_t size)   # bytes came, and are taken unless the stream is paused
    cdef void resume(self)
    cdef void close(self)
