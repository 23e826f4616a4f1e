"""Queues what one HTTP/2 stream still has to send (sans-I/O)."""

from libc.stdint cimport uint8_t, uint64_t

cdef enum:
    # Bytes queued for one stream: above the first its source is asked to wait, below the second to go on.
    QUEUE_HIGH = 65536
    QUEUE_LOW = 16384

cdef class Outbox:
    """The queue of one stream. Bytes objects are kept, not copied, until they are framed."""
    cdef bytes first                # what goes next, from ``offset`` on; None = nothing is queued
    cdef Py_ssize_t offset
    cdef list more                  # what stands behind it, from ``at`` on; None = nothing ever did
    cdef Py_ssize_t at
    cdef readonly Py_ssize_t queued
    cdef list trailers
    cdef uint64_t progress_ns       # when bytes last went out, or began to wait
    cdef bint deferred              # the session waits to be told that there is more
    cdef bint ended                 # nothing is added any more
    cdef bint cutting               # what is queued goes, then a reset
    cdef bint congested             # its source has been asked to wait
    cdef bint finished              # END_STREAM has been sent
    cdef void push(self, bytes data)
    cdef Py_ssize_t pull(self, uint8_t* out, Py_ssize_t size)       # copy up to ``size`` bytes out; how many
    cdef advance(self)
    cdef void clear(self)
