"""Which wire does this client speak?  The first protocol of every client connection; it steps aside at the first bytes.

Over TLS the handshake has settled it (ALPN); in the clear an HTTP/2 client begins with a preface that no HTTP/1.1 request
can be mistaken for (RFC 9113 3.3, 3.4). There is no upgrade from one to the other."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from native.io.atomics cimport add64
from native.io.clock cimport monotonic_ns
from native.http.stream cimport Acceptor, ClientCertificate
from native.io.timer_wheel cimport Timer

from native.http.http1_server import Http1Server
from native.http.http2_server import Http2Server

cdef bytes PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


cdef class ProtocolDetect


cdef class Watch(Timer):
    """Closes a connection on which nothing, or only the beginning of a preface, comes."""

    cdef ProtocolDetect connection

    cdef void fire(self, uint64_t now_ns):
        cdef ProtocolDetect connection = self.connection
        if connection is not None:
            connection.kill()


cdef ClientCertificate certificate_of(dict shown):
    """What was verified of a client's certificate; None where none was asked for, or it has no names but a subject.

    Of a certificate that nobody has verified Python shows nothing (``SSLObject.getpeercert``): the dict is empty.
    """
    cdef ClientCertificate who = None
    alternatives = None if shown is None else shown.get("subjectAltName")
    if alternatives:
        who = ClientCertificate.__new__(ClientCertificate)
        who.subject_alt_names = tuple(alternatives)
    return who


cdef class ProtocolDetect:
    """The protocol object of a connection that has said nothing yet.

    Args:
        acceptor: the data plane whose connection it is.
        allow_anonymous: its listener asks for no key.
    """

    cdef Acceptor acceptor
    cdef object transport
    cdef bytes seen
    cdef bint allow_anonymous
    cdef ClientCertificate certificate
    cdef Watch watch

    def __init__(self, Acceptor acceptor, bint allow_anonymous=False):
        self.acceptor = acceptor
        self.allow_anonymous = allow_anonymous

    def connection_made(self, transport):
        """Wait for the first bytes, but not for long; over the limit the connection is closed at once."""
        cdef Watch watch
        self.transport = transport
        if len(self.acceptor.open_connections) >= self.acceptor.connection_limit:
            transport.abort()
            return
        self.acceptor.open_connections.add(self)
        add64(self.acceptor.counters.open, 1)
        ssl_object = transport.get_extra_info("ssl_object")
        if ssl_object is not None:
            self.certificate = certificate_of(transport.get_extra_info("peercert"))
            self._step_aside(Http2Server if ssl_object.selected_alpn_protocol() == "h2" else Http1Server)
            return
        watch = Watch()
        watch.connection = self
        self.watch = watch
        self.acceptor.coarse.arm(watch, monotonic_ns() + self.acceptor.idle_ns)

    def connection_lost(self, exc):
        """The client is gone before it said anything."""
        self._forget()
        self.transport = None

    def data_received(self, bytes data):
        """Look no further than needed: one byte tells most."""
        cdef Py_ssize_t size
        if self.transport is None:
            return
        if self.seen is not None:
            data = self.seen + data
        size = min(PyBytes_GET_SIZE(data), PyBytes_GET_SIZE(PREFACE))
        if data[:size] != PREFACE[:size]:
            self._step_aside(Http1Server, data)
        elif size == PyBytes_GET_SIZE(PREFACE):
            self._step_aside(Http2Server, data)
        else:
            if self.seen is None:
                self.acceptor.coarse.disarm(self.watch)
                self.acceptor.coarse.arm(self.watch, monotonic_ns() + self.acceptor.header_timeout_ns)
            self.seen = data

    def _step_aside(self, wire, bytes data=None):
        transport = self.transport
        self._forget()
        self.transport = None
        protocol = wire(self.acceptor, self.allow_anonymous, self.certificate)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if data is not None:
            protocol.data_received(data)

    def _forget(self):
        if self in self.acceptor.open_connections:
            self.acceptor.open_connections.discard(self)
            add64(self.acceptor.counters.open, <uint64_t>-1)
        if self.watch is not None:
            self.acceptor.coarse.disarm(self.watch)
            self.watch.connection = None
            self.watch = None

    def eof_received(self):
        """Nothing more will come."""
        return False

    def pause_writing(self):
        """Nothing is written here."""

    def resume_writing(self):
        """Nothing is written here."""

    def retire(self):
        """The data plane drains: nothing has been asked, nothing is lost."""
        if self.transport is not None:
            self.transport.close()

    def kill(self):
        """End the connection now."""
        if self.transport is not None:
            self.transport.abort()
