"""Accepts connections on one listening socket."""

from native.io.reactor cimport Pollable
from native.io.stream_socket cimport SocketEvents, StreamSocket
from native.io.tls cimport TlsContext

cdef class AcceptEvents:
    """Receives new connections. A subclass overrides ``on_accept``; tests/native/test_contract.py checks it."""
    # Return what owns a new connection, which is started next; None = it is closed at once.
    cdef SocketEvents on_accept(self, StreamSocket socket, bint is_secure)

cdef class Listener(Pollable):
    cdef AcceptEvents owner
    cdef TlsContext tls             # None = in the clear
    cdef int spare_fd               # given up for a moment where the process has no other descriptor left
    cdef void _drop_one(self)
