"""Opens one connection to the first of several addresses that answers (happy eyeballs, RFC 8305)."""

from libc.stdint cimport uint64_t
from native.io.preface cimport Preface
from native.io.reactor cimport Deferred, Pollable, Reactor
from native.io.stream_socket cimport SocketEvents, StreamSocket
from native.io.timer_wheel cimport Timer, Wheel
from native.io.tls cimport TlsContext

cdef class Connector

cdef class Trial(Pollable):
    """One address that is being connected to."""
    cdef Connector owner
    cdef object address
    cdef int start(self, Connector owner, object address) except -1
    cdef int _end(self) except -1

cdef class NextAddress(Timer):
    cdef Connector owner

cdef class ConnectDeadline(Timer):
    cdef Connector owner

cdef class ConnectedEvents(SocketEvents):
    """Waits for the end of the TLS handshake, and passes the socket on."""
    cdef Connector owner

cdef class Connector(Deferred):
    cdef Reactor reactor
    cdef list addresses             # addresses that were not tried
    cdef list trials                # attempts that are still connecting
    cdef list failures              # (address, error) of the attempts that failed
    cdef int port, highest_fd
    cdef TlsContext tls
    cdef bytes server_name
    cdef Preface preface            # is exchanged first, for a tunnel through a proxy; None = nothing
    cdef object on_connected        # () -> the SocketEvents of the connection
    cdef object on_failed           # (failures, timed_out)
    cdef NextAddress next_timer
    cdef ConnectDeadline deadline
    cdef StreamSocket socket        # connected, in the TLS handshake; None = not yet
    cdef bint is_over
    cdef int try_next(self) except -1
    cdef int take(self, Trial trial) except -1
    cdef int miss(self, Trial trial, object error) except -1
    cdef int hand_over(self, StreamSocket socket) except -1
    cdef int time_out(self) except -1
    cdef int _end(self) except -1
