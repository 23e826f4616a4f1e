"""How does an upstream's HTTP/2 connection look on the wire?  A uvloop protocol that many attempts share.

A stream that fails takes no other with it; a connection that fails takes all of them, and says of each whether the upstream
may have begun it (RFC 9113 8.7)."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from native.io.clock cimport monotonic_ns
from native.codec.numbers cimport decimal
from native.codec.response_head cimport take_http2_response
from native.http.http2_connection cimport (
    HEAD, MAX_STREAMS, QUEUE_HIGH, TRAILERS, UNWANTED, Http2Wire, Outbox, add_fields, add_pair, provide, scratch_pairs, stream_at,
)
from native.http.nghttp2 cimport *
from native.http.connection_pool cimport ConnectionPool, SharedConnection
from native.codec.head cimport NO_BODY, Head
from native.http.stream cimport FAILED_MALFORMED, FAILED_RESET, FAILED_TRUNCATED, ClientEvents, ClientStream, pending_bytes

# gRPC servers close on clients that ping more often than this while nothing else is said ("too_many_pings"): two pings in
# one silence are forgiven, more must be this far apart.
cdef uint64_t PING_APART_NS = 300_000_000_000
cdef int PINGS_FORGIVEN = 2
# An attempt given up after this much silence on the whole connection makes it suspect; a ping unanswered for as long
# sends new attempts elsewhere.
cdef uint64_t SUSPECT_NS = 1_000_000_000
# The rest of an unwanted answer may be this large before it is reset; how long it may take says the pool.
cdef Py_ssize_t DISCARD_LIMIT = 65536
# Interim answers before the final one: more than this is no progress.
cdef int INTERIM_LIMIT = 16
# Stream ids run out at 2**31; a connection that comes near is replaced.
cdef uint32_t LAST_ID = 0x7FFFF000
cdef Py_ssize_t WRITE_HIGH = 65536


# An object that is called may let go of the reference it was called through: every call to events goes through a local
# variable, which keeps it alive until the call is over.


cdef class Http2Client


cdef class Http2Call(ClientStream):
    """One request to the upstream and its answer."""

    cdef Http2Client wire
    cdef int32_t id                 # 0 until the request is submitted
    cdef Outbox out
    cdef Head head
    cdef Py_ssize_t debt, discard_left
    cdef uint64_t asked_ns, discarding_ns
    cdef int interims
    cdef bint to_head, bodiless, left, paused, answered, closed

    cdef void send_request(self, bytes method, bytes target, bytes authority, list fields, int64_t length):
        cdef Http2Client wire = self.wire
        cdef nghttp2_nv* pairs
        cdef nghttp2_data_provider provider
        cdef int count
        cdef bytes size
        if self.closed or wire.session == NULL:
            return
        self.to_head = method == b"HEAD"
        self.bodiless = length == NO_BODY or length == 0
        self.asked_ns = monotonic_ns()
        pairs = scratch_pairs(len(fields) + 6)
        count = add_pair(pairs, 0, b":method", method)
        count = add_pair(pairs, count, b":scheme", b"https" if wire.secure else b"http")
        count = add_pair(pairs, count, b":path", target)
        count = add_pair(pairs, count, b":authority", authority)
        count = add_fields(wire, pairs, count, fields)
        if length >= 0:
            size = decimal(length)
            count = add_pair(pairs, count, b"content-length", size)
        # said for ourselves, which may be said (RFC 9110 10.1.4): trailers are read here, and passed on where they can be
        count = add_pair(pairs, count, b"te", b"trailers")
        if self.bodiless:
            self.out.ended = True
            self.id = nghttp2_submit_request(wire.session, NULL, pairs, count, NULL, NULL)
        else:
            provider = provide(self.out)
            self.id = nghttp2_submit_request(wire.session, NULL, pairs, count, &provider, NULL)
        if self.id < 0:
            self.id = 0
            wire.loop.call_soon(wire.give_up, self)
            return
        wire.add_stream(self.id, self)
        wire.schedule()

    cdef void send_data(self, bytes data):
        cdef Outbox out = self.out
        cdef ClientEvents events = self.events
        if self.bodiless or self.closed or not self.id or not PyBytes_GET_SIZE(data):
            return
        out.push(data)
        self.wire.resume_sending(self.id, out)
        if out.queued > QUEUE_HIGH and not out.congested:
            out.congested = True
            if events is not None:
                events.on_upstream_congested()

    cdef void send_end(self, list trailers):
        if self.bodiless or self.closed or not self.id:
            return
        self.out.ended = True
        self.out.trailers = trailers
        self.wire.resume_sending(self.id, self.out)

    cdef void cancel(self):
        self.events = None
        if self.closed:
            return
        self.out.clear()
        self.discarding_ns = 0
        if not self.id:
            self.closed = True
            self.wire.over()
            return
        self.wire.suspect(self)
        self.wire.reset(self.id, NGHTTP2_CANCEL)

    cdef void discard(self):
        if self.closed or self.head is None or not self.out.ended:
            self.cancel()
            return
        self.events = None
        self.discarding_ns = monotonic_ns()
        self.discard_left = DISCARD_LIMIT
        self.resume()

    cdef void pause(self):
        self.paused = True

    cdef void resume(self):
        cdef Py_ssize_t debt = self.debt
        self.paused = False
        self.debt = 0
        if debt and not self.closed:
            self.wire.consumed(self.id, debt)

    cdef bint congested(self):
        return self.out.congested

    cdef Py_ssize_t unsent(self):
        cdef Http2Client wire = self.wire
        if wire.write_paused and wire.transport is not None:
            return self.out.queued + pending_bytes(wire.transport)
        return self.out.queued


cdef class Berth(SharedConnection):
    """The connection as its pool sees it."""

    cdef Http2Client wire

    cdef int room(self):
        return self.wire.room()

    cdef ClientStream take(self, ClientEvents who):
        return self.wire.call(who)

    cdef void check_deadlines(self, uint64_t now_ns):
        self.wire.check_deadlines(now_ns)

    cdef void close(self):
        self.wire.leave()


cdef class Http2Client(Http2Wire):
    """The protocol object of one upstream connection.

    Args:
        home: the pool that asked for it.
        header_bytes, header_count: bounds on an answer's head.
    """

    cdef ConnectionPool home
    cdef Berth berth
    cdef Py_ssize_t header_bytes
    cdef int header_count
    cdef int taken                  # streams given out and not over
    cdef bint alive, secure, leaving, used
    cdef bint settled               # the upstream's settings have come
    cdef bint served                # an answer has come whole
    cdef bint goodbye               # the upstream said so, without complaint and not before it had begun anything
    cdef int pings                  # in this silence
    cdef uint64_t last_ping_ns, said_ns, idle_ns, ended_ns

    def __init__(self, ConnectionPool home, Py_ssize_t header_bytes, int header_count):
        self.home = home
        self.header_bytes = header_bytes
        self.header_count = header_count

    def connection_made(self, transport):
        """The connection stands (TLS included): offer it to the pool, unless the other end does not speak HTTP/2."""
        cdef Berth berth
        ssl_object = transport.get_extra_info("ssl_object")
        self.transport = transport
        self.secure = ssl_object is not None
        if self.secure and ssl_object.selected_alpn_protocol() != "h2":
            self.read_closed = True
            transport.abort()
            self.home.failed("the upstream does not offer HTTP/2 (ALPN h2)")
            return
        self.alive = True
        transport.set_write_buffer_limits(high=WRITE_HIGH)
        self.open_session(False, self.header_bytes, self.header_count)
        self.said_ns = self.now_ns
        self.idle_ns = self.now_ns
        berth = Berth.__new__(Berth)
        berth.wire = self
        berth.home = self.home
        self.berth = berth
        self.schedule()
        self.home.on_shared_open(berth)

    def connection_lost(self, exc):
        """The upstream is gone: every answer that is still coming ends here."""
        cdef Berth berth = self.berth
        cause = "" if exc is None else f" ({type(exc).__name__})"
        self._fail_all(FAILED_RESET, f"the upstream closed the connection{cause}")
        self.close_session()
        self.berth = None
        if berth is not None:
            self.home.on_shared_closed(berth)

    def eof_received(self):
        """The upstream closed its side: no answer will come any more."""
        self._fail_all(FAILED_RESET, "the upstream closed the connection")
        return False

    def data_received(self, bytes data):
        """Feed the session; whatever the upstream does wrong fails a stream or the connection."""
        self.receive(data)

    # --- places ----------------------------------------------------------------------------------------------------
    cdef int room(self):
        cdef int64_t most
        if not self.alive or self.leaving or self.read_closed or self.session == NULL:
            return 0
        if self.pinged_ns and monotonic_ns() > self.pinged_ns + SUSPECT_NS:
            return 0
        if nghttp2_session_get_next_stream_id(self.session) > LAST_ID:
            self.leave()
            return 0
        most = nghttp2_session_get_remote_settings(self.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
        # before its settings have come a peer is taken to allow what the last one did
        return <int>min(most, <int64_t>(MAX_STREAMS if self.settled else self.home.breadth)) - self.taken

    cdef ClientStream call(self, ClientEvents who):
        cdef Http2Call call = Http2Call.__new__(Http2Call)
        call.wire = self
        call.out = Outbox.__new__(Outbox)
        call.events = who
        call.reused = self.used
        self.used = True
        self.taken += 1
        return call

    cdef over(self):
        """A stream is over: its place is free."""
        self.taken -= 1
        if self.taken == 0:
            self.idle_ns = self.now_ns
            if self.leaving:
                self._goodbye()
                return
        if self.berth is not None:
            self.home.on_stream_capacity(self.berth)

    def give_up(self, Http2Call call):
        """The session would not take the request: it never left."""
        if not call.closed:
            call.refused = True
            self._fail(call, FAILED_RESET, "the connection takes no more streams")

    cdef leave(self):
        """No new streams; goodbye when those that run are over."""
        if self.leaving or not self.alive:
            return
        self.leaving = True
        if self.taken == 0:
            self._goodbye()

    cdef _goodbye(self):
        if self.session != NULL and not self.read_closed:
            nghttp2_session_terminate_session(self.session, NGHTTP2_NO_ERROR)
            self.schedule()

    cdef _fail(self, Http2Call call, int failure, str detail):
        cdef ClientEvents events = call.events
        call.events = None
        if not call.closed:
            call.closed = True
            call.out.clear()
            self.over()
        if events is not None:
            events.on_failed(failure, detail)

    cdef _fail_all(self, int failure, str detail):
        cdef Http2Call call
        if self.alive:
            self.alive = False
            self.ended_ns = monotonic_ns()
        for item in self.streams():
            call = <Http2Call>item
            call.refused = not call.left
            call.connection_ended = call.refused and self.served
            self._fail(call, FAILED_TRUNCATED if call.head is not None and failure == FAILED_RESET else failure, detail)

    # --- the session's events ----------------------------------------------------------------------------------------
    cdef int on_block(self, int32_t stream, int category) except -1:
        cdef Http2Call call = <Http2Call>stream_at(self, stream)
        self._heard()
        if call is None:
            return UNWANTED
        return HEAD if call.head is None else TRAILERS

    cdef on_head(self, int32_t stream, bint ended):
        cdef Http2Call call = <Http2Call>stream_at(self, stream)
        cdef ClientEvents events
        cdef Head head
        if call is None:
            return
        head = take_http2_response(self.reader, self.status, ended, call.to_head)
        events = call.events
        if head is None:
            self._malformed(call, f"the upstream's answer was refused: {self.reader.fault}")
        elif head.status < 200:
            call.interims += 1
            if ended or call.interims > INTERIM_LIMIT:
                self._malformed(call, "interim answers without a final one")
            elif events is not None:
                events.on_interim(head.status)
        else:
            call.head = head
            if events is not None:
                events.on_head(head)
            if ended:
                self._answered(call, None)

    cdef _malformed(self, Http2Call call, str detail):
        cdef ClientEvents events = call.events
        call.events = None
        self.reset(call.id, NGHTTP2_PROTOCOL_ERROR)
        if events is not None:
            events.on_failed(FAILED_MALFORMED, detail)

    cdef on_trailers(self, int32_t stream, list trailers):
        self._answered(<Http2Call>stream_at(self, stream), trailers)

    cdef on_ended(self, int32_t stream):
        self._answered(<Http2Call>stream_at(self, stream), None)

    cdef _answered(self, Http2Call call, list trailers):
        """The answer is whole. A request that is not is of no use to anybody any more."""
        cdef ClientEvents events
        if call is None or call.answered:
            return
        call.answered = True
        self.served = True
        events = call.events
        call.events = None
        if not call.out.finished:
            call.out.clear()
            self.reset(call.id, NGHTTP2_CANCEL)
        if events is not None:
            events.on_end(trailers)

    cdef on_chunk(self, int32_t stream, bytes data):
        cdef Http2Call call = <Http2Call>stream_at(self, stream)
        cdef ClientEvents events
        self._heard()
        if call is None:
            self.consumed(stream, PyBytes_GET_SIZE(data))
            return
        events = call.events
        if events is not None:
            events.on_data(data)
        elif call.discarding_ns:
            call.discard_left -= PyBytes_GET_SIZE(data)
            if call.discard_left < 0:
                call.cancel()
        if call.paused:
            call.debt += PyBytes_GET_SIZE(data)
        else:
            self.consumed(stream, PyBytes_GET_SIZE(data))

    cdef on_reset(self, int32_t stream):
        return None

    cdef on_closed(self, int32_t stream, uint32_t code):
        cdef Http2Call call = <Http2Call>self.remove_stream(stream)
        if call is None:
            return
        if call.events is None:
            self._fail(call, FAILED_RESET, None)
            return
        name = nghttp2_http2_strerror(code).decode()
        if code == <uint32_t>NGHTTP2_REFUSED_STREAM:
            call.refused = True
            call.connection_ended = self.goodbye
            self._fail(call, FAILED_RESET, f"the upstream did not begin it: {name}")
        elif call.head is None:
            self._fail(call, FAILED_RESET, f"the upstream reset the stream before answering: {name}")
        elif code == <uint32_t>NGHTTP2_PROTOCOL_ERROR:
            self._fail(call, FAILED_MALFORMED, f"the upstream's answer broke off: {name}")
        else:
            self._fail(call, FAILED_TRUNCATED, f"the upstream reset the stream in the middle of its answer: {name}")

    cdef on_sent(self, int32_t stream, bint ended):
        cdef Http2Call call = <Http2Call>stream_at(self, stream)
        if call is not None:
            call.left = True
            call.out.finished = ended

    cdef on_drained(self, int32_t stream):
        cdef Http2Call call = <Http2Call>stream_at(self, stream)
        cdef ClientEvents events = None if call is None else call.events
        if events is not None:
            events.on_upstream_drained()

    cdef on_goaway(self, uint32_t code, int32_t last):
        """The upstream takes no new streams here; those it has not begun come back as refused."""
        self.goodbye = code == <uint32_t>NGHTTP2_NO_ERROR and last > 0
        self.leave()

    cdef on_settings(self):
        self.settled = True
        self.home.allow(nghttp2_session_get_remote_settings(self.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
        if self.berth is not None:
            self.home.on_stream_capacity(self.berth)

    cdef on_pong(self):
        if self.berth is not None:
            self.home.on_stream_capacity(self.berth)

    cdef on_fallen(self):
        reason = self.reason
        if reason is None:
            self._fail_all(FAILED_RESET, "the upstream said goodbye")
        else:
            self._fail_all(FAILED_MALFORMED, reason)
        if self.transport is not None:
            self.transport.close()

    # --- time ------------------------------------------------------------------------------------------------------
    cdef void _heard(self):
        """Headers or data: a silence, if there was one, is over."""
        self.said_ns = self.now_ns
        self.pings = 0

    cdef _ask(self, uint64_t now_ns):
        """Is anybody there?"""
        if self.pinged_ns or (self.pings >= PINGS_FORGIVEN and now_ns < self.last_ping_ns + PING_APART_NS):
            return
        self.pings += 1
        self.last_ping_ns = now_ns
        self.ping()

    cdef void suspect(self, Http2Call call):
        """An attempt is given up. Has the connection been silent while it waited?"""
        cdef uint64_t now_ns = monotonic_ns()
        if call.head is None and now_ns > max(call.asked_ns, self.heard_ns) + SUSPECT_NS:
            self._ask(now_ns)

    cdef check_deadlines(self, uint64_t now_ns):
        cdef Http2Call call
        if self.transport is None:
            return
        if not self.alive:
            if now_ns > self.ended_ns + self.home.drain_limit_ns:
                self.transport.abort()      # it waits to be rid of what the upstream does not read
            return
        if self.pinged_ns and now_ns > self.pinged_ns + self.home.pong_ns:
            self.transport.abort()
            self._fail_all(FAILED_RESET, f"the upstream did not answer a ping within {self.home.pong_ns / 1e9:g} s")
            return
        if self.taken == 0 and now_ns > self.idle_ns + self.home.idle_limit_ns:
            self.leave()
        elif self.berth is not None and now_ns > self.berth.born_ns + self.berth.lifetime_ns:
            self.leave()
        if now_ns > self.heard_ns + self.home.silence_ns:     # also one that takes no new streams: it may have some that run
            self._ask(now_ns)
        for item in self.streams():
            call = <Http2Call>item
            if call.discarding_ns and now_ns > call.discarding_ns + self.home.drain_limit_ns:
                call.cancel()
