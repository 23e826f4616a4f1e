"""How does an upstream's HTTP/1.1 connection look on the wire?  A uvloop protocol that belongs to a pool.

Any doubt about framing ends the connection: nothing is asked on it again (resilience: response splitting)."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t
from native.io.clock cimport monotonic_ns
from native.codec.field_rules cimport field_value
from native.codec.head_reader cimport HeadReader
from native.codec.head_writer cimport frame_chunk, last_chunk, write_head
from native.codec.numbers cimport decimal
from native.codec.response_head cimport take_response
from native.http.connection_pool cimport ConnectionPool, PooledConnection
from native.codec.head cimport UNKNOWN_LENGTH, Head
from native.http.stream cimport FAILED_MALFORMED, FAILED_RESET, FAILED_TRUNCATED, ClientEvents, pending_bytes

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

# A head that has not ended by then never will.
cdef Py_ssize_t HEAD_SLACK = 16384
# A body up to here shares one write with its head: each write is a system call, and a copy is much cheaper.
cdef Py_ssize_t JOIN_LIMIT = 32768
# Above this many unsent bytes the client is asked to wait.
cdef Py_ssize_t WRITE_HIGH = 65536
# Interim answers before the final one: more than this is no progress.
cdef int INTERIM_LIMIT = 16
# The rest of an answer that nobody wants is read up to here to keep the connection.
cdef Py_ssize_t DISCARD_LIMIT = 65536


class RefusedError(Exception):
    """Raised inside a parser callback to stop the parser; the reason stands on the reader."""


# An object that is called may let go of the reference it was called through: every call to events goes through a local
# variable, which keeps it alive until the call is over.


cdef class Http1Client(PooledConnection):
    """The protocol object of one upstream connection.

    Args:
        home: the pool that asked for it.
        header_bytes, header_count: bounds on an answer's head.
    """

    cdef object transport, parser
    cdef HeadReader reader
    cdef Head head
    cdef bint upgrading, raw
    cdef bint alive, busy, in_answer, bodiless, sent, chunked, doubt, write_paused, read_paused, discarding, feeding
    cdef bint finished
    cdef bint closing               # told to close: it ends when the upstream has taken what was written, if it ever does
    cdef int interims
    cdef Py_ssize_t head_bytes      # that have come and are neither a body's nor of a head that is complete
    cdef Py_ssize_t discard_left
    cdef bytes held                 # the request's head, waiting to share a write with its first bytes

    def __init__(self, ConnectionPool home, Py_ssize_t header_bytes, int header_count):
        self.home = home
        self.reader = HeadReader(header_bytes, header_count)
        self.parser = HttpResponseParser(self)

    def connection_made(self, transport):
        """The connection stands (TLS included): offer it to the pool."""
        self.transport = transport
        self.alive = True
        transport.set_write_buffer_limits(high=WRITE_HIGH)
        self.home.ready(self)

    def connection_lost(self, exc):
        """The upstream is gone: the answer ends here, rightly or not."""
        was_open = self.alive
        self.alive = False
        self._ended(exc)
        self.transport = None
        self.parser = None
        self.home.lost(self, was_open)

    def eof_received(self):
        """The upstream closed its side; nothing more can be asked on this connection."""
        self.doubt = True
        self._ended(None)
        self.close()
        return False

    def _ended(self, exc):
        if not self.busy:
            return
        if self.in_answer and (self.raw or self.head.until_close) and exc is None:
            self.doubt = True
            self.finish(None)
        elif self.in_answer:
            self.fail(FAILED_TRUNCATED, "the upstream closed the connection in the middle of its answer")
        else:
            reason = "" if exc is None else f" ({type(exc).__name__})"
            self.fail(FAILED_RESET, f"the upstream closed the connection before answering{reason}")

    def pause_writing(self):
        """The upstream does not read: stop the client too."""
        self.write_paused = True
        events = self.events
        if events is not None:
            events.on_upstream_congested()

    def resume_writing(self):
        """The upstream reads again."""
        self.write_paused = False
        events = self.events
        if events is not None:
            events.on_upstream_drained()

    def data_received(self, bytes data):
        """Feed the parser; any fault ends the connection and the answer on it."""
        cdef ClientEvents events
        if not self.busy:
            # an answer nobody asked for: out of step, never to be used again
            self.doubt = True
            self.close()
            return
        if self.raw:
            events = self.events
            if events is not None:
                events.on_data(data)
            return
        self.head_bytes += PyBytes_GET_SIZE(data)
        self.feeding = True
        try:
            self.parser.feed_data(data)
        except HttpParserCallbackError as error:
            if self.reader.fault is None:
                raise error.__context__ if error.__context__ is not None else error
            self.fail(FAILED_MALFORMED, f"the upstream's answer was refused: {self.reader.fault}")
        except HttpParserUpgrade as upgrade:
            if self.raw:
                rest = data[upgrade.args[0]:]
                events = self.events
                if rest and events is not None:
                    events.on_data(rest)
                return
            self.fail(FAILED_MALFORMED, "the upstream switched protocols without being asked")
        except HttpParserError as error:
            self.fail(FAILED_MALFORMED, f"the upstream does not speak HTTP/1.1: {error}")
        finally:
            self.feeding = False
        if self.busy and self.head_bytes > self.reader.size_limit + HEAD_SLACK:
            what = "trailers" if self.in_answer else "a head"
            self.fail(FAILED_MALFORMED, f"the upstream's answer has {what} without end")
        if self.finished:
            self.finished = False
            self.give_back()

    # --- httptools callbacks -----------------------------------------------------------------------------------------
    def on_message_begin(self):
        if not self.busy:
            self.reader.refuse(502, "an answer too many")
            raise RefusedError

    def on_header(self, bytes name, bytes value):
        if self.in_answer:
            return      # trailers end here
        if self.reader.add(name, value) < 0:
            raise RefusedError

    def on_headers_complete(self):
        cdef int status = self.parser.get_status_code()
        cdef Head head = take_response(self.reader, status, self.reader.version(self.parser))
        if head is None:
            raise RefusedError
        self.head_bytes = 0
        if status == 101 and not (self.upgrading and head.upgrades):
            self.reader.refuse(502, "101 without being asked")
            raise RefusedError
        if status < 200 and status != 101:
            self.interims += 1
            if self.interims > INTERIM_LIMIT:
                self.reader.refuse(502, "interim answers without a final one")
                raise RefusedError
            events = self.events
            if events is not None:
                events.on_interim(status)
            return
        self.head = head
        self.in_answer = True
        self.raw = status == 101
        if not head.keep_alive:
            self.doubt = True
        events = self.events
        if events is not None:
            events.on_head(head)
        if self.bodiless and self.busy:
            # the parser would wait for the body that an answer to HEAD never has: it is replaced; bytes that still
            # come in this read reach on_body without an answer and end the connection
            self.parser = HttpResponseParser(self)
            self.finish(None)

    def on_body(self, bytes data):
        if not self.in_answer:
            self.reader.refuse(502, "a body where none belongs")
            raise RefusedError
        self.head_bytes = 0
        if self.discarding:
            self.discard_left -= PyBytes_GET_SIZE(data)
            if self.discard_left < 0:
                self.drop()
            return
        events = self.events
        if events is not None:
            events.on_data(data)

    def on_message_complete(self):
        if self.in_answer and not self.raw:      # else the end of an interim answer, or the beginning of a tunnel
            self.finish(None)

    # --- the exchange on this connection -----------------------------------------------------------------------------
    cdef void assign(self, ClientEvents events):
        self.events = events
        self.busy = True
        self.interims = 0
        self.head_bytes = 0
        self.in_answer = False
        self.discarding = False
        self.sent = False
        self.head = None
        self.held = None

    cdef bint is_reusable(self):
        return self.alive and not self.busy and not self.doubt and not self.transport.is_closing()

    cdef bint is_draining(self):
        return self.alive and (self.closing or self.discarding and self.busy)

    cdef void send_request(self, bytes method, bytes target, bytes authority, list fields, int64_t length):
        cdef bytes line = method + b" " + target + b" HTTP/1.1\r\nhost: " + authority + b"\r\n"
        cdef bytes framing = b""
        self.bodiless = method == b"HEAD"
        self.upgrading = field_value(fields, b"upgrade") is not None
        self.chunked = False
        if length >= 0:
            framing = b"content-length: " + decimal(length) + b"\r\n"
        elif length == UNKNOWN_LENGTH:
            framing = b"transfer-encoding: chunked\r\n"
            self.chunked = True
        self.held = write_head(line, fields, framing)

    cdef void send_data(self, bytes data):
        cdef bytes held = self.held
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        self.held = None
        if self.transport is None:
            return
        if held is not None and (size == 0 or size > JOIN_LIMIT):
            self.transport.write(held)
            held = None
        if size == 0:
            return
        if self.chunked:
            self.transport.write(frame_chunk(held, data))
        else:
            self.transport.write(data if held is None else held + data)

    cdef void send_end(self, list trailers):
        cdef bytes held = self.held
        self.sent = True
        self.held = None
        if self.transport is None:
            return
        if self.chunked:
            end = last_chunk(trailers)
            self.transport.write(end if held is None else held + end)
        elif held is not None:
            self.transport.write(held)

    cdef void finish(self, list trailers):
        """The answer is complete. The connection goes back when the read that ended it is used up: what follows in the
        same read is an answer nobody asked for, and must never meet the next request."""
        cdef ClientEvents events = self.events
        self.busy = False
        self.in_answer = False
        self.events = None
        if not self.raw and (not self.sent or self.write_paused):
            self.drop()     # of its request nothing is wanted any more: an end that waits for it may never come
        elif self.doubt or not self.alive or self.raw:
            self.close()
        elif self.feeding:
            self.finished = True
        else:
            self.give_back()
        if events is not None:
            events.on_end(trailers)

    cdef give_back(self):
        self.discarding = False
        self.reused = True
        if self.alive and not self.doubt:
            self.resume()       # the answer's end may have come in the read that its client was too slow for
            self.home.release(self)

    cdef void fail(self, int failure, str detail):
        cdef ClientEvents events = self.events
        self.doubt = True
        self.busy = False
        self.events = None
        self.drop()
        if events is not None:
            events.on_failed(failure, detail)

    cdef void cancel(self):
        """The client left: say so to the upstream at once by closing; HTTP/1.1 has no other word for it. What the client
        of a tunnel said before it left goes first."""
        self.events = None
        self.busy = False
        self.doubt = True
        if self.raw and not self.closing:
            self.close()
        else:
            self.drop()

    cdef void discard(self):
        self.events = None
        if self.in_answer and self.sent and not self.doubt:
            self.discarding = True
            self.cut_ns = monotonic_ns() + self.home.drain_limit_ns
            self.home.draining_connections.append(self)
            self.discard_left = DISCARD_LIMIT
            self.resume()
        else:
            self.cancel()

    cdef drop(self):
        self.discarding = False
        self.doubt = True
        if self.transport is not None:
            self.transport.abort()

    cdef void close(self):
        self.doubt = True
        if self.transport is None or self.closing:
            return
        self.closing = True
        self.transport.close()
        self.cut_ns = monotonic_ns() + (self.home.tail_ns if self.raw else self.home.drain_limit_ns)
        self.home.draining_connections.append(self)

    cdef void pause(self):
        if not self.read_paused and self.transport is not None and self.alive:
            self.read_paused = True
            self.transport.pause_reading()

    cdef void resume(self):
        if self.read_paused and self.transport is not None and self.alive:
            self.read_paused = False
            self.transport.resume_reading()

    cdef bint congested(self):
        return self.write_paused

    cdef Py_ssize_t unsent(self):
        return 0 if self.transport is None else pending_bytes(self.transport)
