"""Serves a client's HTTP/1.1 connection: answers requests in order (RFC 9112 9.3.2).

Pipelined requests wait for their turn. Messages are never passed through: requests and responses are framed anew."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from native.io.atomics cimport add64
from native.io.clock cimport event_time_ns, monotonic_ns
from native.codec.head cimport NO_BODY, TUNNEL, Head
from native.codec.pieces cimport add_piece
from native.codec.head_writer cimport (
    FRAME_CHUNKED, FRAME_CLOSE, FRAME_KEEP_ALIVE, FRAME_LENGTH, FRAME_NONE, FRAME_UPGRADE, status_line,
    write_response_head,
)
from native.http.connection_slot cimport ConnectionSlot
from native.http.http1_request_parser cimport RequestEvents, RequestParser
from native.http.http1_writer cimport MessageWriter, framing_of
from native.http.listen_policy cimport ListenPolicy
from native.http.stream cimport Acceptor, ClientCertificate, Pace, ServerEvents, ServerStream, Share
from native.io.stream_socket cimport DETACHED, SocketEvents, StreamSocket

# After the last response the rest of the request is read and dropped for this long, so that the client sees the
# response and not a reset (RFC 9112 9.6).
cdef uint64_t LINGER_NS = 1_000_000_000
# Deadlines are checked at least this often.
cdef uint64_t CHECK_NS = 2_000_000_000
# A client may send this much behind an upgrade request before reading is paused.
cdef Py_ssize_t EARLY_LIMIT = 65536
# More pipelined requests than this are abuse: each costs more memory than its bytes.
cdef int PIPELINE_LIMIT = 64


# A method of ``events`` may clear the attribute that it was called through. Every such call goes through a local
# variable, which keeps the object alive until the call returns.


cdef class Http1Server


cdef class Http1Stream(ServerStream):
    """One request of a client and the response to it."""

    cdef Http1Server connection
    cdef Head head
    cdef list backlog               # body data that arrived while an earlier request was being answered
    cdef Py_ssize_t backlog_bytes
    cdef uint64_t started_ns        # when the exchange was opened
    cdef bint opened                # the stream has been given to an exchange
    cdef bint received              # the request is complete
    cdef bint head_sent
    cdef bint answered              # the response is complete, or cut
    cdef bint bodiless              # the response has no body

    cdef int send_interim(self, int status) except -1:
        cdef Http1Server connection = self.connection
        self.awaits_continue = False
        connection.wait_started_ns = monotonic_ns()     # the client's turn begins here
        if not self.head_sent and self.head.version != 10:
            connection.socket.write(status_line(status) + b"\r\n")

    cdef int send_head(self, int status, list fields, int64_t length) except -1:
        cdef Http1Server connection = self.connection
        cdef int framing
        # If the request is incomplete now, it may still be incomplete when the response ends.
        cdef bint keep = self.received and self.head.keep_alive and not connection.slot.retires()
        self.head_sent = True
        self.bodiless = self.head.method == b"HEAD" or status == 204 or status == 304
        if length == TUNNEL:
            connection.writer.begin(write_response_head(status, fields, FRAME_UPGRADE, 0), False)
            connection.begin_tunnel()
            return 0
        framing = framing_of(status, length, self.bodiless, self.head.version)
        if length == NO_BODY:
            length = 0
            self.bodiless = True
        elif framing == FRAME_NONE and not self.bodiless:
            keep = False
        if self.closes_connection or not keep:
            self.closes_connection = True
            framing |= <int>FRAME_CLOSE
        elif self.head.version == 10:
            framing |= <int>FRAME_KEEP_ALIVE
        connection.writer.begin(
            write_response_head(status, fields, framing, length), framing & <int>FRAME_CHUNKED != 0
        )

    cdef int send_data(self, bytes data) except -1:
        if not self.bodiless or not PyBytes_GET_SIZE(data):
            self.connection.writer.write(data)
            if self.connection.socket.write_paused:
                self.connection.count_unsent()      # at once: what was held until now is no longer counted

    cdef int send_end(self, list trailers) except -1:
        cdef Http1Server connection = self.connection
        if self.answered:
            return 0
        connection.writer.end(trailers)
        self.answered = True
        self.events = None
        if connection.tunnel:
            connection.close()
        else:
            connection.end_response()

    cdef int cut(self) except -1:
        cdef Http1Server connection = self.connection
        self.answered = True
        self.events = None
        connection.writer.flush()
        # Reset the connection if a close would look like the end of the response (HTTP/1.0). Otherwise flush what was
        # written: the client notices the missing last chunk or bytes.
        if self.head_sent and not connection.writer.chunked and self.head.version == 10:
            connection.socket.abort()
        else:
            connection.close()

    cdef int pause(self) except -1:
        self.connection.socket.pause_reading()

    cdef int resume(self) except -1:
        self.connection.resume_reading()

    cdef bint congested(self):
        return self.connection.socket.write_paused

    cdef object peer(self):
        return self.connection.socket.peer()

    cdef int release_backlog(self) except -1:
        """Release the memory of the backlog."""
        self.connection.acceptor.count(self.share, -self.backlog_bytes)
        self.backlog_bytes = 0
        self.backlog = None


cdef class Http1ServerSocket(SocketEvents):
    """Passes the socket's events to the connection, which is the parser's events object itself."""

    cdef Http1Server connection

    cdef int on_open(self, StreamSocket socket) except -1:
        self.connection.on_open(socket)

    cdef int on_bytes(self, const char* data, Py_ssize_t size) except -1:
        self.connection.on_bytes(data, size)

    cdef int on_eof(self, bint truncated) except -1:
        self.connection.leave()

    cdef int on_lost(self, str reason) except -1:
        self.connection.on_lost()

    cdef int on_write_paused(self) except -1:
        self.connection.on_write_paused()

    cdef int on_write_resumed(self) except -1:
        self.connection.on_write_resumed()

    cdef int on_deferred(self) except -1:
        return 0


cdef class Http1Server(RequestEvents):
    """One client connection.

    Args:
        acceptor: the data plane that opens an exchange for each request.
        policy: what the listener demands.
        slot: of the connection, taken when it was accepted.
        certificate: the names in the client's certificate; None = the client has presented none.
    """

    cdef Acceptor acceptor
    cdef ConnectionSlot slot
    cdef StreamSocket socket
    cdef MessageWriter writer
    cdef RequestParser parser
    cdef ClientCertificate certificate
    cdef str scheme
    cdef Http1Stream current        # the stream that is being answered
    cdef Http1Stream incoming       # the stream whose request is being read
    cdef list pipelined             # the streams that wait behind ``current``
    cdef ListenPolicy policy
    cdef bint gone                  # the client has left, or the connection was not accepted
    cdef bint closing               # the last response has been written: further data is dropped
    cdef bint lingering             # the connection is closed once the client has read the last response
    cdef bint refused               # a framing error: further data cannot be trusted
    cdef int refusal_status         # the response to the refused request, sent when its turn comes
    cdef str refusal_reason
    cdef uint64_t wait_started_ns   # when the current wait for the client began
    cdef Py_ssize_t unsent          # bytes of answers that are counted as held, because the client does not take them
    cdef Share unsent_share         # ... and for whom
    cdef Share address_share        # of requests that carry no key
    cdef Pace reading
    cdef uint64_t reader_ns         # when writing was paused, or when the client was last seen to read after that
    cdef bytes early                # data behind an upgrade request; None = no upgrade is pending
    cdef bint tunnel                # the upgrade was accepted: bytes are relayed without framing

    def __init__(
        self, Acceptor acceptor, ListenPolicy policy, ConnectionSlot slot not None, ClientCertificate certificate=None
    ):
        self.acceptor = acceptor
        self.policy = policy
        self.certificate = certificate
        self.pipelined = []
        self.slot = slot
        self.socket = DETACHED
        self.writer = MessageWriter.__new__(MessageWriter)
        self.writer.socket = self.socket
        self.parser = RequestParser(self, acceptor.header_bytes, acceptor.header_count)

    def socket_events(self):
        """Return the object that receives the socket's events."""
        cdef Http1ServerSocket events = Http1ServerSocket.__new__(Http1ServerSocket)
        events.connection = self
        return events

    cdef int on_open(self, StreamSocket socket) except -1:
        """Begin with a connection, whose first request has been waited for since it was accepted."""
        self.slot.pass_to(self)
        self.socket = socket
        self.writer.socket = socket
        socket.bytes_out = self.acceptor.counters.bytes_out
        self.scheme = "https" if socket.is_secure else "http"
        self.wait_started_ns = self.slot.accepted_ns
        self.address_share = self.acceptor.share_of_address(socket, self.policy)
        add64(self.acceptor.counters.accepted, 1)
        self.slot.watch_soon(monotonic_ns(), CHECK_NS)

    cdef int on_lost(self) except -1:
        """Cancel the client's exchange: the connection is lost."""
        self.leave()
        self.count_unsent()
        self.slot.give_back()
        self.parser.close()

    cdef int leave(self) except -1:
        """Treat the client as gone, because a half-close cannot be told from a full close. The socket closes."""
        cdef Http1Stream stream = self.current
        if self.gone:
            return 0
        self.gone = True
        self.expect_no_more()       # the socket closes by itself after it has flushed its queue
        self.current = None
        self.incoming = None
        for item in self.pipelined:
            (<Http1Stream>item).release_backlog()
        self.pipelined = []
        if stream is not None:
            self.drop_exchange(stream)

    cdef int drop_exchange(self, Http1Stream stream) except -1:
        """End the exchange of a stream whose client has left."""
        cdef ServerEvents events = stream.events
        if events is not None:
            stream.events = None
            stream.answered = True
            events.on_client_gone()

    cdef int on_write_paused(self) except -1:
        """Pause the upstream: the client reads too slowly."""
        cdef ServerEvents events = None if self.current is None else self.current.events
        self.reader_ns = monotonic_ns()
        self.socket.mark_progress()
        self.count_unsent()
        if events is not None:
            events.on_client_congested()

    cdef int on_write_resumed(self) except -1:
        """Resume the upstream: the client reads again."""
        cdef ServerEvents events = None if self.current is None else self.current.events
        self.count_unsent()
        if events is not None:
            events.on_client_drained()
        elif self.current is None and not self.closing:
            self.next_request()

    cdef int count_unsent(self) except -1:
        """Count what waits for the client as held."""
        if self.unsent == 0 and self.current is not None:
            self.unsent_share = self.current.share
        self.unsent = self.acceptor.recount(self.unsent_share, self.unsent, self.socket.occupied())

    cdef bint reads_too_slowly(self, uint64_t now_ns):
        self.socket.trim()
        self.count_unsent()
        if self.current is not None and self.current.is_call:
            return False
        return self.acceptor.judges(&self.reading, self.unsent_share, self.unsent) and (
            self.acceptor.is_too_slow(&self.reading, self.socket.count_acked(), now_ns)
        )

    cdef bint sends_too_slowly(self, uint64_t now_ns):
        cdef Http1Stream stream = self.incoming
        return not stream.is_call and self.acceptor.judges(&stream.upload, stream.share, stream.uploaded) and (
            self.acceptor.is_too_slow(&stream.upload, stream.uploaded, now_ns)
        )

    cdef int on_bytes(self, const char* data, Py_ssize_t size) except -1:
        """Feed the parser. A framing error is answered with an error status and ends the connection."""
        add64(self.acceptor.counters.bytes_in, size)
        self.receive(data, size)

    cdef receive(self, const char* data, Py_ssize_t size):
        cdef ServerEvents events
        if self.closing or self.refused:
            return
        if self.tunnel:
            events = None if self.current is None else self.current.events
            if events is not None:
                events.on_request_data(data[:size])
            return
        if self.early is not None:
            self.hold_early(data[:size])
            return
        if self.incoming is not None:
            self.wait_started_ns = event_time_ns()
        self.parser.feed(data, size)
        if self.parser.fault is not None:
            self.refuse(self.parser.fault_status, self.parser.fault)
        self.answer_refused()

    cdef int hold_early(self, bytes data) except -1:
        """Keep data that arrives before the upgrade is accepted. Reading goes on to EARLY_LIMIT, to notice a close."""
        self.early = data if self.early is None else self.early + data
        if PyBytes_GET_SIZE(self.early) > EARLY_LIMIT:
            self.socket.pause_reading()

    # --- what the parser finds ---------------------------------------------------------------------------------------
    cdef int on_head_begin(self) except -1:
        self.wait_started_ns = event_time_ns()
        if self.slot.idle and self.slot.served:
            self.slot.rest()

    cdef bint on_head(self, Head head):
        cdef Http1Stream stream = Http1Stream.__new__(Http1Stream)
        stream.connection = self
        stream.head = head
        stream.scheme = self.scheme
        stream.policy = self.policy
        stream.share = self.address_share
        stream.certificate = self.certificate
        stream.received = head.length == NO_BODY
        stream.awaits_continue = head.expects and not stream.received and head.version != 10
        self.incoming = stream
        if self.current is None and not self.socket.write_paused:
            self.open(stream)
        elif len(self.pipelined) >= PIPELINE_LIMIT:
            self.refuse(400, f"more than {PIPELINE_LIMIT} pipelined requests")
            return False
        else:
            self.pipelined.append(stream)
            self.socket.pause_reading()
        return True

    cdef bint on_body(self, bytes data):
        cdef Http1Stream stream = self.incoming
        cdef ServerEvents events
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        if stream is None or stream.answered:
            return True
        stream.awaits_continue = False
        if stream.opened:
            events = stream.events
            if events is not None:
                events.on_request_data(data)
            return True
        if not self.acceptor.hold(stream.share, size):
            self.refuse(503, "its body does not fit into what this node may hold; retry")
            return False
        stream.backlog_bytes += size
        if stream.backlog is None:
            stream.backlog = []
        add_piece(stream.backlog, data)
        return True

    cdef int on_complete(self) except -1:
        cdef Http1Stream stream = self.incoming
        cdef ServerEvents events
        self.incoming = None
        if stream is None:
            return 0
        stream.received = True
        if stream.opened:
            events = stream.events
            if events is not None:
                events.on_request_end(None)
            if stream.answered and self.current is stream:
                self.end_response()

    cdef bint on_upgrade(self, bytes rest):
        if self.current is None or not self.current.upgrade_requested or self.pipelined:
            return False
        self.hold_early(rest)
        return True

    # --- one exchange after another ----------------------------------------------------------------------------------
    cdef open(self, Http1Stream stream):
        cdef list backlog = stream.backlog
        cdef ServerEvents events
        self.current = stream
        stream.opened = True
        self.slot.busy()
        if not stream.received:
            # a pipelined request waits with the first part of its body, and reading is paused meanwhile
            self.resume_reading()
        stream.release_backlog()
        stream.started_ns = event_time_ns()
        stream.events = self.acceptor.open(stream, stream.head)
        if backlog is not None:
            for data in backlog:
                events = stream.events
                if events is not None:
                    events.on_request_data(<bytes>data)
        events = stream.events
        if stream.received and events is not None:
            events.on_request_end(None)

    cdef int end_response(self) except -1:
        """End the current exchange: close the connection, or serve the next request."""
        cdef Http1Stream stream = self.current
        if stream is None or not stream.answered or self.gone:
            return 0
        if not stream.received:
            # An early response. The client still sends its body, and whatever follows could be body or request. So no
            # other request is read on this connection.
            self.current = None
            self.linger()
            return 0
        self.current = None
        if stream.closes_connection:
            if self.refused or self.pipelined:
                self.linger()
            else:
                self.close()
            return 0
        self.wait_started_ns = event_time_ns()
        self.next_request()

    cdef int next_request(self) except -1:
        """Serve the next request, unless the client does not read its responses."""
        if self.socket.write_paused:
            if not self.pipelined:
                self.socket.pause_reading()
        elif self.pipelined:
            self.open(<Http1Stream>self.pipelined.pop(0))
        elif self.refused:
            self.send_refusal()
        elif self.acceptor.draining:
            self.close()
        else:
            self.slot.rest()
            self.resume_reading()
            if self.early is not None:
                early = self.early
                self.early = None
                if early:
                    self.receive(PyBytes_AS_STRING(early), PyBytes_GET_SIZE(early))

    cdef begin_tunnel(self):
        """Begin the tunnel that the service has accepted: forward the early data, and then all bytes as they arrive."""
        cdef Http1Stream stream = self.current
        cdef bytes early = self.early
        cdef ServerEvents events
        self.tunnel = True
        self.early = None
        stream.slot = self.slot
        self.writer.flush()
        self.resume_reading()
        events = stream.events
        if early and events is not None:
            events.on_request_data(early)

    # --- refusals and the end ----------------------------------------------------------------------------------------
    cdef int refuse(self, int status, str reason) except -1:
        """Refuse the incoming request and all data after it. The error response is sent when its turn has come."""
        cdef Http1Stream stream = self.current
        if self.refused:
            return 0
        self.refused = True
        self.refusal_status = status
        self.refusal_reason = reason
        self.parser.stop()
        add64(self.acceptor.counters.malformed, 1)
        if stream is not None and stream is self.incoming and not stream.received:
            # the body of the running exchange is broken: the exchange cannot be completed
            self.current = None
            self.incoming = None
            if stream.head_sent or stream.answered:
                self.drop_exchange(stream)
                self.close()
            else:
                self.drop_exchange(stream)
                stream.answered = True
            return 0
        if self.incoming is not None and self.pipelined and self.pipelined[-1] is self.incoming:
            (<Http1Stream>self.pipelined.pop()).release_backlog()
        self.incoming = None

    cdef int answer_refused(self) except -1:
        """Send the error response for the refused request, if every earlier request has been answered."""
        if self.refused and self.current is None and not self.pipelined:
            self.send_refusal()

    cdef int send_refusal(self) except -1:
        if self.closing:
            return 0
        status, reason = self.refusal_status, self.refusal_reason
        fields, content = self.acceptor.refusal(status, reason)
        self.acceptor.note_refusal(fields, self.socket.peer(), self.scheme, 11, status, reason, len(content))
        self.socket.write(write_response_head(status, fields, <int>FRAME_LENGTH | <int>FRAME_CLOSE, len(content)) + content)
        self.linger()

    cdef int expect_no_more(self) except -1:
        """Read no more requests. The client may finish reading what was written, as long as it makes progress."""
        self.closing = True
        self.parser.stop()
        self.wait_started_ns = monotonic_ns()
        self.socket.mark_progress()

    cdef int linger(self) except -1:
        """Read and drop data for a moment before the connection is closed, so that the response arrives."""
        self.lingering = True
        self.closing = True
        self.parser.stop()
        if self.socket.fd < 0:
            return 0
        self.resume_reading()
        self.socket.write_eof()
        self.expect_no_more()
        self.slot.watch_at(self.wait_started_ns + LINGER_NS)

    cdef int close(self) except -1:
        self.expect_no_more()
        self.socket.close()

    cdef int resume_reading(self) except -1:
        if self.socket.resume_reading():
            self.wait_started_ns = monotonic_ns()
            if self.incoming is not None:
                self.incoming.upload.since_ns = 0

    def check_deadlines(self, uint64_t now_ns):
        """Close the connection, or refuse its request, when the current wait has been too long."""
        cdef uint64_t waited = now_ns - self.wait_started_ns if now_ns > self.wait_started_ns else 0
        if self.socket.fd < 0:
            return
        if self.reads_too_slowly(now_ns):
            self.socket.reset()     # otherwise the kernel would go on sending what it has, and the client not notice
            return
        if self.closing:
            # the queue may take long to drain as long as the client reads; further input is dropped
            if self.socket.has_progressed():
                self.wait_started_ns = now_ns
            elif waited > self.acceptor.client_idle_ns:
                self.socket.abort()
                return
            if self.lingering and not self.socket.count_unacked():
                self.lingering = False
                self.close()
            self.slot.watch_soon(now_ns, CHECK_NS)
            return
        if self.socket.write_paused:
            if self.socket.has_progressed():
                self.reader_ns = now_ns
            elif now_ns > self.reader_ns + self.acceptor.client_idle_ns:
                self.socket.abort()
                return
        if self.parser.in_head and not self.socket.read_paused and waited > self.acceptor.header_timeout_ns:
            self.refuse(408, "the request head did not come in time")
        elif (
            self.incoming is not None and not self.socket.read_paused and not self.incoming.awaits_continue
            and waited > self.acceptor.client_idle_ns
        ):
            self.refuse(408, "the request body stopped coming")
        elif self.incoming is not None and not self.socket.read_paused and self.sends_too_slowly(now_ns):
            self.refuse(408, "the request body comes too slowly for a node that is short of memory")
        elif (
            self.incoming is not None and self.incoming.body_buffered
            and now_ns > self.incoming.started_ns + self.acceptor.body_timeout_ns
        ):
            self.refuse(408, "the request body did not come in time")
        elif self.current is None and not self.parser.in_head and waited > self.slot.idle_limit():
            self.close()
        self.answer_refused()
        if not self.lingering:
            self.slot.watch_soon(now_ns, CHECK_NS)

    def evict(self):
        """Abort the connection, which has no request: another one needs its place."""
        self.socket.abort()

    def kill(self):
        """Abort the connection and its exchange: the data plane stops."""
        self.socket.abort()

    def retire(self):
        """Close the connection, or close it after the current response: the data plane drains."""
        if self.current is None and self.incoming is None and not self.parser.in_head:
            self.close()
