"""Adds flow control in both directions to the queue of one HTTP/2 stream (RFC 9113 5.2)."""

from libc.stdint cimport int32_t
from native.http.http2_connection cimport Http2Connection
from native.http.http2_outbox cimport Outbox

cdef class StreamFlow(Outbox):
    """The send queue and the receive window of one stream."""
    cdef Http2Connection connection
    cdef int32_t number             # the stream's number; 0 = not submitted yet
    cdef Py_ssize_t owed            # bytes that came while paused and that the window does not allow again yet
    cdef bint paused
    cdef bint closed                # the session has closed the stream, or the stream was given up
    cdef bint send(self, bytes data)            # True = the source must stop now
    cdef int end(self, list trailers) except -1          # nothing is sent after this
    cdef int received(self, Py_ssize_t size) except -1   # bytes arrived; consumed at once unless the stream is paused
    cdef int resume(self) except -1
    cdef int close(self) except -1
