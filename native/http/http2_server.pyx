"""Serves a client's HTTP/2 connection over one libnghttp2 session.

Each stream is one request and its response, and has its own queue. A client that stops reading one response delays no
other response, and occupies no more memory than a window."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from native.io.atomics cimport add64
from native.io.clock cimport monotonic_ns
from native.io.stream_socket cimport StreamSocket
from native.codec.head cimport NO_BODY, Head
from native.codec.numbers cimport decimal
from native.codec.request_head cimport take_http2_request
from native.http.connection_slot cimport ConnectionSlot
from native.http.http2_block_reader cimport HEAD, TRAILERS, UNWANTED
from native.http.http2_connection cimport Http2Connection, provide
from native.http.http2_field_writer cimport add_pair, scratch_pairs
from native.http.http2_flow cimport StreamFlow
from native.http.http2_guard cimport RESET_COST, RESET_COST_CHEAP, has_passed_deadline
from native.http.http2_stream_table cimport stream_at
from native.http.nghttp2 cimport *
from native.http.listen_policy cimport ListenPolicy
from native.http.passage cimport Passage, passed
from native.http.stream cimport Acceptor, ClientCertificate, Pace, ServerEvents, ServerStream, Share

# Deadlines are checked at least this often.
cdef uint64_t CHECK_NS = 1_000_000_000
# After an error, input is read and dropped for this long, so that the client receives the GOAWAY (RFC 9113 5.4.1).
cdef uint64_t LINGER_NS = 1_000_000_000
# A connection with open streams is pinged after this much silence. It is dead if the ping is not answered in this time.
cdef uint64_t SILENCE_NS = 30_000_000_000
# A draining connection sends its second GOAWAY after a round trip, or after this time (RFC 9113 6.8).
cdef uint64_t FINAL_GOAWAY_NS = 1_000_000_000
# The rest of a request that is answered already is read for this long, or up to this size, and then refused (RFC 9113
# 8.1). A small body ends in the meantime; what violates HTTP/2 in it is still answered as such.
cdef uint64_t REST_NS = 500_000_000
cdef Py_ssize_t REST_BYTES = 16384
# A reset this soon after the request wastes work that was just begun (rapid reset, CVE-2023-44487). A later reset comes
# from a client that has seen enough; MAX_STREAMS limits the cost of those.
cdef uint64_t EARLY_NS = 1_000_000_000


# A method of ``events`` may clear the attribute that it was called through. Every such call goes through a local
# variable, which keeps the object alive until the call returns.


cdef class Http2Server


cdef class Http2Stream(ServerStream):
    """One request of a client and the response to it."""

    cdef Http2Server connection
    cdef StreamFlow flow
    cdef Head head
    cdef uint64_t started_ns
    cdef uint64_t received_ns       # when request data last arrived, or the client's turn to send began
    cdef bint received              # the request is complete
    cdef Py_ssize_t rest            # bytes of the request that came after the end of the response
    cdef bint head_sent
    cdef bint bodiless              # the response has no body
    cdef bint answered              # the response is complete, or cut
    cdef Py_ssize_t unsent          # bytes of the response that are counted as held, because the client does not take them
    cdef Pace reading
    cdef Passage passage

    cdef int send_interim(self, int status) except -1:
        cdef nghttp2_nv* pairs
        self.awaits_continue = False
        self.received_ns = monotonic_ns()
        if self.head_sent or self.flow.closed:
            return 0
        pairs = scratch_pairs(1)
        value = decimal(status)
        add_pair(pairs, 0, b":status", value)
        nghttp2_submit_headers(self.connection.session, NGHTTP2_FLAG_NONE, self.flow.number, NULL, pairs, 1, NULL)
        self.connection.schedule()

    cdef int send_head(self, int status, list fields, int64_t length) except -1:
        cdef Http2Server connection = self.connection
        cdef nghttp2_nv* pairs
        cdef nghttp2_data_provider provider
        cdef int count
        cdef bytes code
        cdef bytes size
        if self.head_sent or self.flow.closed:
            return 0
        self.head_sent = True
        # a head that ends the stream is how gRPC recognizes a trailers-only response
        self.bodiless = length == NO_BODY or status == 204 or status == 304 or self.head.method == b"HEAD"
        pairs = scratch_pairs(len(fields) + 2)
        code = b"200" if status == 200 else decimal(status)
        count = connection.fields.add_fields(pairs, add_pair(pairs, 0, b":status", code), fields)
        if length >= 0 and status != 204:
            size = decimal(length)
            count = add_pair(pairs, count, b"content-length", size)
        if self.bodiless:
            nghttp2_submit_response(connection.session, self.flow.number, pairs, count, NULL)
        else:
            self.flow.progress_ns = monotonic_ns()
            provider = provide(self.flow)
            nghttp2_submit_response(connection.session, self.flow.number, pairs, count, &provider)
        connection.schedule()

    cdef int send_data(self, bytes data) except -1:
        cdef ServerEvents events = self.events
        if self.bodiless or self.flow.closed or not PyBytes_GET_SIZE(data):
            return 0
        if self.flow.queued == 0:
            self.flow.progress_ns = monotonic_ns()
        if self.flow.send(data):
            self.count_unsent()     # less is counted once a second, if it waits so long
            if events is not None:
                events.on_client_congested()
        elif self.flow.congested:
            self.count_unsent()     # at once: what was held until now is no longer counted

    cdef int count_unsent(self) except -1:
        """Count what waits for the client as held."""
        self.unsent = self.connection.acceptor.recount(self.share, self.unsent, self.flow.queued + self.flow.offset)

    cdef bint reads_too_slowly(self, uint64_t now_ns):
        """Return whether the client takes this response too slowly while memory is scarce."""
        cdef Acceptor acceptor = self.connection.acceptor
        cdef StreamSocket socket = self.connection.socket
        self.flow.trim()
        self.count_unsent()
        return acceptor.judges(&self.reading, self.share, self.unsent) and not self.is_call and (
            acceptor.is_too_slow(
                &self.reading, passed(&self.passage, socket.written, socket.written - socket.count_unacked(), self.flow.pulled),
                now_ns,
            )
        )

    cdef bint sends_too_slowly(self, uint64_t now_ns):
        cdef Acceptor acceptor = self.connection.acceptor
        return not self.flow.paused and acceptor.judges(&self.upload, self.share, self.uploaded) and not self.is_call and (
            acceptor.is_too_slow(&self.upload, self.uploaded, now_ns)
        )

    cdef int send_end(self, list trailers) except -1:
        if self.answered:
            return 0
        self.answered = True
        self.events = None
        self.resume()
        if self.bodiless or self.flow.closed:
            return 0
        if self.flow.queued == 0:
            # nothing was queued until now, so the client has not been slow: its time begins now
            self.flow.progress_ns = self.received_ns
        self.flow.end(trailers)

    cdef int cut(self) except -1:
        cdef StreamFlow flow = self.flow
        self.answered = True
        self.events = None
        if flow.closed or flow.finished:
            return 0
        if flow.queued == 0:
            flow.progress_ns = monotonic_ns()
        flow.cutting = True
        # queued data is sent first; the session resets the stream when it finds the queue empty
        if self.head_sent and not self.bodiless and (flow.queued or not flow.deferred):
            self.connection.resume_sending(flow.number, flow)
        else:
            self.connection.reset(flow.number, NGHTTP2_INTERNAL_ERROR)

    cdef int pause(self) except -1:
        self.flow.paused = True

    cdef int resume(self) except -1:
        self.received_ns = monotonic_ns()
        self.upload.since_ns = 0
        self.flow.resume()

    cdef bint congested(self):
        return self.flow.congested

    cdef object peer(self):
        return self.connection.socket.peer()

    cdef int reset_cost(self, uint64_t now_ns):
        """Return what a reset by the client spends: nothing if it is no abuse, little if it cost edge little."""
        if now_ns >= self.started_ns + EARLY_NS or has_passed_deadline(self.head, now_ns - self.started_ns):
            return 0
        if self.head_sent:
            # an answer that no turn has written yet was not awaited
            return 0 if now_ns > self.started_ns else RESET_COST_CHEAP
        return RESET_COST if self.reached_upstream else RESET_COST_CHEAP

    cdef bint response_stalls(self, uint64_t now_ns, uint64_t client_idle_ns):
        """Return whether the client has read nothing of this response for ``client_idle_ns``.

        Time in which the whole connection was blocked does not count if the stream itself could have sent."""
        cdef StreamFlow flow = self.flow
        if not self.head_sent or not (flow.queued or flow.ended or flow.cutting):
            return False
        if now_ns <= flow.progress_ns + client_idle_ns:
            return False
        return not (now_ns <= self.connection.blocked_ns + client_idle_ns and self.connection.could_send(flow))

    cdef bint request_stalls(self, uint64_t now_ns, uint64_t client_idle_ns, uint64_t body_timeout_ns):
        """Return whether the rest of a request's body is overdue.

        A body of unknown length that is forwarded as it arrives has no limit: the client may be waiting for responses
        (bidirectional streaming)."""
        if self.head is None or self.received or self.answered or self.flow.paused or self.awaits_continue:
            return False
        if not (self.head.length > 0 or self.body_buffered):
            return False
        return now_ns > self.received_ns + client_idle_ns or (
            self.body_buffered and now_ns > self.started_ns + body_timeout_ns
        )


cdef class Http2Server(Http2Connection):
    """One client connection.

    Args:
        acceptor: the data plane that opens an exchange for each request.
        policy: what the listener demands.
        slot: of the connection, taken when it was accepted.
        certificate: the names in the client's certificate; None = the client has presented none.
    """

    cdef Acceptor acceptor
    cdef ConnectionSlot slot
    cdef ClientCertificate certificate
    cdef str scheme
    cdef ListenPolicy policy
    cdef bint settings_received
    cdef bint retiring              # a GOAWAY has announced the end
    cdef bint goaway_final          # a second GOAWAY has named the last stream
    cdef bint client_retires        # the client has sent a GOAWAY
    cdef uint64_t idle_since_ns     # when the last stream ended
    cdef uint64_t final_goaway_ns   # when the second GOAWAY is due
    cdef uint64_t blocked_ns        # when writing was last seen to be paused
    cdef Share address_share        # of requests that carry no key
    cdef Py_ssize_t unsent          # bytes in the socket's queue that are counted as held

    def __init__(
        self, Acceptor acceptor, ListenPolicy policy, ConnectionSlot slot not None, ClientCertificate certificate=None
    ):
        self.acceptor = acceptor
        self.policy = policy
        self.certificate = certificate
        self.slot = slot

    def socket_events(self):
        """Return the object that receives the socket's events."""
        return self

    cdef int on_open(self, StreamSocket socket) except -1:
        """Begin with a connection, whose first request has been waited for since it was accepted."""
        self.slot.pass_to(self)
        self.slot.announces = True
        self.socket = socket
        socket.bytes_out = self.acceptor.counters.bytes_out
        self.scheme = "https" if socket.is_secure else "http"
        add64(self.acceptor.counters.accepted, 1)
        self.open_session(True, self.acceptor.header_bytes, self.acceptor.header_count)
        self.idle_since_ns = self.slot.accepted_ns
        self.address_share = self.acceptor.share_of_address(socket, self.policy)
        self.slot.watch_soon(self.now_ns, CHECK_NS)
        self.schedule()
        if self.acceptor.draining:
            self.retire()

    cdef int on_lost(self, str reason) except -1:
        """Cancel the client's exchanges: the connection is lost."""
        self.slot.give_back()
        self._leave()
        self.count_unsent()
        self.close_session()

    cdef int count_unsent(self) except -1:
        """Count what waits in the socket's queue, for all streams, as held."""
        self.unsent = self.acceptor.recount(self.address_share, self.unsent, self.socket.occupied())

    cdef int on_eof(self, bint truncated) except -1:
        """Treat the client as gone: in practice a client half-closes an HTTP/2 connection only when it leaves."""
        self._leave()

    cdef int on_bytes(self, const char* data, Py_ssize_t size) except -1:
        """Feed the guard and the session, which answer protocol errors and end an abusive connection."""
        add64(self.acceptor.counters.bytes_in, size)
        self.receive(data, size)

    def _leave(self):
        """End every exchange: the client can receive no more responses."""
        cdef Http2Stream stream
        for item in self.table.streams():
            stream = <Http2Stream>item
            stream.flow.close()
            stream.count_unsent()
            self._end_exchange(stream)

    cdef _end_exchange(self, Http2Stream stream):
        cdef ServerEvents events = stream.events
        stream.events = None
        if events is not None:
            events.on_client_gone()

    # --- events of the session ---------------------------------------------------------------------------------------
    cdef int on_block(self, int32_t stream, int category) except -1:
        cdef Http2Stream opened
        cdef StreamFlow flow
        cdef nghttp2_extpri turn
        if category != NGHTTP2_HCAT_REQUEST:
            return UNWANTED if stream_at(self.table, stream) is None else TRAILERS
        if self.winding_down:
            self.reset(stream, NGHTTP2_REFUSED_STREAM)
            return UNWANTED
        flow = StreamFlow.__new__(StreamFlow)
        flow.connection = self
        flow.number = stream
        opened = Http2Stream.__new__(Http2Stream)
        opened.connection = self
        opened.flow = flow
        opened.scheme = self.scheme
        opened.policy = self.policy
        opened.share = self.address_share
        opened.certificate = self.certificate
        opened.started_ns = self.now_ns
        opened.received_ns = self.now_ns
        self.table.add_stream(stream, opened)
        # Streams take turns. By default the session would send the oldest response to its end first (RFC 9218 10).
        turn.urgency = 3
        turn.inc = 1
        nghttp2_session_change_extpri_stream_priority(self.session, stream, &turn, 1)
        return HEAD

    cdef on_head(self, int32_t stream, bint ended):
        cdef Http2Stream asked = <Http2Stream>stream_at(self.table, stream)
        cdef ServerEvents events
        cdef Head head
        if asked is None or self.guard.fault is not None:
            return
        head = take_http2_request(
            self.reader.reader, self.reader.method, self.reader.scheme, self.reader.path, self.reader.authority, ended
        )
        asked.received = ended
        if head is None:
            self._refuse(asked, self.reader.reader.fault_status, self.reader.reader.fault)
            return
        asked.head = head
        asked.awaits_continue = head.expects and not ended
        self.slot.busy()
        events = self.acceptor.open(asked, head)
        asked.events = events
        if ended and events is not None:
            events.on_request_end(None)

    cdef _refuse(self, Http2Stream stream, int status, str reason):
        """Reset a malformed request (RFC 9113 8.1.1); answer a request that is unsupported or too large."""
        add64(self.acceptor.counters.malformed, 1)
        if status == 400:
            self.reset(stream.flow.number, NGHTTP2_PROTOCOL_ERROR)
            return
        stream.head = Head.__new__(Head)
        fields, content = self.acceptor.refusal(status, reason)
        self.acceptor.note_refusal(fields, self.socket.peer(), self.scheme, 20, status, reason, len(content))
        stream.send_head(status, fields, len(content))
        stream.send_data(content)
        stream.send_end(None)

    cdef on_trailers(self, int32_t stream, list trailers):
        self._end_request(<Http2Stream>stream_at(self.table, stream), trailers)

    cdef on_ended(self, int32_t stream):
        self._end_request(<Http2Stream>stream_at(self.table, stream), None)

    cdef _end_request(self, Http2Stream stream, list trailers):
        cdef ServerEvents events
        if stream is None or stream.received:
            return
        stream.received = True
        events = stream.events
        if events is not None:
            events.on_request_end(trailers)

    cdef on_chunk(self, int32_t stream, bytes data):
        cdef Http2Stream asked = <Http2Stream>stream_at(self.table, stream)
        cdef ServerEvents events
        if asked is None:
            self.consumed(stream, PyBytes_GET_SIZE(data))
            return
        if asked.flow.finished:
            asked.rest += PyBytes_GET_SIZE(data)
            if asked.rest > REST_BYTES:
                self.reset(stream, NGHTTP2_NO_ERROR)
            return
        asked.received_ns = self.now_ns
        asked.awaits_continue = False
        events = asked.events
        if events is not None:
            events.on_request_data(data)
        asked.flow.received(PyBytes_GET_SIZE(data))

    cdef on_reset(self, int32_t stream):
        cdef Http2Stream asked = <Http2Stream>stream_at(self.table, stream)
        cdef int cost = RESET_COST_CHEAP if asked is None else asked.reset_cost(self.now_ns)
        if cost and self.guard.reset(cost, self.now_ns):
            self.wind_down()

    cdef on_closed(self, int32_t stream, uint32_t code):
        cdef Http2Stream asked = <Http2Stream>self.table.remove_stream(stream)
        if asked is None:
            return
        asked.flow.close()
        asked.count_unsent()
        self.idle_since_ns = self.now_ns
        if not self.table.count and self.slot.served:
            self.slot.rest()
        self._end_exchange(asked)

    cdef on_sent(self, int32_t stream, bint ended):
        cdef Http2Stream asked
        if not ended:
            return
        asked = <Http2Stream>stream_at(self.table, stream)
        if asked is None:
            return
        asked.flow.finished = True
        self.guard.completed()
        if asked.awaits_continue:
            self.reset(stream, NGHTTP2_NO_ERROR)        # nothing of the body is on its way
        asked.received_ns = self.now_ns

    cdef on_drained(self, int32_t stream):
        cdef Http2Stream asked = <Http2Stream>stream_at(self.table, stream)
        cdef ServerEvents events = None if asked is None else asked.events
        if asked is not None:
            asked.count_unsent()
        if events is not None:
            events.on_client_drained()

    cdef on_settings(self):
        self.settings_received = True

    cdef on_pong(self):
        if self.retiring and not self.goaway_final:
            self._send_final_goaway()

    cdef on_goaway(self, uint32_t code, int32_t last):
        self.client_retires = True      # a server opens no streams, and the client's streams go on (RFC 9113 6.8)

    cdef on_finished(self):
        """Close: either side refused the other, or both have sent GOAWAY."""
        self._leave()
        if self.socket.fd < 0:
            return
        if self.close_reason is None:
            self.reader_ns = self.now_ns        # from now on the client must read what is left in the queue
            if not self.client_retires:
                self.socket.close()
                return
            # frames of the client that are on their way would make the kernel reset the connection, and lose the queue
            self.read_closed = True
            self.socket.write_eof()
            return
        add64(self.acceptor.counters.malformed, 1)
        self.socket.write_eof()
        self.slot.watch_at(self.now_ns + LINGER_NS)

    # --- time --------------------------------------------------------------------------------------------------------
    def check_deadlines(self, uint64_t now_ns):
        """Close the connection, or reset a stream, when the current wait has been too long."""
        if self.socket.fd < 0:
            return
        self.socket.trim()
        self.count_unsent()
        if self.socket.write_paused or self.closed or self.pinged_ns:
            self._check_reader(now_ns)
        if self._is_overdue(now_ns):
            self.socket.abort()
            return
        if self.closed:
            if now_ns > self.reader_ns + LINGER_NS:
                self.socket.close()
            self.slot.watch_soon(now_ns, CHECK_NS)
            return
        if self.guard.block_since_ns and now_ns > self.guard.block_since_ns + self.acceptor.header_timeout_ns:
            self.reject_flood("a header block without end")
        elif self.retiring:
            if not self.goaway_final and now_ns > self.final_goaway_ns:
                self._send_final_goaway()
        elif not self.table.count and now_ns > self.idle_since_ns + self.slot.idle_limit():
            self.idle_since_ns = now_ns
            self.retire()
        if self.pinged_ns and now_ns > self.pinged_ns + SILENCE_NS:
            self.socket.abort()
            return
        if self.table.count:
            if now_ns > self.received_ns + SILENCE_NS:
                self.ping()
            self._check_streams(now_ns)
        self.slot.watch_soon(now_ns, CHECK_NS)

    cdef bint _is_overdue(self, uint64_t now_ns):
        """Return whether to abort: the client does not read, has sent no SETTINGS, or had its time to see a refusal."""
        if self.closed and self.close_reason is not None:
            return True
        if self.socket.write_paused or self.closed:
            if now_ns > self.reader_ns + self.acceptor.client_idle_ns:
                return True
        return not self.closed and not self.settings_received and (
            now_ns > self.slot.accepted_ns + self.acceptor.header_timeout_ns
        )

    cdef int _check_reader(self, uint64_t now_ns) except -1:
        """Extend a slow reader's deadlines: while the kernel's buffer drains, neither writes nor pings are overdue."""
        if self.socket.has_progressed():
            self.reader_ns = now_ns
            if self.pinged_ns:
                self.pinged_ns = now_ns
        if self.socket.write_paused:
            self.blocked_ns = now_ns

    cdef bint could_send(self, StreamFlow flow):
        """Return whether the windows let a stream send."""
        return not flow.queued or (
            nghttp2_session_get_stream_remote_window_size(self.session, flow.number) > 0
            and nghttp2_session_get_remote_window_size(self.session) > 0
        )

    cdef _check_streams(self, uint64_t now_ns):
        cdef Http2Stream stream
        cdef ServerEvents events
        for item in self.table.streams():
            stream = <Http2Stream>item
            if stream.flow.finished:
                if now_ns > stream.received_ns + REST_NS:
                    self.reset(stream.flow.number, NGHTTP2_NO_ERROR)
            elif stream.reads_too_slowly(now_ns):
                if self.socket.write_paused:
                    self.socket.reset()     # it could not be told of a stream alone
                    return
                stream.flow.clear()
                stream.count_unsent()
                self._end_exchange(stream)
                self.reset(stream.flow.number, NGHTTP2_CANCEL)
            elif stream.response_stalls(now_ns, self.acceptor.client_idle_ns):
                self.reset(stream.flow.number, NGHTTP2_CANCEL)
            elif stream.sends_too_slowly(now_ns) or stream.request_stalls(
                now_ns, self.acceptor.client_idle_ns, self.acceptor.body_timeout_ns
            ):
                events = stream.events
                self._end_exchange(stream)
                if events is not None and not stream.head_sent:
                    self._refuse(stream, 408, "the request body stopped coming, or was not whole in time")
                else:
                    self.reset(stream.flow.number, NGHTTP2_CANCEL)

    # --- the end -----------------------------------------------------------------------------------------------------
    def retire(self):
        """Close gracefully (RFC 9113 6.8): the data plane drains, or the connection is idle."""
        if self.retiring or self.session == NULL or self.read_closed or self.winding_down:
            return
        self.retiring = True
        self.final_goaway_ns = monotonic_ns() + FINAL_GOAWAY_NS
        nghttp2_submit_shutdown_notice(self.session)
        self.ping()
        self.schedule()

    cdef _send_final_goaway(self):
        """Refuse streams that are opened from now on. The session ends after the last open stream."""
        self.goaway_final = True
        nghttp2_submit_goaway(
            self.session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(self.session), NGHTTP2_NO_ERROR,
            NULL, 0,
        )
        self.schedule()

    def evict(self):
        """Close the connection, which has no stream, behind a GOAWAY: another one needs its place."""
        nghttp2_session_terminate_session(self.session, NGHTTP2_NO_ERROR)
        self.pump()
        self.socket.flush()
        self.socket.abort()

    def kill(self):
        """Abort the connection and its exchanges: the data plane stops."""
        self.socket.abort()
