"""Gives a new upstream connection to the client of the protocol that TLS has agreed on (ALPN).

An upstream that agrees on nothing speaks HTTP/1.1."""

from native.http.connection_pool cimport ConnectionPool
from native.io.stream_socket cimport SocketEvents, StreamSocket

from native.http.http1_client import Http1Client
from native.http.http2_client import Http2Client


cdef class UpstreamDetect(SocketEvents):
    """Owns a connection until its TLS handshake is over.

    Args:
        home: the pool that asked for it.
        header_bytes, header_count: limits for a response's head.
    """

    cdef ConnectionPool home
    cdef Py_ssize_t header_bytes
    cdef int header_count

    def __init__(self, ConnectionPool home, Py_ssize_t header_bytes, int header_count):
        self.home = home
        self.header_bytes = header_bytes
        self.header_count = header_count

    def socket_events(self):
        """Return the object that receives the socket's events."""
        return self

    cdef int on_open(self, StreamSocket socket) except -1:
        cdef SocketEvents events
        shared = socket.tls is not None and socket.tls.protocol() == b"h2"
        client = Http2Client if shared else Http1Client
        events = client(self.home, self.header_bytes, self.header_count).socket_events()
        socket.events = events
        events.on_open(socket)

    cdef int on_bytes(self, const char* data, Py_ssize_t size) except -1:
        return 0          # on_open comes first, and then the socket has another owner

    cdef int on_eof(self, bint truncated) except -1:
        return 0

    cdef int on_lost(self, str reason) except -1:
        return 0

    cdef int on_write_paused(self) except -1:
        return 0

    cdef int on_write_resumed(self) except -1:
        return 0

    cdef int on_deferred(self) except -1:
        return 0
