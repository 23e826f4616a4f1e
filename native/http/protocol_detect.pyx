"""Tells HTTP/1.1 from HTTP/2 by a client's first bytes: the first protocol of every client connection.

Over TLS the handshake has selected the version (ALPN). Without TLS an HTTP/2 client begins with a preface that is not a
valid HTTP/1.1 request (RFC 9113 3.3, 3.4). An upgrade from HTTP/1.1 to HTTP/2 is not supported."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from native.io.clock cimport monotonic_ns
from native.http.connection_slot cimport ConnectionSlot
from native.http.stream cimport Acceptor, ClientCertificate

from native.http.http1_server import Http1Server
from native.http.http2_server import Http2Server

cdef bytes PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


cdef ClientCertificate certificate_of(dict shown):
    """Return the names in a client's verified certificate; None = no certificate, or one without alternative names.

    ``SSLObject.getpeercert`` returns an empty dict for a certificate that was not verified.
    """
    cdef ClientCertificate certificate = None
    names = None if shown is None else shown.get("subjectAltName")
    if names:
        certificate = ClientCertificate.__new__(ClientCertificate)
        certificate.subject_alt_names = tuple(names)
    return certificate


cdef class ProtocolDetect:
    """The protocol object of a connection whose HTTP version is not known yet.

    Args:
        acceptor: the data plane that owns the connection.
        allow_anonymous: the listener requires no key.
    """

    cdef Acceptor acceptor
    cdef ConnectionSlot slot
    cdef object transport
    cdef bytes seen
    cdef bint allow_anonymous
    cdef ClientCertificate certificate

    def __init__(self, Acceptor acceptor, bint allow_anonymous=False):
        self.acceptor = acceptor
        self.allow_anonymous = allow_anonymous
        self.slot = ConnectionSlot.__new__(ConnectionSlot)
        self.slot.acceptor = acceptor

    def connection_made(self, transport):
        """Wait for the first bytes. A connection above the limit is closed at once."""
        self.transport = transport
        if not self.slot.take(self):
            transport.abort()
            return
        ssl_object = transport.get_extra_info("ssl_object")
        if ssl_object is not None:
            self.certificate = certificate_of(transport.get_extra_info("peercert"))
            self._hand_over(Http2Server if ssl_object.selected_alpn_protocol() == "h2" else Http1Server)
            return
        self.slot.watch_at(monotonic_ns() + self.acceptor.idle_ns)

    def connection_lost(self, exc):
        """Give the slot back: the client has left before it sent a request."""
        self.slot.give_back()
        self.transport = None

    def data_received(self, bytes data):
        """Compare the first bytes with the preface. One byte is enough in most cases."""
        cdef Py_ssize_t size
        if self.transport is None:
            return
        if self.seen is not None:
            data = self.seen + data
        size = min(PyBytes_GET_SIZE(data), PyBytes_GET_SIZE(PREFACE))
        if data[:size] != PREFACE[:size]:
            self._hand_over(Http1Server, data)
        elif size == PyBytes_GET_SIZE(PREFACE):
            self._hand_over(Http2Server, data)
        else:
            if self.seen is None:
                self.slot.watch_at(monotonic_ns() + self.acceptor.header_timeout_ns)
            self.seen = data

    def _hand_over(self, server, bytes data=None):
        """Pass the connection and the bytes received so far to the protocol object of the HTTP version."""
        transport = self.transport
        self.slot.give_back()
        self.transport = None
        protocol = server(self.acceptor, self.allow_anonymous, self.certificate)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if data is not None:
            protocol.data_received(data)

    def eof_received(self):
        """Let the transport close: the client sends nothing more."""
        return False

    def pause_writing(self):
        """Do nothing: nothing is written here."""

    def resume_writing(self):
        """Do nothing: nothing is written here."""

    def check_deadlines(self, uint64_t now_ns):
        """End the connection: the first bytes did not come in time."""
        self.kill()

    def retire(self):
        """Close: the data plane drains, and this connection has no request."""
        if self.transport is not None:
            self.transport.close()

    def kill(self):
        """End the connection now."""
        if self.transport is not None:
            self.transport.abort()
