"""Reads, queues and writes one connected socket, with TLS or without, and measures what the peer has acknowledged."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from native.io.posix cimport sockaddr_storage
from native.io.preface cimport Preface
from native.io.reactor cimport Deferred, Pollable, Reactor
from native.io.tls cimport TlsSession

cdef enum:
    # Bytes in the queue. Above the high mark the source of the bytes is paused; below the low mark it is resumed.
    WRITE_HIGH = 65536
    WRITE_LOW = 16384

cdef class SocketEvents(Deferred):
    """Receives what happens on one socket. A subclass overrides every method; tests/native/test_contract.py checks it."""
    cdef int on_open(self, StreamSocket socket) except -1            # connected, and the TLS handshake is complete
    cdef int on_bytes(self, const char* data, Py_ssize_t size) except -1     # valid during the call only
    cdef int on_eof(self, bint truncated) except -1                  # the peer sends no more; the socket closes itself
    cdef int on_lost(self, str reason) except -1  # closed, as the last event. None = closed by this side
    cdef int on_write_paused(self) except -1                         # more than WRITE_HIGH bytes are queued
    cdef int on_write_resumed(self) except -1

cdef class StreamSocket(Pollable):
    cdef SocketEvents events
    cdef TlsSession tls             # None = in the clear
    cdef uint64_t* bytes_out        # where written bytes are counted; NULL = nowhere
    cdef bint is_attached           # on_open was called, and on_lost was not
    cdef bint read_paused
    cdef bint write_paused
    cdef bint is_blocked            # the kernel takes no more: writing continues when it reports room
    cdef bint is_closing            # closes when everything is written
    cdef bint ends_writing          # the direction to the peer closes when everything is written
    cdef bint is_lost               # the descriptor is gone, and on_lost follows or was called
    cdef bint write_failed          # a write has failed; what the peer has sent is still read
    cdef bint is_accepted           # the peer is a client: after a failed write nothing of it is read
    cdef str lost_reason
    cdef tuple peer_address
    cdef uint64_t client            # a hash of the client's address; 0 = loopback, or none is known
    cdef Preface preface            # is exchanged before anything else; None = nothing, or done
    cdef bint is_secure             # the client's connection runs over TLS, here or to the load balancer in front
    cdef bytes first                # the head of the queue; None = the queue is empty
    cdef Py_ssize_t offset          # bytes of ``first`` that are written
    cdef list rest                  # the items behind ``first``
    cdef Py_ssize_t queued          # bytes in the queue
    cdef int64_t written            # bytes in all, queued ones included
    cdef int64_t taken              # count_acked() at the last has_progressed()
    cdef bint marked                # the next has_progressed() only takes note of the state
    cdef start(self, Reactor reactor, int fd, SocketEvents events, TlsSession tls)  # OSError; owns the descriptor
    # Bytes of memory that the queue takes, what is written of its first item included.
    cdef Py_ssize_t occupied(self)
    cdef int trim(self) except -1            # free what is written of its first item
    cdef bint is_open(self)         # attached and not closing
    cdef bint is_silent(self)       # the peer has sent nothing that is not read yet, and has not closed
    cdef int write(self, bytes data) except -1
    cdef int write_eof(self) except -1       # close the direction to the peer after everything written
    cdef int close(self) except -1           # after the queue is written
    cdef int abort(self) except -1           # now
    cdef int reset(self) except -1           # now, with RST, so that the peer notices that something is missing
    cdef int pause_reading(self) except -1
    cdef bint resume_reading(self)  # True = it was paused
    cdef int mark_progress(self) except -1       # begin to observe the peer; the next has_progressed() returns False
    cdef bint has_progressed(self)      # True = the peer has acknowledged more since the last call
    cdef int64_t count_acked(self)          # bytes on the wire that the peer has acknowledged
    cdef Py_ssize_t count_unacked(self)     # bytes that the queue and the kernel still hold
    cdef int _unsent(self) noexcept
    cdef Py_ssize_t count_pending(self)     # the same, or 0 once the socket is closing
    cdef tuple peer(self)           # (address, port) or None
    cdef int _begin(self) except -1
    cdef int _read_preface(self) except -1
    cdef int _receive(self) except -1
    cdef int _receive_tls(self) except -1
    cdef int _handshake(self) except -1
    cdef int _end_reading(self, bint truncated) except -1
    cdef int _write_plain(self)
    cdef int _write_tls(self)
    cdef int _advance(self, Py_ssize_t size) except -1
    cdef int _fail_writing(self) except -1
    cdef int _after_writing(self) except -1
    cdef int _update_interest(self) except -1
    cdef int _lose(self, str reason) except -1

cdef StreamSocket DETACHED          # the socket of a connection that is not open yet: every method does nothing

cdef tuple describe(const sockaddr_storage* address)        # (address, port)
# A salted hash of an IPv4 address, or of the 64 bits of an IPv6 address that one site has (RFC 6177); 0 = loopback.
cdef uint64_t client_of(const sockaddr_storage* address) noexcept nogil
cdef uint64_t client_of_text(str address)                   # the same; 0 = it is none
