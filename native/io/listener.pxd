"""Accepts connections on one listening socket."""

from libc.stdint cimport uint64_t
from native.io.reactor cimport Pollable
from native.io.stream_socket cimport SocketEvents, StreamSocket
from native.io.timer_wheel cimport Timer
from native.io.tls cimport TlsContext

cdef class AcceptEvents:
    """Receives new connections. A subclass overrides ``on_accept``; tests/native/test_contract.py checks it."""
    # Return the owner of a new connection; None = close the connection.
    cdef SocketEvents on_accept(self, StreamSocket socket, bint is_secure)

cdef class Listener

cdef class AcceptAgain(Timer):
    cdef Listener listener

cdef class Listener(Pollable):
    cdef AcceptEvents owner
    cdef TlsContext tls             # None = in the clear
    cdef int spare_fd               # closed for a moment when the process has no other free descriptor
    cdef AcceptAgain again          # watches again after a time without any descriptor, the spare one included
    cdef int _drop_one(self) except -1
    cdef int _keep_spare(self) except -1
