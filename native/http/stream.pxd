"""What do a wire and an exchange say to each other?  Four small roles, the same for HTTP/1.1 and HTTP/2.

    client bytes -> ServerStream -> ServerEvents (an exchange)
    ClientEvents (an attempt) <- ClientStream <- upstream bytes

An exchange holds a ServerStream and hears of it through ServerEvents; an attempt holds a ClientStream and hears of it
through ClientEvents. Every call is synchronous; bytes objects are handed over, never copied by these roles. So are the lists
of fields and trailers that are sent: nobody changes one afterwards, and their names are lower case."""

from libc.stdint cimport int64_t, uint64_t
from native.codec.head cimport Head
from native.io.timer_wheel cimport Wheel

cdef enum Failure:              # why a stream to an upstream ended without a whole answer
    FAILED_CONNECT = 0          # no connection: refused, unreachable, name or TLS failure
    FAILED_RESET = 1            # closed or reset before the answer's head
    FAILED_MALFORMED = 2        # what came is not HTTP
    FAILED_TRUNCATED = 3        # the answer ended before it was complete

cdef struct ListenCounters:     # where clients' connections are counted, in shared memory
    uint64_t* accepted
    uint64_t* open              # connections now
    uint64_t* malformed         # requests refused for their framing
    uint64_t* bytes_in
    uint64_t* bytes_out
    uint64_t* buffered          # bytes of requests held now

cdef class Certified:
    """What a client's certificate says, which the listener has asked for and verified. One a connection."""
    cdef tuple alternatives         # its (kind, name) pairs: subjectAltName
    cdef tuple judged               # the names by which it was last looked at; None = never
    cdef bint peer                  # it is another region's edge by those

cdef class ServerEvents:
    cdef void on_request_data(self, bytes data)
    cdef void on_request_end(self, list trailers)
    cdef void on_client_gone(self)
    cdef void on_client_congested(self)     # stop feeding: write buffers are above the high mark
    cdef void on_client_drained(self)

cdef class ServerStream:
    cdef ServerEvents events
    cdef readonly str scheme        # "http" or "https"
    cdef bint ends                  # set before send_head: this answer is the connection's last
    cdef bint keyless               # its listener asks for no key
    cdef Certified certified        # None: the client has shown no certificate
    cdef bint switching             # the request asks for a tunnel: what follows it waits for the answer
    cdef bint waits                 # the client keeps its body back until it is told to go on (100)
    cdef bint collected             # the body is taken whole before anything is answered: it is no conversation
    cdef void send_interim(self, int status)
    cdef void send_head(self, int status, list fields, int64_t length)
    cdef void send_data(self, bytes data)
    cdef void send_end(self, list trailers)
    cdef void cut(self)             # end without completeness: the peer must see that something is missing
    cdef void pause(self)           # stop reading the request
    cdef void resume(self)
    cdef bint congested(self)
    cdef object peer(self)          # (address, port) or None

cdef class ClientEvents:
    cdef void on_connection(self, ClientStream stream)
    cdef void on_interim(self, int status)
    cdef void on_head(self, Head head)
    cdef void on_data(self, bytes data)
    cdef void on_end(self, list trailers)
    cdef void on_failed(self, int failure, str detail)      # Failure; nothing follows
    cdef void on_upstream_congested(self)
    cdef void on_upstream_drained(self)

cdef class ClientStream:
    cdef ClientEvents events
    cdef readonly bint reused       # the connection has carried an exchange before
    cdef readonly bint refused      # the upstream says that it has not begun this request (REFUSED_STREAM, GOAWAY)
    cdef readonly bint moved        # ... only because a connection that had served came to its end: nobody is to blame
    cdef void send_request(self, bytes method, bytes target, bytes authority, list fields, int64_t length)
    cdef void send_data(self, bytes data)   # no bytes: a head that waits for its body goes now
    cdef void send_end(self, list trailers)
    cdef void cancel(self)          # nobody wants the rest; the connection is not used again unless the wire can tell
    cdef void discard(self)         # the rest of the answer is of no interest: keep the connection if it is short
    cdef void pause(self)
    cdef void resume(self)
    cdef bint congested(self)
    cdef Py_ssize_t unsent(self)    # bytes of the request that the upstream has still to take

cdef Py_ssize_t outgoing(object transport)      # bytes that it and the kernel still hold, for the peer to take
cdef Py_ssize_t unread(object transport)        # the same also while it closes, when outgoing says 0

cdef class Acceptor:
    """What a server connection needs from the data plane it belongs to."""
    cdef readonly Wheel coarse      # one-second deadlines: idle connections, heads, stalls
    cdef ListenCounters counters
    cdef Py_ssize_t header_bytes
    cdef int header_count
    cdef uint64_t idle_ns, header_timeout_ns, body_timeout_ns, stall_ns
    cdef bint draining
    cdef set open_connections
    cdef int connection_limit
    cdef Py_ssize_t buffered, buffered_limit    # bytes of requests that are held
    cdef bint hold(self, Py_ssize_t more) noexcept          # False: there is no room; below 0: given back
    cdef ServerEvents open(self, ServerStream stream, Head head)
    cdef bytes refusal(self, int status, str reason)        # a whole HTTP/1.1 answer for a request that is no request
