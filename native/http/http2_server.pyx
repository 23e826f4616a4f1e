"""How does a client's HTTP/2 connection look on the wire?  A uvloop protocol over one libnghttp2 session.

Each stream is one request and its answer, and each has its own queue: a client that stops reading one of them holds up
neither the others nor more memory than a window."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from native.io.atomics cimport add64
from native.io.clock cimport monotonic_ns
from native.codec.numbers cimport decimal
from native.codec.request_head cimport take_http2_request
from native.http.http2_connection cimport (
    HEAD, QUEUE_HIGH, TRAILERS, UNWANTED, Http2Wire, Outbox, add_fields, add_pair, provide, scratch_pairs, stream_at,
)
from native.http.nghttp2 cimport *
from native.codec.head cimport NO_BODY, Head
from native.http.stream cimport Acceptor, ClientCertificate, ServerEvents, ServerStream, unacked_bytes
from native.io.timer_wheel cimport Timer

cdef uint64_t SECOND = 1_000_000_000
# What a client still sends after our GOAWAY is read and dropped for this long, so that it sees why (RFC 9113 5.4.1).
cdef uint64_t LINGER_NS = 1_000_000_000
# Silence on a connection with streams: is anybody there? No answer for as long again, and nobody is.
cdef uint64_t SILENCE_NS = 30_000_000_000
# A drained connection's second GOAWAY comes after a round trip, or after this (RFC 9113 6.8).
cdef uint64_t FAREWELL_NS = 1_000_000_000
# A reset this soon is work begun and thrown away (CVE-2023-44487); later, it is a reader who has enough, or a caller whose
# time is up: what those cost is bounded by the streams there may be at once.
cdef uint64_t EARLY_NS = 1_000_000_000
cdef Py_ssize_t WRITE_HIGH = 65536


# An object that is called may let go of the reference it was called through: every call to events goes through a local
# variable, which keeps it alive until the call is over.


cdef class Http2Server


cdef class Watch(Timer):
    """Looks at one server connection now and then: silence, slow heads, stalled streams, idleness."""

    cdef Http2Server connection

    cdef void fire(self, uint64_t now_ns):
        cdef Http2Server connection = self.connection
        if connection is not None:
            connection.check_deadlines(now_ns)


cdef class Http2Stream(ServerStream):
    """One request of a client and the answer to it."""

    cdef Http2Server wire
    cdef int32_t id
    cdef Head head
    cdef Outbox out
    cdef Py_ssize_t debt            # bytes of the request that came while paused: their window is not given back yet
    cdef uint64_t started_ns, heard_ns
    cdef bint received, headed, bodiless, answered, paused, closed

    cdef void send_interim(self, int status):
        cdef nghttp2_nv* pairs
        self.awaits_continue = False
        self.heard_ns = monotonic_ns()      # the client's turn begins here
        if self.headed or self.closed:
            return
        pairs = scratch_pairs(1)
        value = decimal(status)
        add_pair(pairs, 0, b":status", value)
        nghttp2_submit_headers(self.wire.session, NGHTTP2_FLAG_NONE, self.id, NULL, pairs, 1, NULL)
        self.wire.schedule()

    cdef void send_head(self, int status, list fields, int64_t length):
        cdef nghttp2_nv* pairs
        cdef nghttp2_data_provider provider
        cdef int count
        cdef bytes code
        cdef bytes size
        if self.headed or self.closed:
            return
        self.headed = True
        # the head ends the stream: gRPC tells trailers-only by that
        self.bodiless = length == NO_BODY or status == 204 or status == 304 or self.head.method == b"HEAD"
        pairs = scratch_pairs(len(fields) + 2)
        code = b"200" if status == 200 else decimal(status)
        count = add_fields(self.wire, pairs, add_pair(pairs, 0, b":status", code), fields)
        if length >= 0 and status != 204:
            size = decimal(length)
            count = add_pair(pairs, count, b"content-length", size)
        if self.bodiless:
            nghttp2_submit_response(self.wire.session, self.id, pairs, count, NULL)
        else:
            self.out.moved_ns = monotonic_ns()
            provider = provide(self.out)
            nghttp2_submit_response(self.wire.session, self.id, pairs, count, &provider)
        self.wire.schedule()

    cdef void send_data(self, bytes data):
        cdef Outbox out = self.out
        cdef ServerEvents events = self.events
        if self.bodiless or self.closed or not PyBytes_GET_SIZE(data):
            return
        if out.queued == 0:
            out.moved_ns = monotonic_ns()
        out.push(data)
        self.wire.resume_sending(self.id, out)
        if out.queued > QUEUE_HIGH and not out.congested:
            out.congested = True
            if events is not None:
                events.on_client_congested()

    cdef void send_end(self, list trailers):
        if self.answered:
            return
        self.answered = True
        self.events = None
        self.resume()
        if self.bodiless or self.closed:
            return
        if self.out.queued == 0:
            self.out.moved_ns = self.heard_ns       # it has been quiet, but its client is asked to take something only now
        self.out.ended = True
        self.out.trailers = trailers
        self.wire.resume_sending(self.id, self.out)

    cdef void cut(self):
        cdef Outbox out = self.out
        self.answered = True
        self.events = None
        if self.closed or out.finished:
            return
        if out.queued == 0:
            out.moved_ns = monotonic_ns()
        out.cutting = True
        # what is queued goes first; the read that finds the queue empty resets the stream
        if self.headed and not self.bodiless and (out.queued or not out.deferred):
            self.wire.resume_sending(self.id, out)
        else:
            self.wire.reset(self.id, NGHTTP2_INTERNAL_ERROR)

    cdef void pause(self):
        self.paused = True

    cdef void resume(self):
        cdef Py_ssize_t debt = self.debt
        self.paused = False
        self.debt = 0
        self.heard_ns = monotonic_ns()
        if debt and not self.closed:
            self.wire.consumed(self.id, debt)

    cdef bint congested(self):
        return self.out.congested

    cdef object peer(self):
        return self.wire.peername


cdef class Http2Server(Http2Wire):
    """The protocol object of one client connection.

    Args:
        acceptor: the data plane that opens an exchange for each request.
        allow_anonymous: its listener asks for no key.
        certificate: what the client's certificate says; None = it has shown none.
    """

    cdef Acceptor acceptor
    cdef object peername            # the same object for every stream
    cdef ClientCertificate certificate
    cdef bint secure, allow_anonymous
    cdef bint settled               # the client's settings have come
    cdef bint retiring, farewell
    cdef uint64_t since_ns          # when the last stream ended
    cdef uint64_t farewell_ns
    cdef uint64_t blocked_ns        # when we last saw that writing was paused
    cdef int64_t written, taken     # bytes in all, and how many of them the client had when we last saw
    cdef Watch watch

    def __init__(self, Acceptor acceptor, bint allow_anonymous=False, ClientCertificate certificate=None):
        self.acceptor = acceptor
        self.allow_anonymous = allow_anonymous
        self.certificate = certificate

    def connection_made(self, transport):
        """Take a new connection in; over the limit it is closed at once."""
        cdef Watch watch
        self.transport = transport
        self.peername = transport.get_extra_info("peername")
        if len(self.acceptor.open_connections) >= self.acceptor.connection_limit:
            self.read_closed = True
            transport.abort()
            return
        self.secure = transport.get_extra_info("sslcontext") is not None
        transport.set_write_buffer_limits(high=WRITE_HIGH)
        add64(self.acceptor.counters.accepted, 1)
        add64(self.acceptor.counters.open, 1)
        self.acceptor.open_connections.add(self)
        self.open_session(True, self.acceptor.header_bytes, self.acceptor.header_count)
        self.since_ns = self.now_ns
        watch = Watch()
        watch.connection = self
        self.watch = watch
        self._rearm(self.now_ns)
        self.schedule()
        if self.acceptor.draining:
            self.retire()

    def connection_lost(self, exc):
        """The client is gone: whatever runs for it is cancelled now."""
        if self in self.acceptor.open_connections:
            add64(self.acceptor.counters.open, <uint64_t>-1)
            self.acceptor.open_connections.discard(self)
        if self.watch is not None:
            self.acceptor.coarse.disarm(self.watch)
            self.watch.connection = None
            self.watch = None
        self._leave()
        self.close_session()

    def eof_received(self):
        """A client that closed its side can hear answers but ask nothing more; none does that but to leave."""
        self._leave()
        return False

    def data_received(self, bytes data):
        """Feed the session; what its peer does wrong is the session's to answer, and the guard's to end."""
        add64(self.acceptor.counters.bytes_in, PyBytes_GET_SIZE(data))
        self.receive(data)

    cdef write(self, bytes data):
        if self.transport is not None:
            self.written += PyBytes_GET_SIZE(data)
            add64(self.acceptor.counters.bytes_out, PyBytes_GET_SIZE(data))
            self.transport.write(data)

    def _leave(self):
        """Nobody hears the answers any more."""
        cdef Http2Stream stream
        for item in self.streams():
            stream = <Http2Stream>item
            stream.closed = True
            self._desert(stream)

    cdef _desert(self, Http2Stream stream):
        cdef ServerEvents events = stream.events
        stream.events = None
        if events is not None:
            events.on_client_gone()

    # --- the session's events ----------------------------------------------------------------------------------------
    cdef int on_block(self, int32_t stream, int category) except -1:
        cdef Http2Stream opened
        cdef nghttp2_extpri turn
        if category != NGHTTP2_HCAT_REQUEST:
            return UNWANTED if stream_at(self, stream) is None else TRAILERS
        self.guard.opened(self.now_ns)
        opened = Http2Stream.__new__(Http2Stream)
        opened.wire = self
        opened.id = stream
        opened.out = Outbox.__new__(Outbox)
        opened.scheme = "https" if self.secure else "http"
        opened.allow_anonymous = self.allow_anonymous
        opened.certificate = self.certificate
        opened.started_ns = self.now_ns
        opened.heard_ns = self.now_ns
        self.add_stream(stream, opened)
        # Streams take turns: the default would send the oldest to its end first (RFC 9218 10).
        turn.urgency = 3
        turn.inc = 1
        nghttp2_session_change_extpri_stream_priority(self.session, stream, &turn, 1)
        return HEAD

    cdef on_head(self, int32_t stream, bint ended):
        cdef Http2Stream asked = <Http2Stream>stream_at(self, stream)
        cdef ServerEvents events
        cdef Head head
        if asked is None or self.guard.fault is not None:
            return
        head = take_http2_request(self.reader, self.method, self.scheme, self.path, self.authority, ended)
        asked.received = ended
        if head is None:
            self._refuse(asked, self.reader.fault_status, self.reader.fault)
            return
        asked.head = head
        asked.awaits_continue = head.expects and not ended
        events = self.acceptor.open(asked, head)
        asked.events = events
        if ended and events is not None:
            events.on_request_end(None)

    cdef _refuse(self, Http2Stream stream, int status, str reason):
        """What is malformed is reset (RFC 9113 8.1.1); what is only not offered, or too large, is answered."""
        cdef bytes answer
        add64(self.acceptor.counters.malformed, 1)
        if status == 400:
            self.reset(stream.id, NGHTTP2_PROTOCOL_ERROR)
            return
        stream.head = Head.__new__(Head)
        answer = self.acceptor.refusal(status, reason)
        answer = answer[answer.find(b"\r\n\r\n") + 4:]
        stream.send_head(status, [(b"content-type", b"application/json")], PyBytes_GET_SIZE(answer))
        stream.send_data(answer)
        stream.send_end(None)

    cdef on_trailers(self, int32_t stream, list trailers):
        self._received(<Http2Stream>stream_at(self, stream), trailers)

    cdef on_ended(self, int32_t stream):
        self._received(<Http2Stream>stream_at(self, stream), None)

    cdef _received(self, Http2Stream stream, list trailers):
        cdef ServerEvents events
        if stream is None or stream.received:
            return
        stream.received = True
        events = stream.events
        if events is not None:
            events.on_request_end(trailers)

    cdef on_chunk(self, int32_t stream, bytes data):
        cdef Http2Stream asked = <Http2Stream>stream_at(self, stream)
        cdef ServerEvents events
        if asked is None:
            self.consumed(stream, PyBytes_GET_SIZE(data))
            return
        asked.heard_ns = self.now_ns
        asked.awaits_continue = False
        events = asked.events
        if events is not None:
            events.on_request_data(data)
        if asked.paused:
            asked.debt += PyBytes_GET_SIZE(data)
        else:
            self.consumed(stream, PyBytes_GET_SIZE(data))

    cdef on_reset(self, int32_t stream):
        cdef Http2Stream asked = <Http2Stream>stream_at(self, stream)
        if asked is not None and self.now_ns < asked.started_ns + EARLY_NS:
            self.guard.reset(False, self.now_ns)

    cdef on_closed(self, int32_t stream, uint32_t code):
        cdef Http2Stream asked = <Http2Stream>self.remove_stream(stream)
        if asked is None:
            return
        asked.closed = True
        asked.out.clear()
        self.since_ns = self.now_ns
        self._desert(asked)

    cdef on_sent(self, int32_t stream, bint ended):
        cdef Http2Stream asked
        if not ended:
            return
        asked = <Http2Stream>stream_at(self, stream)
        if asked is None:
            return
        asked.out.finished = True
        if not asked.received:
            # an early answer: the rest of the request is not wanted (RFC 9113 8.1)
            self.reset(stream, NGHTTP2_NO_ERROR)

    cdef on_drained(self, int32_t stream):
        cdef Http2Stream asked = <Http2Stream>stream_at(self, stream)
        cdef ServerEvents events = None if asked is None else asked.events
        if events is not None:
            events.on_client_drained()

    cdef on_settings(self):
        self.settled = True

    cdef on_pong(self):
        if self.retiring and not self.farewell:
            self._farewell()

    cdef on_goaway(self, uint32_t code, int32_t last):
        return None     # it opens no streams here, and those of the client go on (RFC 9113 6.8)

    cdef on_fallen(self):
        """We refused the client, or it us, or both have said goodbye."""
        self._leave()
        if self.transport is None:
            return
        if self.reason is None:
            self.paused_ns = self.now_ns        # all is said: from here on its client has to take what is left
            self.transport.close()
            return
        add64(self.acceptor.counters.malformed, 1)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self.watch is not None:
            self.acceptor.coarse.disarm(self.watch)
            self.acceptor.coarse.arm(self.watch, self.now_ns + LINGER_NS)

    # --- time ------------------------------------------------------------------------------------------------------
    def _rearm(self, uint64_t now_ns):
        cdef uint64_t period = min(self.acceptor.header_timeout_ns, self.acceptor.client_idle_ns) // 4
        if period > SECOND:
            period = SECOND
        self.acceptor.coarse.arm(self.watch, now_ns + period)

    cdef check_deadlines(self, uint64_t now_ns):
        """Which wait is this connection in, and has it been too long?"""
        if self.transport is None:
            return
        if self.write_paused or self.closed or self.pinged_ns:
            self._look_at_reader(now_ns)
        if self.closed and self.reason is not None:
            self.transport.abort()
            return
        if (self.write_paused or self.closed) and now_ns > self.paused_ns + self.acceptor.client_idle_ns:
            self.transport.abort()
            return
        if self.closed:
            self._rearm(now_ns)
            return
        if not self.settled and now_ns > self.heard_ns + self.acceptor.header_timeout_ns:
            self.transport.abort()
            return
        if self.guard.block_since_ns and now_ns > self.guard.block_since_ns + self.acceptor.header_timeout_ns:
            self.reject_flood("a header block without end")
        elif self.retiring:
            if not self.farewell and now_ns > self.farewell_ns:
                self._farewell()
        elif not self.listed and now_ns > self.since_ns + self.acceptor.idle_ns:
            self.since_ns = now_ns
            self.retire()
        if self.pinged_ns and now_ns > self.pinged_ns + SILENCE_NS:
            self.transport.abort()
            return
        if self.listed:
            if now_ns > self.heard_ns + SILENCE_NS:
                self.ping()
            self._look_at_streams(now_ns)
        self._rearm(now_ns)

    def _look_at_reader(self, uint64_t now_ns):
        """A slow reader is none that has stopped: writing goes on, and a ping gets there, only when the kernel has room."""
        cdef int64_t taken = self.written - unacked_bytes(self.transport)
        if taken > self.taken:
            self.taken = taken
            self.paused_ns = now_ns
            if self.pinged_ns:
                self.pinged_ns = now_ns
        if self.write_paused:
            self.blocked_ns = now_ns

    cdef bint _open(self, Http2Stream stream):
        """Could it send, if the connection could?"""
        return not stream.out.queued or (
            nghttp2_session_get_stream_remote_window_size(self.session, stream.id) > 0
            and nghttp2_session_get_remote_window_size(self.session) > 0
        )

    def _look_at_streams(self, uint64_t now_ns):
        cdef Http2Stream stream
        cdef uint64_t client_idle_ns = self.acceptor.client_idle_ns
        for item in self.streams():
            stream = <Http2Stream>item
            if (
                stream.headed and (stream.out.queued or stream.out.ended or stream.out.cutting)
                and now_ns > stream.out.moved_ns + client_idle_ns
                and not (now_ns <= self.blocked_ns + client_idle_ns and self._open(stream))
            ):
                self.reset(stream.id, NGHTTP2_CANCEL)       # an answer that nobody reads
            elif (
                stream.head is not None and (stream.head.length > 0 or stream.body_buffered) and not stream.received
                and not stream.answered and not stream.paused and not stream.awaits_continue and (
                    now_ns > stream.heard_ns + client_idle_ns
                    or stream.body_buffered and now_ns > stream.started_ns + self.acceptor.body_timeout_ns
                )
            ):
                # A body that has stopped. One of unknown length that goes on as it comes may be a conversation, and wait.
                events = stream.events
                self._desert(stream)
                if events is not None and not stream.headed:
                    self._refuse(stream, 408, "the request body stopped coming, or was not whole in time")
                else:
                    self.reset(stream.id, NGHTTP2_CANCEL)

    # --- the end ---------------------------------------------------------------------------------------------------
    def retire(self):
        """The data plane drains, or nobody asks anything: say so, let what is on its way arrive, finish it, and close."""
        if self.retiring or self.session == NULL or self.read_closed:
            return
        self.retiring = True
        self.farewell_ns = monotonic_ns() + FAREWELL_NS
        nghttp2_submit_shutdown_notice(self.session)
        self.ping()
        self.schedule()

    def _farewell(self):
        """A round trip after the notice: streams opened from now on are not served. The session ends with the last."""
        self.farewell = True
        nghttp2_submit_goaway(
            self.session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(self.session), NGHTTP2_NO_ERROR,
            NULL, 0,
        )
        self.schedule()

    def kill(self):
        """The data plane stops: end this connection now, whatever runs on it."""
        if self.transport is not None:
            self.transport.abort()
