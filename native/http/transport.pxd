"""Wraps one asyncio transport: what was written, how much of it the peer has taken, and which direction is paused.

Every method does nothing on a transport that is not attached, or is detached because the connection is lost."""

from libc.stdint cimport int64_t, uint64_t

cdef enum:
    # Above this many bytes that the peer has not taken, the source of what is written is asked to wait.
    WRITE_HIGH = 65536

cdef class Transport:
    cdef object transport           # None = not attached
    cdef object _write              # transport.write
    cdef uint64_t* bytes_out        # where written bytes are counted; NULL = nowhere
    cdef bint read_paused
    cdef bint write_paused          # set by the protocol's pause_writing and resume_writing
    cdef int64_t written            # bytes in all
    cdef int64_t taken              # how many of them the peer had acknowledged at the last look
    cdef Py_ssize_t unacked         # how many it had not
    cdef bint marked                # the next look only notes what the peer has taken
    cdef void attach(self, object transport)
    cdef void detach(self)
    cdef bint is_open(self)         # attached and not closing
    cdef void write(self, bytes data)
    cdef void write_eof(self)       # close the direction to the peer, where that is possible (not over TLS)
    cdef void close(self)           # after everything written has gone
    cdef void abort(self)           # now
    cdef void pause_reading(self)
    cdef bint resume_reading(self)  # True = it was paused
    cdef void mark(self)            # compare looks from now on; the first returns False
    cdef bint look(self)            # True = the peer has taken more than at the last look
    cdef Py_ssize_t count_unacked(self)     # bytes that the transport and the kernel hold for the peer
    cdef Py_ssize_t count_pending(self)     # the same, or 0 once the transport is closing
