"""Defines the four roles between the wire and an exchange, the same for HTTP/1.1 and HTTP/2.

    client bytes -> ServerStream -> ServerEvents (an exchange)
    ClientEvents (an attempt) <- ClientStream <- upstream bytes

An exchange holds a ServerStream and receives its events as ServerEvents; an attempt holds a ClientStream and receives
its events as ClientEvents. Every call is synchronous. A bytes object, a list of fields and a list of trailers are handed
over and not copied: nobody changes a list after the call. Field names are lower case.

A role's own methods do nothing. A subclass overrides every method of its role; tests/native/test_contract.py checks it."""

from libc.stdint cimport int64_t, uint64_t
from native.codec.head cimport Head
from native.io.timer_wheel cimport Wheel

cdef enum Failure:              # why a stream to an upstream ended without a whole answer
    FAILED_CONNECT = 0          # no connection: refused, unreachable, name or TLS failure
    FAILED_RESET = 1            # closed or reset before the answer's head
    FAILED_MALFORMED = 2        # what came is not HTTP
    FAILED_TRUNCATED = 3        # the answer ended before it was complete
    FAILED_LOCAL = 4            # no connection, for want of something of ours (descriptors, ports): nobody is to blame

cdef struct ListenCounters:     # where clients' connections are counted, in shared memory
    uint64_t* accepted
    uint64_t* open              # connections now
    uint64_t* malformed         # requests refused for their framing
    uint64_t* bytes_in
    uint64_t* bytes_out
    uint64_t* buffered          # bytes of requests held now

cdef class ClientCertificate:
    """The names in a client's certificate, which the listener has asked for and verified. One per connection."""
    cdef tuple subject_alt_names    # (kind, name) pairs
    cdef tuple checked_names        # the peer names that ``is_region`` was last decided by; None = never decided
    cdef bint is_region             # the certificate is another region's edge's, by those names

cdef class ServerEvents:
    """Receives what the client of one exchange does. A subclass overrides every method; test_contract.py checks it."""
    cdef void on_request_data(self, bytes data)
    cdef void on_request_end(self, list trailers)
    cdef void on_client_gone(self)          # nothing follows
    cdef void on_client_congested(self)     # stop sending: the write buffers are above the high mark
    cdef void on_client_drained(self)

cdef class ServerStream:
    """Sends the answer of one exchange. A subclass overrides every method; test_contract.py checks it."""
    cdef ServerEvents events
    cdef readonly str scheme            # "http" or "https"
    cdef bint closes_connection         # set before send_head: this answer is the connection's last
    cdef bint allow_anonymous           # the listener asks for no key
    cdef ClientCertificate certificate  # None = the client has shown no certificate
    cdef bint upgrade_requested         # the request asks for a tunnel: bytes behind it wait for the answer
    cdef bint awaits_continue           # the client holds its body back until 100 (Continue)
    cdef bint body_buffered             # the whole body is read before anything is answered: the stream is no dialogue
    cdef void send_interim(self, int status)
    cdef void send_head(self, int status, list fields, int64_t length)
    cdef void send_data(self, bytes data)
    cdef void send_end(self, list trailers)
    cdef void cut(self)                 # end the answer so that the client sees that a part is missing
    cdef void pause(self)               # stop reading the request
    cdef void resume(self)
    cdef bint congested(self)
    cdef object peer(self)              # (address, port) or None

cdef class ClientEvents:
    """Receives what the upstream of one attempt does. A subclass overrides every method; test_contract.py checks it."""
    cdef void on_connection(self, ClientStream stream)
    cdef void on_interim(self, int status)
    cdef void on_head(self, Head head)
    cdef void on_data(self, bytes data)
    cdef void on_end(self, list trailers)
    cdef void on_failed(self, int failure, str detail)      # Failure; nothing follows
    cdef void on_upstream_congested(self)
    cdef void on_upstream_drained(self)

cdef class ClientStream:
    """Sends the request of one attempt. A subclass overrides every method; test_contract.py checks it."""
    cdef ClientEvents events
    cdef readonly bint reused           # the connection has carried an exchange before
    cdef readonly bint refused          # the upstream did not begin this request (REFUSED_STREAM, GOAWAY)
    cdef readonly bint connection_ended # ... only because a connection that had served ended: no failure of the target
    cdef void send_request(self, bytes method, bytes target, bytes authority, list fields, int64_t length)
    cdef void send_data(self, bytes data)   # with b"" a head that waits for its body is written now
    cdef void send_end(self, list trailers)
    cdef void cancel(self)              # the answer is not wanted; HTTP/1.1 gives the connection up
    cdef void discard(self)             # drop the rest of the answer, and keep the connection if the rest is short
    cdef void pause(self)
    cdef void resume(self)
    cdef bint congested(self)
    cdef Py_ssize_t unsent(self)        # bytes of the request that the upstream has still to take

cdef class Acceptor:
    """The data plane as a server connection sees it.

    A subclass overrides ``open`` and ``refusal``; test_contract.py checks it."""
    cdef readonly Wheel coarse          # one-second deadlines: idle connections, heads, stalls
    cdef ListenCounters counters
    cdef Py_ssize_t header_bytes
    cdef int header_count
    cdef uint64_t idle_ns, header_timeout_ns, body_timeout_ns, client_idle_ns
    cdef bint draining
    cdef set open_connections
    cdef int connection_limit
    cdef Py_ssize_t buffered, buffered_limit    # bytes of requests that are held
    cdef bint hold(self, Py_ssize_t more) noexcept          # False = no room; below 0 gives back
    cdef ServerEvents open(self, ServerStream stream, Head head)
    cdef bytes refusal(self, int status, str reason)        # a whole HTTP/1.1 answer to what is no request
