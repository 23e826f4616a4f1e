"""Drives an upstream's HTTP/2 connection over one libnghttp2 session that many attempts share.

A failed stream does not affect the others. A failed connection fails all of its streams, and tells for each stream
whether the upstream may have begun to process it (RFC 9113 8.7)."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from native.io.clock cimport monotonic_ns
from native.io.stream_socket cimport StreamSocket
from native.codec.head cimport NO_BODY, Head
from native.codec.numbers cimport decimal
from native.codec.response_head cimport take_http2_response
from native.http.connection_pool cimport TRUSTED_NS, ConnectionPool, SharedConnection
from native.http.http2_block_reader cimport HEAD, TRAILERS, UNWANTED
from native.http.http2_connection cimport MAX_STREAMS, Http2Connection, provide
from native.http.http2_field_writer cimport add_pair, scratch_pairs
from native.http.http2_flow cimport StreamFlow
from native.http.http2_stream_table cimport stream_at
from native.http.nghttp2 cimport *
from native.http.stream cimport FAILED_MALFORMED, FAILED_RESET, FAILED_TRUNCATED, ClientEvents, ClientStream

# gRPC servers close the connection of a client that pings more often than this while nothing else is sent
# ("too_many_pings"). They tolerate two pings per silence; further pings must be this far apart.
cdef uint64_t PING_APART_NS = 300_000_000_000
cdef int PINGS_FORGIVEN = 2
# If an attempt is given up after this much silence on the whole connection, the connection is pinged. A ping that stays
# unanswered for as long makes new attempts use other connections.
cdef uint64_t SUSPECT_NS = 1_000_000_000
# The rest of an unwanted response is read up to this size, and then reset. ConnectionPool.drain_limit_ns limits the
# time.
cdef Py_ssize_t DISCARD_LIMIT = 65536
# An upstream that sends more interim responses than this makes no progress.
cdef int INTERIM_LIMIT = 16
# Stream numbers end at 2**31; a connection that comes near is replaced.
cdef uint32_t LAST_NUMBER = 0x7FFFF000


# A method of ``events`` may clear the attribute that it was called through. Every such call goes through a local
# variable, which keeps the object alive until the call returns.


cdef class Http2Client


cdef class Http2Call(ClientStream):
    """One request to the upstream and its response."""

    cdef Http2Client connection
    cdef StreamFlow flow            # flow.number is 0 until the request is submitted
    cdef Head head
    cdef Py_ssize_t discard_left
    cdef uint64_t asked_ns
    cdef uint64_t discarding_ns     # when discard() was called; 0 = the response is wanted
    cdef int interims
    cdef bint to_head               # the request is HEAD
    cdef bint bodiless              # the request has no body
    cdef bint sent                  # a frame of the request has been sent
    cdef bint answered              # the response is complete

    cdef int send_request(self, bytes method, bytes target, bytes authority, list fields, int64_t length) except -1:
        cdef Http2Client connection = self.connection
        cdef StreamFlow flow = self.flow
        cdef nghttp2_nv* pairs
        cdef nghttp2_data_provider provider
        cdef int count
        cdef int32_t number
        cdef bytes size
        if flow.closed or connection.session == NULL:
            return 0
        self.to_head = method == b"HEAD"
        self.bodiless = length == NO_BODY or length == 0
        self.asked_ns = monotonic_ns()
        pairs = scratch_pairs(len(fields) + 6)
        count = add_pair(pairs, 0, b":method", method)
        count = add_pair(pairs, count, b":scheme", b"https" if connection.secure else b"http")
        count = add_pair(pairs, count, b":path", target)
        count = add_pair(pairs, count, b":authority", authority)
        count = connection.fields.add_fields(pairs, count, fields)
        if length >= 0:
            size = decimal(length)
            count = add_pair(pairs, count, b"content-length", size)
        # edge reads trailers even if the client cannot (RFC 9110 10.1.4)
        count = add_pair(pairs, count, b"te", b"trailers")
        if self.bodiless:
            flow.ended = True
            number = nghttp2_submit_request(connection.session, NULL, pairs, count, NULL, NULL)
        else:
            provider = provide(flow)
            number = nghttp2_submit_request(connection.session, NULL, pairs, count, &provider, NULL)
        if number < 0:
            connection.socket.reactor.loop.call_soon(connection.fail_unsubmitted, self)
            return 0
        flow.number = number
        connection.table.add_stream(number, self)
        connection.schedule()

    cdef int send_data(self, bytes data) except -1:
        cdef ClientEvents events = self.events
        if self.bodiless or self.flow.closed or not self.flow.number or not PyBytes_GET_SIZE(data):
            return 0
        if self.flow.send(data) and events is not None:
            events.on_upstream_congested()

    cdef int send_end(self, list trailers) except -1:
        if not (self.bodiless or self.flow.closed) and self.flow.number:
            self.flow.end(trailers)

    cdef int cancel(self) except -1:
        self.events = None
        if self.flow.closed:
            return 0
        self.flow.clear()
        self.discarding_ns = 0
        if not self.flow.number:
            self.flow.closed = True
            self.connection.end_stream()
            return 0
        self.connection.suspect(self)
        self.connection.reset(self.flow.number, NGHTTP2_CANCEL)

    cdef int discard(self) except -1:
        if self.flow.closed or self.head is None or not self.flow.ended:
            self.cancel()
            return 0
        self.events = None
        self.discarding_ns = monotonic_ns()
        self.discard_left = DISCARD_LIMIT
        self.resume()

    cdef int pause(self) except -1:
        self.flow.paused = True

    cdef int resume(self) except -1:
        self.flow.resume()

    cdef bint congested(self):
        return self.flow.congested

    cdef Py_ssize_t unsent(self):
        cdef Http2Client connection = self.connection
        if connection.socket.write_paused:
            return self.flow.queued + connection.socket.count_pending()
        return self.flow.queued

    cdef uint64_t heard_ns(self):
        return self.connection.received_ns


cdef class PooledHttp2(SharedConnection):
    """The connection as its pool sees it."""

    cdef Http2Client connection

    cdef int room(self):
        return self.connection.room()

    cdef bint is_quiet(self):
        return self.connection.is_quiet()

    cdef int distrust(self) except -1:
        self.connection.distrusted = True

    cdef ClientStream take(self, ClientEvents who):
        return self.connection.open_stream(who)

    cdef int check_deadlines(self, uint64_t now_ns) except -1:
        self.connection.check_deadlines(now_ns)

    cdef int close(self) except -1:
        self.connection.retire()


cdef class Http2Client(Http2Connection):
    """One upstream connection.

    Args:
        home: the pool that opened the connection.
        header_bytes, header_count: limits on a response's head.
    """

    cdef ConnectionPool home
    cdef PooledHttp2 pooled         # None before the connection is established, and after its end
    cdef Py_ssize_t header_bytes
    cdef int header_count
    cdef int open_streams           # streams that attempts hold
    cdef bint alive, secure
    cdef bint retiring              # the connection takes no new streams
    cdef bint used                  # the connection has carried a stream
    cdef bint distrusted            # other connections have died while they were idle, as this one may
    cdef bint settings_received
    cdef bint served                # a response has been received completely
    cdef bint graceful_goaway       # GOAWAY with NO_ERROR, after at least one processed stream
    cdef int pings                  # pings since the last frame of a response
    cdef uint64_t last_ping_ns, idle_since_ns, ended_ns

    def __init__(self, ConnectionPool home, Py_ssize_t header_bytes, int header_count):
        self.home = home
        self.header_bytes = header_bytes
        self.header_count = header_count

    def socket_events(self):
        """Return the object that receives the socket's events."""
        return self

    cdef int on_open(self, StreamSocket socket) except -1:
        """Offer the connection to the pool, or close it if the TLS handshake has not selected HTTP/2."""
        cdef PooledHttp2 pooled
        self.socket = socket
        self.secure = socket.tls is not None
        if self.secure and socket.tls.protocol() != b"h2":
            self.read_closed = True
            socket.abort()
            self.home.failed("the upstream does not offer HTTP/2 (ALPN h2)")
            return 0
        self.alive = True
        self.open_session(False, self.header_bytes, self.header_count)
        self.idle_since_ns = self.now_ns
        pooled = PooledHttp2.__new__(PooledHttp2)
        pooled.connection = self
        pooled.home = self.home
        self.pooled = pooled
        self.schedule()
        self.home.on_shared_open(pooled)

    cdef int on_lost(self, str reason) except -1:
        """Fail every incomplete response: the connection is lost."""
        cdef PooledHttp2 pooled = self.pooled
        cause = "" if reason is None else f" ({reason})"
        self._fail_all(FAILED_RESET, f"the upstream closed the connection{cause}")
        self.close_session()
        self.pooled = None
        if pooled is not None:
            self.home.on_shared_closed(pooled)

    cdef int on_eof(self, bint truncated) except -1:
        """Fail every incomplete response: the upstream closed its side."""
        self._fail_all(FAILED_RESET, "the upstream closed the connection")

    cdef int on_bytes(self, const char* data, Py_ssize_t size) except -1:
        """Feed the session. A protocol error of the upstream fails a stream or the connection."""
        self.receive(data, size)
        if self.open_streams == 0 and self.pooled is not None and not self.pooled.listed:
            self.home.on_stream_capacity(self.pooled)       # a request may have passed it over for these bytes

    # --- streams for attempts ----------------------------------------------------------------------------------------
    cdef int room(self):
        cdef int64_t most
        if not self.alive or self.retiring or self.read_closed or self.session == NULL:
            return 0
        if self.pinged_ns and monotonic_ns() > self.pinged_ns + SUSPECT_NS:
            return 0
        if nghttp2_session_get_next_stream_id(self.session) > LAST_NUMBER:
            self.retire()
            return 0
        most = nghttp2_session_get_remote_settings(self.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
        # before its SETTINGS arrive, assume the limit of the previous connection
        return <int>min(most, <int64_t>(MAX_STREAMS if self.settings_received else self.home.breadth)) - self.open_streams

    cdef bint is_quiet(self):
        cdef uint64_t trusted_ns = 0 if self.distrusted else self.idle_since_ns + <uint64_t>TRUSTED_NS
        return self.open_streams > 0 or monotonic_ns() < trusted_ns or self.socket.is_silent()

    cdef ClientStream open_stream(self, ClientEvents who):
        cdef Http2Call call = Http2Call.__new__(Http2Call)
        call.connection = self
        call.flow = StreamFlow.__new__(StreamFlow)
        call.flow.connection = self
        call.events = who
        call.reused = self.used
        self.used = True
        self.distrusted = False
        self.open_streams += 1
        return call

    cdef end_stream(self):
        """Give the place of a closed stream to a waiter."""
        self.open_streams -= 1
        if self.open_streams == 0:
            self.idle_since_ns = self.now_ns
            if self.retiring:
                self._terminate()
                return
        if self.pooled is not None:
            self.home.on_stream_capacity(self.pooled)

    def fail_unsubmitted(self, Http2Call call):
        """Fail a request that the session did not accept: nothing of it has been sent."""
        if not call.flow.closed:
            call.refused = True
            self._fail(call, FAILED_RESET, "the connection takes no more streams")

    cdef retire(self):
        """Take no new streams; end the session after the last open stream."""
        if self.retiring or not self.alive:
            return
        self.retiring = True
        if self.open_streams == 0:
            self._terminate()

    cdef _terminate(self):
        if self.session != NULL and not self.read_closed:
            nghttp2_session_terminate_session(self.session, NGHTTP2_NO_ERROR)
            self.schedule()

    cdef _fail(self, Http2Call call, int failure, str detail):
        cdef ClientEvents events = call.events
        call.events = None
        if not call.flow.closed:
            call.flow.close()
            self.end_stream()
        if events is not None:
            events.on_failed(failure, detail)

    cdef _fail_all(self, int failure, str detail):
        cdef Http2Call call
        cdef int own
        if self.alive:
            self.alive = False
            self.ended_ns = monotonic_ns()
        for item in self.table.streams():
            call = <Http2Call>item
            call.refused = not call.sent
            # refused, or not a byte has come since it was sent on a connection that had been idle
            call.connection_ended = self.served and (
                call.refused or (failure == FAILED_RESET and call.head is None and self.received_ns < call.asked_ns)
            )
            if call.connection_ended:
                self.home.recheck_idle()
            own = FAILED_TRUNCATED if call.head is not None and failure == FAILED_RESET else failure
            self._fail(call, own, detail)

    # --- events of the session ---------------------------------------------------------------------------------------
    cdef int on_block(self, int32_t stream, int category) except -1:
        cdef Http2Call call = <Http2Call>stream_at(self.table, stream)
        self.pings = 0      # gRPC servers count pings since the last HEADERS or DATA frame
        if call is None:
            return UNWANTED
        return HEAD if call.head is None else TRAILERS

    cdef on_head(self, int32_t stream, bint ended):
        cdef Http2Call call = <Http2Call>stream_at(self.table, stream)
        cdef ClientEvents events
        cdef Head head
        if call is None:
            return
        head = take_http2_response(self.reader.reader, self.reader.status, ended, call.to_head)
        events = call.events
        if head is None:
            self._malformed(call, f"the upstream's answer was refused: {self.reader.reader.fault}")
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
                self._end_response(call, None)

    cdef _malformed(self, Http2Call call, str detail):
        cdef ClientEvents events = call.events
        call.events = None
        self.reset(call.flow.number, NGHTTP2_PROTOCOL_ERROR)
        if events is not None:
            events.on_failed(FAILED_MALFORMED, detail)

    cdef on_trailers(self, int32_t stream, list trailers):
        self._end_response(<Http2Call>stream_at(self.table, stream), trailers)

    cdef on_ended(self, int32_t stream):
        self._end_response(<Http2Call>stream_at(self.table, stream), None)

    cdef _end_response(self, Http2Call call, list trailers):
        """Report the end of a complete response. A request that is still being sent is reset."""
        cdef ClientEvents events
        if call is None or call.answered:
            return
        call.answered = True
        self.served = True
        events = call.events
        call.events = None
        if not call.flow.finished:
            call.flow.clear()
            self.reset(call.flow.number, NGHTTP2_CANCEL)
        if events is not None:
            events.on_end(trailers)

    cdef on_chunk(self, int32_t stream, bytes data):
        cdef Http2Call call = <Http2Call>stream_at(self.table, stream)
        cdef ClientEvents events
        self.pings = 0
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
        call.flow.received(PyBytes_GET_SIZE(data))

    cdef on_reset(self, int32_t stream):
        return None     # on_closed follows

    cdef on_closed(self, int32_t stream, uint32_t code):
        cdef Http2Call call = <Http2Call>self.table.remove_stream(stream)
        if call is None:
            return
        if call.events is None:
            self._fail(call, FAILED_RESET, None)
            return
        name = nghttp2_http2_strerror(code).decode()
        call.reset_code = code
        if code == <uint32_t>NGHTTP2_REFUSED_STREAM:
            call.refused = True
            call.connection_ended = self.graceful_goaway
            self._fail(call, FAILED_RESET, f"the upstream did not begin it: {name}")
        elif call.head is None:
            self._fail(call, FAILED_RESET, f"the upstream reset the stream before answering: {name}")
        elif code == <uint32_t>NGHTTP2_PROTOCOL_ERROR:
            self._fail(call, FAILED_MALFORMED, f"the upstream's answer broke off: {name}")
        else:
            self._fail(call, FAILED_TRUNCATED, f"the upstream reset the stream in the middle of its answer: {name}")

    cdef on_sent(self, int32_t stream, bint ended):
        cdef Http2Call call = <Http2Call>stream_at(self.table, stream)
        if call is not None:
            call.sent = True
            call.flow.finished = ended

    cdef on_drained(self, int32_t stream):
        cdef Http2Call call = <Http2Call>stream_at(self.table, stream)
        cdef ClientEvents events = None if call is None else call.events
        if events is not None:
            events.on_upstream_drained()

    cdef on_goaway(self, uint32_t code, int32_t last):
        """Take no new streams. The session closes the streams that the upstream has not processed as refused."""
        self.graceful_goaway = code == <uint32_t>NGHTTP2_NO_ERROR and last > 0
        self.retire()

    cdef on_settings(self):
        self.settings_received = True
        self.home.allow(nghttp2_session_get_remote_settings(self.session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS))
        if self.pooled is not None:
            self.home.on_stream_capacity(self.pooled)

    cdef on_pong(self):
        if self.pooled is not None:
            self.home.on_stream_capacity(self.pooled)

    cdef on_finished(self):
        reason = self.close_reason
        if reason is None:
            self._fail_all(FAILED_RESET, "the upstream said goodbye")
        else:
            self._fail_all(FAILED_MALFORMED, reason)
        self.socket.close()

    # --- time --------------------------------------------------------------------------------------------------------
    cdef _ping_if_allowed(self, uint64_t now_ns):
        """Ping an upstream that may be dead, as often as gRPC servers tolerate."""
        if self.pinged_ns or (self.pings >= PINGS_FORGIVEN and now_ns < self.last_ping_ns + PING_APART_NS):
            return
        self.pings += 1
        self.last_ping_ns = now_ns
        self.ping()

    cdef int suspect(self, Http2Call call) except -1:
        """Ping if the connection has been silent while the given-up call waited for its response."""
        cdef uint64_t now_ns = monotonic_ns()
        if call.head is None and now_ns > max(call.asked_ns, self.received_ns) + SUSPECT_NS:
            self._ping_if_allowed(now_ns)

    cdef check_deadlines(self, uint64_t now_ns):
        cdef Http2Call call
        if self.socket.fd < 0:
            return
        if not self.alive:
            if now_ns > self.ended_ns + self.home.drain_limit_ns:
                self.socket.abort()      # the upstream does not read, so a graceful close would not complete
            return
        if self.pinged_ns and now_ns > self.pinged_ns + self.home.pong_ns:
            self.socket.abort()
            self._fail_all(FAILED_RESET, f"the upstream did not answer a ping within {self.home.pong_ns / 1e9:g} s")
            return
        if self.open_streams == 0 and now_ns > self.idle_since_ns + self.home.idle_limit_ns:
            self.retire()
        elif self.pooled is not None and now_ns > self.pooled.born_ns + self.pooled.lifetime_ns:
            self.retire()
        # a retiring connection is pinged too: it may have open streams
        if now_ns > self.received_ns + self.home.silence_ns:
            self._ping_if_allowed(now_ns)
        for item in self.table.streams():
            call = <Http2Call>item
            if call.discarding_ns and now_ns > call.discarding_ns + self.home.drain_limit_ns:
                call.cancel()
