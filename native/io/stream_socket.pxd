"""One connected stream socket, with TLS or without: reads, queues and writes, and knows what the peer has taken."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from native.io.posix cimport sockaddr_storage
from native.io.reactor cimport Deferred, Pollable, Reactor
from native.io.tls cimport TlsSession

cdef enum:
    # Above this many bytes that wait to be written, the source of what is written is asked to wait; below WRITE_LOW it
    # may go on.
    WRITE_HIGH = 65536
    WRITE_LOW = 16384

cdef class SocketEvents(Deferred):
    """Receives what happens on one socket. A subclass overrides every method; tests/native/test_contract.py checks it."""
    cdef void on_open(self, StreamSocket socket)            # connected, and TLS is settled
    cdef void on_bytes(self, const char* data, Py_ssize_t size)     # valid during the call only
    cdef void on_eof(self, bint truncated)                  # the peer sends nothing more; the socket closes itself
    cdef void on_lost(self, str reason)                     # closed; nothing follows. None = we closed it
    cdef void on_write_paused(self)                         # more than WRITE_HIGH bytes wait
    cdef void on_write_resumed(self)

cdef class StreamSocket(Pollable):
    cdef SocketEvents events
    cdef TlsSession tls             # None = in the clear
    cdef uint64_t* bytes_out        # where written bytes are counted; NULL = nowhere
    cdef bint is_attached           # on_open was called, and on_lost was not
    cdef bint read_paused
    cdef bint write_paused
    cdef bint is_blocked            # the kernel takes no more: written on when it reports room
    cdef bint is_closing            # closes when everything is written
    cdef bint ends_writing          # the direction to the peer closes when everything is written
    cdef bint is_lost               # the descriptor is gone, and on_lost follows or was called
    cdef bint write_failed          # the peer takes nothing any more; what it has sent is still read
    cdef str lost_reason
    cdef tuple peer_address
    cdef bytes first                # the head of the queue; None = the queue is empty
    cdef Py_ssize_t offset          # bytes of it that are written
    cdef list rest                  # behind it
    cdef Py_ssize_t queued          # bytes in the queue
    cdef int64_t written            # bytes in all, queued ones included
    cdef int64_t taken              # how many of them the peer had acknowledged at the last look
    cdef Py_ssize_t unacked         # how many it had not
    cdef bint marked                # the next look only notes what the peer has taken
    cdef start(self, Reactor reactor, int fd, SocketEvents events, TlsSession tls)  # OSError; takes the descriptor
    cdef bint is_open(self)         # attached and not closing
    cdef void write(self, bytes data)
    cdef void write_eof(self)       # close the direction to the peer after everything written
    cdef void close(self)           # after everything written has gone
    cdef void abort(self)           # now
    cdef void reset(self)           # now, and the peer is told that something is missing
    cdef void pause_reading(self)
    cdef bint resume_reading(self)  # True = it was paused
    cdef void mark(self)            # compare looks from now on; the first returns False
    cdef bint look(self)            # True = the peer has taken more than at the last look
    cdef Py_ssize_t count_unacked(self)     # bytes that the queue and the kernel hold for the peer
    cdef Py_ssize_t count_pending(self)     # the same, or 0 once the socket is closing
    cdef tuple peer(self)           # (address, port) or None
    cdef void _receive(self)
    cdef void _receive_tls(self)
    cdef void _handshake(self)
    cdef void _end_reading(self, bint truncated)
    cdef int _write_plain(self)
    cdef int _write_tls(self)
    cdef void _advance(self, Py_ssize_t size)
    cdef void _fail_writing(self)
    cdef void _after_writing(self)
    cdef void _update_interest(self)
    cdef void _lose(self, str reason)

cdef StreamSocket DETACHED          # what a connection has before it is open: every method does nothing

cdef tuple describe(const sockaddr_storage* address)        # (address, port)
