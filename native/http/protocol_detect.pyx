"""Tells HTTP/1.1 from HTTP/2 by a client's first bytes: the first owner of every client connection.

Over TLS the handshake has selected the version (ALPN). Without TLS an HTTP/2 client begins with a preface that is not a
valid HTTP/1.1 request (RFC 9113 3.3, 3.4). An upgrade from HTTP/1.1 to HTTP/2 is not supported."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcmp
from native.io.atomics cimport add64
from native.io.clock cimport monotonic_ns
from native.io.listener cimport AcceptEvents
from native.io.proxy_header cimport ProxyHeader
from native.io.stream_socket cimport SocketEvents, StreamSocket
from native.http.connection_slot cimport ConnectionSlot
from native.http.listen_policy cimport ListenPolicy
from native.http.stream cimport Acceptor, ClientCertificate

from native.http.http1_server import Http1Server
from native.http.http2_server import Http2Server

cdef bytes PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


cdef class AcceptedConnections(AcceptEvents):
    """Accepts the connections of one listener.

    Args:
        acceptor: the data plane that owns the connections.
        policy: what the listener demands.
    """

    cdef Acceptor acceptor
    cdef ListenPolicy policy

    def __init__(self, Acceptor acceptor not None, ListenPolicy policy not None):
        self.acceptor = acceptor
        self.policy = policy

    cdef SocketEvents on_accept(self, StreamSocket socket, bint is_secure):
        cdef ProtocolDetect detect
        cdef uint64_t now_ns = monotonic_ns()
        if self.policy.proxy_protocol:
            if not self.policy.accepts_proxy(socket.peer()):
                add64(self.acceptor.counters.malformed, 1)
                return None     # it may not speak for others
            socket.preface = ProxyHeader.__new__(ProxyHeader)
        detect = ProtocolDetect.__new__(ProtocolDetect)
        detect.acceptor = self.acceptor
        detect.policy = self.policy
        detect.socket = socket
        detect.slot = ConnectionSlot.__new__(ConnectionSlot)
        detect.slot.acceptor = self.acceptor
        if not detect.slot.take(detect, socket, now_ns):
            return None     # over the limit
        detect.slot.limit_age(now_ns, self.policy.max_age_ns, self.policy.age_grace_ns)
        detect.slot.watch_at(now_ns + self.acceptor.header_timeout_ns)
        return detect


cdef class ProtocolDetect(SocketEvents):
    """Owns a connection whose HTTP version is not known yet."""

    cdef Acceptor acceptor
    cdef ConnectionSlot slot
    cdef StreamSocket socket        # None = handed over, or lost
    cdef bytes seen
    cdef ListenPolicy policy

    cdef int on_open(self, StreamSocket socket) except -1:
        """Pass the connection on if ALPN has selected the version; without TLS wait for the first bytes."""
        if socket.tls is not None:
            self.hand_over(Http2Server if socket.tls.protocol() == b"h2" else Http1Server, NULL, 0)

    cdef int on_bytes(self, const char* data, Py_ssize_t size) except -1:
        """Compare the first bytes with the preface. One read is enough in most cases, and is not copied then."""
        cdef bytes joined = None
        cdef Py_ssize_t compared
        if self.seen is not None:
            joined = self.seen + data[:size]
            data = PyBytes_AS_STRING(joined)
            size = PyBytes_GET_SIZE(joined)
        compared = min(size, PyBytes_GET_SIZE(PREFACE))
        if memcmp(data, PyBytes_AS_STRING(PREFACE), compared) != 0:
            self.hand_over(Http1Server, data, size)
        elif compared == PyBytes_GET_SIZE(PREFACE):
            self.hand_over(Http2Server, data, size)
        else:
            self.seen = joined if joined is not None else data[:size]

    cdef hand_over(self, server, const char* data, Py_ssize_t size):
        """Pass the connection and the bytes received so far to the object of its HTTP version."""
        cdef StreamSocket socket = self.socket
        cdef SocketEvents events
        cdef ClientCertificate certificate = None
        self.socket = None
        if socket.tls is not None:
            names = socket.tls.subject_alt_names()
            if names:
                certificate = ClientCertificate.__new__(ClientCertificate)
                certificate.subject_alt_names = names
        events = server(self.acceptor, self.policy, self.slot, certificate).socket_events()
        socket.events = events
        events.on_open(socket)
        if size and socket.fd >= 0:
            events.on_bytes(data, size)

    cdef int on_eof(self, bint truncated) except -1:
        return 0          # nothing was asked, and the socket closes

    cdef int on_lost(self, str reason) except -1:
        """Give the slot back: the client has left before it sent a request, or sent no PROXY header where it must."""
        if self.socket is not None and self.socket.preface is not None and self.socket.preface.is_bad:
            add64(self.acceptor.counters.malformed, 1)
        self.slot.give_back()
        self.socket = None

    cdef int on_write_paused(self) except -1:
        return 0          # nothing is written here

    cdef int on_write_resumed(self) except -1:
        return 0

    cdef int on_deferred(self) except -1:
        return 0

    def check_deadlines(self, uint64_t now_ns):
        """Abort the connection: the PROXY header, the handshake or the first bytes did not come in time."""
        self.kill()

    def retire(self):
        """Close: the data plane drains, and this connection has no request."""
        if self.socket is not None:
            self.socket.close()

    def evict(self):
        """Abort the connection: another one needs its place."""
        self.kill()

    def kill(self):
        """Abort the connection: the data plane stops."""
        if self.socket is not None:
            self.socket.abort()
