"""Defines the four roles between the wire and an exchange, the same for HTTP/1.1 and HTTP/2.

    client bytes -> ServerStream -> ServerEvents (an exchange)
    ClientEvents (an attempt) <- ClientStream <- upstream bytes

An exchange holds a ServerStream and receives its events as ServerEvents; an attempt holds a ClientStream and receives
its events as ClientEvents. Every call is synchronous. Bytes objects and lists of fields or trailers are passed without
a copy: neither side changes a list after the call. Field names are lower case.

The methods of these base classes do nothing. A subclass overrides every method of its role;
tests/native/test_contract.py checks it."""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from native.codec.head cimport Head
from native.http.listen_policy cimport ListenPolicy
from native.io.reactor cimport Reactor
from native.io.stream_socket cimport StreamSocket
from native.io.timer_wheel cimport Wheel

cdef enum Failure:              # why a stream to an upstream ended without a complete answer
    FAILED_CONNECT = 0          # no connection: refused, unreachable, name or TLS failure
    FAILED_RESET = 1            # closed or reset before the answer's head
    FAILED_MALFORMED = 2        # the answer is not valid HTTP
    FAILED_TRUNCATED = 3        # the answer ended before it was complete
    FAILED_LOCAL = 4            # no connection: this node has run out of descriptors or ports; not the target's fault

cdef struct ListenCounters:     # where clients' connections are counted, in shared memory
    uint64_t* accepted
    uint64_t* open              # connections now
    uint64_t* evicted           # idle connections that made room for new ones
    uint64_t* turned_away       # connections that were closed because there was no room
    uint64_t* malformed         # requests refused for their framing
    uint64_t* bytes_in
    uint64_t* bytes_out
    uint64_t* buffered          # bytes of requests held now

cdef struct Pace:               # how fast a client takes an answer, or sends its request
    uint64_t since_ns           # since when it was not fast enough; 0 = it is not watched
    int64_t mark                # bytes that it had taken, or sent, then

cdef class Share:
    """What one key, or the callers without a key at one address, have a worker hold."""
    cdef Py_ssize_t held                # bytes
    cdef object __weakref__

cdef class ClientCertificate:
    """The names in a client's certificate, which the listener has requested and verified. One object per connection."""
    cdef tuple subject_alt_names    # (kind, name) pairs
    cdef tuple checked_names        # the configured peer names that ``is_region`` was computed with; None = not yet
    cdef bint is_region             # the certificate belongs to another region's edge

cdef class ServerEvents:
    """Receives what the client of one exchange does. A subclass overrides every method; test_contract.py checks it."""
    cdef int on_request_data(self, bytes data) except -1
    cdef int on_request_end(self, list trailers) except -1
    cdef int on_client_gone(self) except -1          # nothing follows
    cdef int on_client_congested(self) except -1     # pause the answer: the write buffers are above the high mark
    cdef int on_client_drained(self) except -1

cdef class ServerStream:
    """Sends the answer of one exchange. A subclass overrides every method; test_contract.py checks it."""
    cdef ServerEvents events
    cdef readonly str scheme            # "http" or "https"
    cdef bint closes_connection         # set before send_head: this answer is the connection's last
    cdef ListenPolicy policy            # of the listener
    cdef ClientCertificate certificate  # None = the client has presented no certificate
    cdef bint upgrade_requested         # the request asks for a tunnel: bytes behind the request wait for the answer
    cdef bint awaits_continue           # the client waits for 100 (Continue) before it sends the body
    cdef bint reached_upstream          # an upstream has been asked for the answer
    cdef Share share                    # of its key, or of the client's address; None = what it holds is nobody's share
    cdef Py_ssize_t uploaded            # bytes of the request that are held and still come
    cdef Pace upload                    # begins anew when edge itself has paused the upload
    cdef bint is_call                   # a call of gRPC that a service, or edge itself, answers: it takes its time
    cdef object slot                    # the ConnectionSlot of a connection that has become a tunnel; else None
    cdef bint body_buffered             # the whole body is read before the answer begins (no bidirectional streaming)
    cdef int send_interim(self, int status) except -1
    cdef int send_head(self, int status, list fields, int64_t length) except -1
    cdef int send_data(self, bytes data) except -1
    cdef int send_end(self, list trailers) except -1
    cdef int cut(self) except -1                 # end the answer so that the client sees that it is incomplete
    cdef int pause(self) except -1               # stop reading the request
    cdef int resume(self) except -1
    cdef bint congested(self)
    cdef object peer(self)              # (address, port) or None

cdef class ClientEvents:
    """Receives what the upstream of one attempt does. A subclass overrides every method; test_contract.py checks it."""
    cdef bint wants_fresh               # only a connection that has carried no exchange will do
    cdef int on_connection(self, ClientStream stream) except -1
    cdef int on_interim(self, int status) except -1
    cdef int on_head(self, Head head) except -1
    cdef int on_data(self, bytes data) except -1
    cdef int on_end(self, list trailers) except -1
    cdef int on_failed(self, int failure, str detail) except -1      # Failure; nothing follows
    cdef int on_upstream_congested(self) except -1
    cdef int on_upstream_drained(self) except -1

cdef class ClientStream:
    """Sends the request of one attempt. A subclass overrides every method; test_contract.py checks it."""
    cdef ClientEvents events
    cdef readonly bint reused           # the connection has carried an exchange before
    cdef readonly bint refused          # the upstream did not process this request (REFUSED_STREAM, GOAWAY)
    cdef readonly bint connection_ended # a connection ended after use, and took this request along: not the target's failure
    cdef readonly uint32_t reset_code   # the HTTP/2 error with which the upstream reset the stream; 0 = it did not
    cdef int send_request(self, bytes method, bytes target, bytes authority, list fields, int64_t length) except -1
    cdef int send_data(self, bytes data) except -1   # b"" writes a head that waits for its body
    cdef int send_end(self, list trailers) except -1
    cdef int cancel(self) except -1              # abandon the answer; HTTP/1.1 closes the connection
    cdef int discard(self) except -1  # drop the rest of the answer, and keep the connection if the rest is short
    cdef int pause(self) except -1
    cdef int resume(self) except -1
    cdef bint congested(self)
    cdef Py_ssize_t unsent(self)        # bytes of the request that the upstream has not acknowledged yet
    cdef uint64_t heard_ns(self)        # when bytes last came on a connection that carries other streams too; 0 = it does not

cdef class Acceptor:
    """The data plane as a server connection sees it.

    A subclass overrides ``open`` and ``refusal``; test_contract.py checks it."""
    cdef readonly Wheel coarse          # one-second deadlines: idle connections, heads, stalls
    cdef Reactor reactor                # None before start and after stop
    cdef ListenCounters counters
    cdef Py_ssize_t header_bytes
    cdef int header_count
    cdef uint64_t idle_ns, header_timeout_ns, body_timeout_ns, client_idle_ns
    cdef bint draining
    cdef set open_connections
    cdef object idle_first, idle_last           # ConnectionSlots of idle connections, the longest idle first; or None
    cdef int connection_limit
    cdef Py_ssize_t buffered, buffered_limit    # bytes of requests and answers in memory
    cdef uint64_t patience_ns                   # a slow client is cut after this long
    cdef object key_shares                      # WeakValueDictionary: name of a key -> Share, kept while anything needs it
    cdef list address_shares                    # Shares of callers without a key, by StreamSocket.client
    # Reserve memory for ``more`` bytes in a share; a negative number releases. False = no room.
    cdef bint hold(self, Share share, Py_ssize_t more) noexcept
    cdef Py_ssize_t room(self, Share share) noexcept        # bytes that hold() would grant
    cdef void count(self, Share share, Py_ssize_t more) noexcept    # count what is in memory already
    cdef Py_ssize_t recount(self, Share share, Py_ssize_t before, Py_ssize_t now) noexcept  # returns ``now``
    cdef Share share_of_key(self, str name)     # the same over Snapshots
    # The share of a connection's callers that have no key; None = the address stands for many: loopback, a proxy in front.
    cdef Share share_of_address(self, StreamSocket socket, ListenPolicy policy)
    # Whether a client is judged by its pace now: edge holds much for it, and memory is scarce. If not, its pace begins
    # anew. If so, is_too_slow() returns whether it is cut. moved: the bytes that it has taken or sent in all.
    cdef bint judges(self, Pace* pace, Share share, Py_ssize_t held) noexcept
    cdef bint is_too_slow(self, Pace* pace, int64_t moved, uint64_t now_ns) noexcept
    cdef int set_patience(self) except -1       # client_idle_ns has been set
    cdef ServerEvents open(self, ServerStream stream, Head head)
    # The response to a malformed request: its fields without framing, and its content.
    cdef tuple refusal(self, int status, str reason)
