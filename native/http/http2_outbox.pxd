"""Queues the data that one HTTP/2 stream still has to send (sans-I/O)."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef enum:
    # Bytes queued for one stream. Above the high mark its source is paused; below the low mark the source is resumed.
    QUEUE_HIGH = 65536
    QUEUE_LOW = 16384

cdef class Outbox:
    """The queue of one stream. It holds references to bytes objects and copies their content only into frames."""
    cdef bytes first                # the next item, from ``offset`` on; None = nothing is queued
    cdef Py_ssize_t offset
    cdef list more                  # the items behind ``first``, from ``at`` on; None = there was never a second item
    cdef Py_ssize_t at
    cdef readonly Py_ssize_t queued
    cdef int64_t pulled             # bytes that were put into frames
    cdef list trailers
    cdef uint64_t progress_ns       # when bytes were last sent, or began to wait
    cdef bint deferred              # the session waits for resume_sending()
    cdef bint ended                 # nothing is added any more
    cdef bint cutting               # the stream is reset once the queue is empty
    cdef bint congested             # the source is paused
    cdef bint finished              # END_STREAM has been sent
    cdef int push(self, bytes data) except -1
    cdef Py_ssize_t pull(self, uint8_t* out, Py_ssize_t size)       # copy out up to ``size`` bytes; return how many
    cdef advance(self)
    cdef int trim(self) except -1            # free what is sent of the first item
    cdef int clear(self) except -1
