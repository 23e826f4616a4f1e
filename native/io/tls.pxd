"""Runs TLS (OpenSSL 3) on a non-blocking descriptor, for servers and clients."""

from libc.stdint cimport int64_t, uint32_t
from native.io.openssl cimport SSL, SSL_CTX
from native.io.tls_tickets cimport TicketKeys

cdef enum:                      # results that are not a number of bytes
    TLS_ENDED = 0               # the peer has sent close_notify: nothing more follows
    TLS_WAITS = -1              # nothing more is possible until the descriptor is ready again
    TLS_FAILED = -2             # broken; ``error`` says why
    TLS_TRUNCATED = -3          # the connection ended without close_notify: bytes may be missing

cdef class TlsContext:
    """The policy of many connections. See native/io/tls.pyi for its Python side."""
    cdef SSL_CTX* context
    cdef readonly bint is_server
    cdef bytes protocols                # for ALPN, each with its length before it
    cdef dict by_name                   # server: DNS name of a certificate -> its TlsContext; None = there is one only
    cdef dict sessions                  # client: server name -> unused SavedSessions
    cdef readonly TicketKeys ticket_keys
    cdef TlsSession open_session(self, bytes server_name)
    cdef TlsContext context_for(self, bytes name)   # of a certificate for this name, as a client sent it

cdef class TlsSession:
    """TLS of one connection."""
    cdef SSL* ssl
    cdef TlsContext context
    cdef bytes server_name
    cdef bint is_established
    cdef bint said_goodbye
    cdef bint may_read_on               # a write failed by the connection: what the peer has sent can be read
    cdef uint32_t wants                 # EPOLLOUT = OpenSSL must write before it can continue; 0 = it need not
    cdef str error                      # why it failed
    cdef int64_t sent_whole             # sent() when the last write returned: what was sent since is part of a record
    cdef int attach(self, int fd) except -1     # OSError; the caller keeps the descriptor
    cdef int detach(self) except -1
    cdef int handshake(self)            # 0 = established
    cdef Py_ssize_t read(self, char* buffer, Py_ssize_t size)
    cdef Py_ssize_t write(self, const char* data, Py_ssize_t size)
    cdef Py_ssize_t write_joined(self, bytes first, Py_ssize_t offset, list rest)   # small pieces in one record
    cdef int64_t sent(self) noexcept    # bytes that the kernel has taken in all: records, and the handshake
    cdef bint holds_bytes(self)         # OpenSSL holds bytes that are not read, which epoll does not report
    cdef bint say_goodbye(self)         # close_notify, once; False = the kernel has no room, call it again
    cdef bytes protocol(self)           # agreed by ALPN; b"" = none
    cdef tuple subject_alt_names(self)  # of the peer's verified certificate: (kind, name) pairs
    cdef Py_ssize_t _judge(self, int result)
    cdef int _explain(self) except -1
