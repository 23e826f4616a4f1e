"""How does a client's HTTP/1.1 connection look on the wire?  A uvloop protocol; llhttp (httptools) reads the framing.

One exchange at a time: pipelined requests wait and are answered in order (RFC 9112 9.3.2). Whatever is answered or
forwarded is framed anew."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from native.io.atomics cimport add64
from native.io.clock cimport monotonic_ns
from native.codec.head_reader cimport HeadReader
from native.codec.head_writer cimport frame_chunk, last_chunk, status_line, write_head
from native.codec.numbers cimport decimal
from native.codec.request_head cimport take_request
from native.codec.head cimport NO_BODY, TUNNEL, UNKNOWN_LENGTH, Head
from native.http.stream cimport Acceptor, ClientCertificate, ServerEvents, ServerStream, unacked_bytes
from native.io.timer_wheel cimport Timer

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

# A request line longer than this is refused with 414 (RFC 9112 3 asks for at least 8000).
cdef Py_ssize_t TARGET_LIMIT = 16384
# Data up to here shares one buffer with its framing; more is written as it stands.
cdef Py_ssize_t JOIN_LIMIT = 32768
# Chunk framing and extensions may cost this much beyond a tenth of the body and what is granted for each chunk (its
# size in hex digits, two line ends), or the sender is up to something.
cdef Py_ssize_t OVERHEAD_LIMIT = 65536
cdef Py_ssize_t CHUNK_OVERHEAD = 16
# After an answer that ends the connection the rest of the request is read and dropped for this long, so that the client
# sees the answer and not a reset (RFC 9112 9.6).
cdef uint64_t LINGER_NS = 1_000_000_000
cdef uint64_t SECOND = 1_000_000_000
# An answer that is read slower than it comes stops its upstream here.
cdef Py_ssize_t WRITE_HIGH = 65536
# A client may send this much behind a request for a tunnel before it is no longer read.
cdef Py_ssize_t AFTER_LIMIT = 65536
# More pipelined requests than this in one go are abuse: each costs more memory than its bytes.
cdef int PIPELINE_LIMIT = 64


class RefusedError(Exception):
    """Raised inside a parser callback to stop the parser; the reason stands on the connection."""


# An object that is called may let go of the reference it was called through: every call to events goes through a local
# variable, which keeps it alive until the call is over.


cdef class Http1Server


cdef class Watch(Timer):
    """Looks at one server connection now and then: idle, slow head, slow body, unread answer."""

    cdef Http1Server connection

    cdef void fire(self, uint64_t now_ns):
        cdef Http1Server connection = self.connection
        if connection is not None:
            connection.check_deadlines(now_ns)


cdef class Http1Stream(ServerStream):
    """One request on a client connection and the answer to it."""

    cdef Http1Server connection
    cdef Head head
    cdef list backlog               # body that came while an earlier request was being answered
    cdef Py_ssize_t holding         # bytes of it
    cdef uint64_t started_ns          # when its turn came
    cdef bint opened, received, headed, answered, chunked, bodiless
    cdef bytes held                 # the answer's head, waiting to share a write with its first bytes

    cdef void send_interim(self, int status):
        self.awaits_continue = False
        self.connection.since_ns = monotonic_ns()       # the client's turn begins here
        if not self.headed and self.head.version != 10:
            self.connection.write(status_line(status) + b"\r\n")

    cdef void send_head(self, int status, list fields, int64_t length):
        cdef Http1Server connection = self.connection
        cdef bytes framing
        # While the request still comes nobody knows whether it will be whole when its answer is.
        cdef bint keep = self.received and self.head.keep_alive and not connection.acceptor.draining
        self.headed = True
        self.bodiless = self.head.method == b"HEAD" or status == 204 or status == 304
        if status == 204 or (status == 304 and length < 0):
            framing = b""
        elif length == TUNNEL:
            self.held = write_head(status_line(status), fields, b"connection: upgrade\r\n")
            connection.switch()
            return
        elif length >= 0:
            framing = b"content-length: " + decimal(length) + b"\r\n"
        elif length == NO_BODY:
            framing = b"content-length: 0\r\n"
            self.bodiless = True
        elif self.bodiless:
            framing = b""
        elif self.head.version == 10:
            framing = b""
            keep = False
        else:
            framing = b"transfer-encoding: chunked\r\n"
            self.chunked = True
        if self.closes_connection or not keep:
            self.closes_connection = True
            framing += b"connection: close\r\n"
        elif self.head.version == 10:
            framing += b"connection: keep-alive\r\n"
        self.held = write_head(status_line(status), fields, framing)

    cdef void send_data(self, bytes data):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef bytes held = self.held
        if self.bodiless or size == 0:
            if held is not None and size == 0:
                self.held = None
                self.connection.write(held)
            return
        self.held = None
        if size > JOIN_LIMIT:
            if self.chunked:
                line = b"%x\r\n" % size
                self.connection.write(line if held is None else held + line)
                self.connection.write(data)
                self.connection.write(b"\r\n")
                return
            if held is not None:
                self.connection.write(held)
            self.connection.write(data)
        elif self.chunked:
            self.connection.write(frame_chunk(held, data))
        elif held is None:
            self.connection.write(data)
        else:
            self.connection.write(held + data)

    cdef void send_end(self, list trailers):
        cdef bytes held = self.held
        cdef Http1Server connection = self.connection
        if self.answered:
            return
        self.held = None
        if self.chunked:
            end = last_chunk(trailers)
            connection.write(end if held is None else held + end)
        elif held is not None:
            connection.write(held)
        self.answered = True
        self.events = None
        if connection.raw:
            connection.shut()
            return
        connection.advance()

    cdef void cut(self):
        cdef Http1Server connection = self.connection
        self.answered = True
        self.events = None
        if self.held is not None:
            connection.write(self.held)
            self.held = None
        # A reset where the end of the connection would pass for the end of the answer; otherwise what was written
        # is flushed, and the missing last chunk or bytes tell.
        if self.headed and not self.chunked and self.head.version == 10:
            connection.abort()
        else:
            connection.shut()

    cdef void pause(self):
        self.connection.pause_reading()

    cdef void resume(self):
        self.connection.resume_reading()

    cdef bint congested(self):
        return self.connection.write_paused

    cdef object peer(self):
        transport = self.connection.transport
        return None if transport is None else transport.get_extra_info("peername")


cdef class Http1Server:
    """The protocol object of one client connection.

    Args:
        acceptor: the data plane that opens an exchange for each request.
        allow_anonymous: its listener asks for no key.
        certificate: what the client's certificate says; None = it has shown none.
    """

    cdef Acceptor acceptor
    cdef object transport, parser
    cdef HeadReader reader
    cdef ClientCertificate certificate
    cdef bytes url
    cdef bytes reframed             # a head that says again how the body is framed which follows an Upgrade
    cdef Http1Stream current        # being answered
    cdef Http1Stream incoming       # whose request is being read
    cdef list waiting               # pipelined behind current
    cdef Py_ssize_t head_bytes, overhead
    cdef bint in_head, write_paused, read_paused, lingering, poisoned, gone, secure, allow_anonymous
    cdef bint ending                # the last answer is on its way: nothing that still comes is a request
    cdef int fault_status
    cdef str fault
    cdef uint64_t since_ns          # when the present wait began
    cdef uint64_t paused_ns         # when writing was paused, or when the client was last seen to read since
    cdef Py_ssize_t left            # what was still to be taken by the client when that was last looked at
    cdef Watch watch
    cdef bytes after                # what came behind a request that asks for a tunnel
    cdef bint raw                   # a tunnel: no framing any more

    def __init__(self, Acceptor acceptor, bint allow_anonymous=False, ClientCertificate certificate=None):
        self.acceptor = acceptor
        self.allow_anonymous = allow_anonymous
        self.certificate = certificate
        self.waiting = []
        self.parser = HttpRequestParser(self)
        self.reader = HeadReader(acceptor.header_bytes, acceptor.header_count)

    def connection_made(self, transport):
        """Take a new connection in; over the limit it is closed at once."""
        cdef Watch watch
        self.transport = transport
        if len(self.acceptor.open_connections) >= self.acceptor.connection_limit:
            self.gone = True
            transport.abort()
            return
        self.secure = transport.get_extra_info("sslcontext") is not None
        transport.set_write_buffer_limits(high=WRITE_HIGH)
        self.since_ns = monotonic_ns()
        add64(self.acceptor.counters.accepted, 1)
        add64(self.acceptor.counters.open, 1)
        self.acceptor.open_connections.add(self)
        watch = Watch()
        watch.connection = self
        self.watch = watch
        self.rearm(self.since_ns)

    def connection_lost(self, exc):
        """The client is gone: whatever runs for it is cancelled now."""
        self._leave()
        if self in self.acceptor.open_connections:
            add64(self.acceptor.counters.open, <uint64_t>-1)
            self.acceptor.open_connections.discard(self)
        if self.watch is not None:
            self.acceptor.coarse.disarm(self.watch)
            self.watch.connection = None
            self.watch = None
        self.transport = None
        self.parser = None      # parser and protocol hold each other

    def eof_received(self):
        """A client that closed its side has left (a half-close cannot be told from it); the transport closes."""
        self._leave()
        return False

    def _leave(self):
        cdef Http1Stream stream = self.current
        if self.gone:
            return
        self.gone = True
        self.ending = True      # the transport closes once it has written what it holds, and is given time for that
        self.since_ns = monotonic_ns()
        self.current = None
        self.incoming = None
        for item in self.waiting:
            self.let_go(<Http1Stream>item)
        self.waiting = []
        if stream is not None and stream.events is not None:
            events = stream.events
            stream.events = None
            stream.answered = True
            events.on_client_gone()

    def pause_writing(self):
        """The client does not read: stop the upstream too."""
        cdef ServerEvents events = None if self.current is None else self.current.events
        self.write_paused = True
        self.paused_ns = monotonic_ns()
        if events is not None:
            events.on_client_congested()

    def resume_writing(self):
        """The client reads again."""
        cdef ServerEvents events = None if self.current is None else self.current.events
        self.write_paused = False
        if events is not None:
            events.on_client_drained()
        elif self.current is None and not self.ending and not self.gone:
            self.proceed()

    def data_received(self, bytes data):
        """Feed the parser; a fault in the framing is answered with its status and ends the connection."""
        add64(self.acceptor.counters.bytes_in, PyBytes_GET_SIZE(data))
        self.take(data)

    cdef take(self, bytes data):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef ServerEvents events
        if self.ending or self.poisoned or self.gone:
            return
        if self.raw:
            events = None if self.current is None else self.current.events
            if events is not None:
                events.on_request_data(data)
            return
        if self.after is not None:
            self.hold_back(data)
            return
        if self.incoming is None:
            self.head_bytes += size
        else:
            self.overhead += size
            self.since_ns = monotonic_ns()
        try:
            while data is not None:
                data = self._feed(data)
        except HttpParserCallbackError as error:
            if not self.poisoned and not self.ending:
                raise error.__context__ if error.__context__ is not None else error
        except HttpParserError as error:
            if not self.ending:
                self.poison(400, f"the request is not HTTP/1.1: {error}")
        if self.in_head and self.head_bytes > self.acceptor.header_bytes + TARGET_LIMIT:
            self.poison(431, f"header fields larger than {self.acceptor.header_bytes} bytes")
        elif self.overhead > OVERHEAD_LIMIT:
            self.poison(400, "chunk framing outweighs the body")
        if self.poisoned and self.current is None and not self.waiting:
            self.answer_fault()

    cdef bytes _feed(self, bytes data):
        """Parse; what is left after a request that asks for an upgrade. Only a service may take one: then what follows
        waits for its answer. Elsewhere the field is ignored (RFC 9110 7.8), and what follows is the request's body,
        which httptools never reads there, or the next request."""
        cdef Py_ssize_t offset
        try:
            self.parser.feed_data(data)
            return None
        except HttpParserUpgrade as upgrade:
            offset = upgrade.args[0]
        if self.reframed is not None and not self.poisoned and not self.ending:
            # a parser that has read a head with this framing, and no Upgrade, reads the body and what comes behind it
            self.url = b""
            self.parser = HttpRequestParser(self)
            self.parser.feed_data(self.reframed)
        elif self.incoming is not None:
            self.on_message_complete()
        if self.current is not None and self.current.upgrade_requested and not self.waiting:
            self.hold_back(data[offset:])
            return None
        if offset < PyBytes_GET_SIZE(data) and not self.poisoned and not self.ending:
            return data[offset:]
        return None

    cdef hold_back(self, bytes data):
        """What comes before a tunnel is one waits. It is read on for a while: who leaves meanwhile is to be noticed."""
        self.after = data if self.after is None else self.after + data
        if PyBytes_GET_SIZE(self.after) > AFTER_LIMIT:
            self.pause_reading()

    # --- httptools callbacks -----------------------------------------------------------------------------------------
    def on_message_begin(self):
        if self.reframed is not None:
            return
        self.in_head = True
        self.url = b""
        self.since_ns = monotonic_ns()

    def on_url(self, bytes part):
        self.url = part if not self.url else self.url + part
        if PyBytes_GET_SIZE(self.url) > TARGET_LIMIT:
            self.poison(414, f"the request target is longer than {TARGET_LIMIT} bytes")
            raise RefusedError

    def on_header(self, bytes name, bytes value):
        if not self.in_head:
            return      # a trailer field: none is merged into the head, none is forwarded (RFC 9110 6.5.1)
        if self.reader.add(name, value) < 0:
            self.poison(self.reader.fault_status, self.reader.fault)
            raise RefusedError

    def on_headers_complete(self):
        cdef Http1Stream stream
        cdef Head head
        if self.reframed is not None:
            self.reframed = None    # from here on it is the body
            return
        if self.ending:
            raise RefusedError      # the answer before was the connection's last
        head = take_request(
            self.reader, self.parser.get_method(), self.url, self.reader.version(self.parser)
        )
        if head is None:
            self.poison(self.reader.fault_status, self.reader.fault)
            raise RefusedError
        if head.upgrades and head.length != NO_BODY:
            # A server may ignore the field (RFC 9110 7.8): a body and a tunnel are never taken together.
            head.upgrade = None
            if self.parser.should_upgrade():
                self.reframed = (
                    b"POST / HTTP/1.1\r\n"
                    + (b"" if head.keep_alive else b"connection: close\r\n")
                    + (
                        b"transfer-encoding: chunked\r\n\r\n" if head.length == UNKNOWN_LENGTH
                        else b"content-length: " + decimal(head.length) + b"\r\n\r\n"
                    )
                )
        self.in_head = False
        self.head_bytes = 0
        self.overhead = 0
        stream = Http1Stream.__new__(Http1Stream)
        stream.connection = self
        stream.head = head
        stream.scheme = "https" if self.secure else "http"
        stream.allow_anonymous = self.allow_anonymous
        stream.certificate = self.certificate
        stream.received = head.length == NO_BODY
        stream.awaits_continue = head.expects and not stream.received and head.version != 10
        self.incoming = stream
        if self.current is None and not self.write_paused:
            self.open(stream)
        elif len(self.waiting) >= PIPELINE_LIMIT:
            self.poison(400, f"more than {PIPELINE_LIMIT} pipelined requests")
            raise RefusedError
        else:
            self.waiting.append(stream)
            self.pause_reading()

    def on_body(self, bytes data):
        cdef Http1Stream stream = self.incoming
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        # what is left of overhead is framing; each chunk comes here at least once
        self.overhead -= size + size // 10 + CHUNK_OVERHEAD
        if stream is None or stream.answered:
            return
        stream.awaits_continue = False
        if stream.opened:
            events = stream.events
            if events is not None:
                events.on_request_data(data)
            return
        if not self.acceptor.hold(size):
            self.poison(503, "its body does not fit into what this node may hold; retry")
            raise RefusedError
        stream.holding += size
        if stream.backlog is None:
            stream.backlog = []
        stream.backlog.append(data)

    def on_message_complete(self):
        cdef Http1Stream stream = self.incoming
        if self.reframed is not None:
            return      # of a head whose body httptools has skipped
        self.incoming = None
        self.overhead = 0       # not judged: what this read brought of the next request is in it
        self.head_bytes = 0
        if stream is None:
            return
        stream.received = True
        if stream.opened:
            events = stream.events
            if events is not None:
                events.on_request_end(None)
            if stream.answered and self.current is stream:
                self.advance()

    # --- order -------------------------------------------------------------------------------------------------------
    cdef open(self, Http1Stream stream):
        cdef list backlog = stream.backlog
        self.current = stream
        stream.opened = True
        if not stream.received:
            self.resume_reading()       # behind another it waited with a part of its body, and the rest is still to come
        self.let_go(stream)
        stream.started_ns = monotonic_ns()
        stream.events = self.acceptor.open(stream, stream.head)
        if backlog is not None:
            for data in backlog:
                events = stream.events
                if events is not None:
                    events.on_request_data(<bytes>data)
        events = stream.events
        if stream.received and events is not None:
            events.on_request_end(None)

    cdef let_go(self, Http1Stream stream):
        """Its backlog is no longer held here."""
        self.acceptor.hold(-stream.holding)
        stream.holding = 0
        stream.backlog = None

    cdef void advance(self):
        """The current answer is complete: close, or turn to the next request."""
        cdef Http1Stream stream = self.current
        if stream is None or not stream.answered or self.gone:
            return
        if not stream.received:
            # An early answer. The client is still sending: whatever follows could be body or request, so nothing more
            # is read as a request.
            self.current = None
            self.linger()
            return
        self.current = None
        if stream.closes_connection:
            if self.poisoned or self.waiting:
                self.linger()
            else:
                self.shut()
            return
        self.since_ns = monotonic_ns()
        self.proceed()

    cdef void proceed(self):
        """Turn to the next request; but who does not read what was answered is not answered more."""
        if self.write_paused:
            if not self.waiting:
                self.pause_reading()
        elif self.waiting:
            self.open(<Http1Stream>self.waiting.pop(0))
        elif self.poisoned:
            self.answer_fault()
        else:
            if self.acceptor.draining:
                self.shut()
                return
            self.resume_reading()
            if self.after is not None:
                after = self.after
                self.after = None
                if after:
                    self.take(after)

    cdef switch(self):
        """The service took the upgrade: hand over what has waited, and from now on bytes as they come."""
        cdef Http1Stream stream = self.current
        cdef bytes after = self.after
        cdef ServerEvents events
        self.raw = True
        self.after = None
        held = stream.held
        stream.held = None
        self.write(held)
        self.resume_reading()
        events = stream.events
        if after and events is not None:
            events.on_request_data(after)

    cdef poison(self, int status, str reason):
        """Nothing that follows on this connection can be trusted."""
        cdef Http1Stream stream = self.current
        if self.poisoned:
            return
        self.poisoned = True
        self.fault_status = status
        self.fault = reason
        add64(self.acceptor.counters.malformed, 1)
        if stream is not None and stream is self.incoming and not stream.received:
            # the body of the running exchange is broken: it cannot be completed
            self.current = None
            self.incoming = None
            if stream.headed or stream.answered:
                if stream.events is not None:
                    events = stream.events
                    stream.events = None
                    stream.answered = True
                    events.on_client_gone()
                self.shut()
                return
            stream.answered = True
            if stream.events is not None:
                events = stream.events
                stream.events = None
                events.on_client_gone()
        elif self.incoming is not None and self.waiting and self.waiting[-1] is self.incoming:
            self.let_go(<Http1Stream>self.waiting.pop())
        self.incoming = None

    cdef answer_fault(self):
        if self.gone or self.ending:
            return
        self.write(self.acceptor.refusal(self.fault_status, self.fault))
        self.linger()

    cdef linger(self):
        """Answer sent, connection ending: read and drop for a moment so that the answer arrives."""
        self.lingering = True
        self.ending = True
        if self.transport is None:
            return
        self.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.since_ns = monotonic_ns()
        self.acceptor.coarse.disarm(self.watch)
        self.acceptor.coarse.arm(self.watch, self.since_ns + LINGER_NS)

    cdef rearm(self, uint64_t now_ns):
        cdef uint64_t period = min(self.acceptor.header_timeout_ns, self.acceptor.client_idle_ns) // 4
        if period > 2 * SECOND:
            period = 2 * SECOND
        self.acceptor.coarse.arm(self.watch, now_ns + period)

    cdef check_deadlines(self, uint64_t now_ns):
        """Which wait is this connection in, and has it been too long?"""
        cdef uint64_t waited = now_ns - self.since_ns if now_ns > self.since_ns else 0
        if self.transport is None:
            return
        if self.ending:
            # what is written may take its time while the client reads; what still comes is dropped
            if self.reads():
                self.since_ns = now_ns
            elif waited > self.acceptor.client_idle_ns:
                self.abort()
                return
            if self.lingering and not self.left:
                self.lingering = False
                self.shut()
            self.rearm(now_ns)
            return
        if self.write_paused:
            if self.reads():
                self.paused_ns = now_ns
            elif now_ns > self.paused_ns + self.acceptor.client_idle_ns:
                self.abort()
                return
        if self.in_head and not self.read_paused and waited > self.acceptor.header_timeout_ns:
            self.poison(408, "the request head did not come in time")
        elif (
            self.incoming is not None and not self.read_paused and not self.incoming.awaits_continue
            and waited > self.acceptor.client_idle_ns
        ):
            self.poison(408, "the request body stopped coming")
        elif (
            self.incoming is not None and self.incoming.body_buffered
            and now_ns > self.incoming.started_ns + self.acceptor.body_timeout_ns
        ):
            self.poison(408, "the request body did not come in time")
        elif self.current is None and not self.in_head and waited > self.acceptor.idle_ns:
            self.shut()
        if self.poisoned and self.current is None and not self.waiting:
            self.answer_fault()
        if self.watch is not None and not self.lingering:
            self.rearm(now_ns)

    cdef bint reads(self):
        """Has the client taken some of what is written since this was last asked?"""
        cdef Py_ssize_t before = self.left
        self.left = unacked_bytes(self.transport)
        return self.left < before

    cdef void write(self, bytes data):
        if self.transport is not None:
            add64(self.acceptor.counters.bytes_out, PyBytes_GET_SIZE(data))
            self.transport.write(data)

    cdef void shut(self):
        self.ending = True
        if self.transport is not None:
            self.since_ns = monotonic_ns()
            self.transport.close()

    cdef abort(self):
        if self.transport is not None:
            self.transport.abort()

    cdef pause_reading(self):
        if not self.read_paused and self.transport is not None:
            self.read_paused = True
            self.transport.pause_reading()

    cdef resume_reading(self):
        if self.read_paused and self.transport is not None:
            self.read_paused = False
            self.since_ns = monotonic_ns()
            self.transport.resume_reading()

    def kill(self):
        """The data plane stops: end this connection now, whatever runs on it."""
        self.abort()

    def retire(self):
        """The data plane drains: close now when nothing runs; otherwise the running answer is the last."""
        if self.current is None and self.incoming is None and not self.in_head:
            self.shut()
