"""Drives an upstream's HTTP/1.1 connection, which carries one exchange at a time for its pool.

After any framing error the connection carries no other request, to prevent response splitting."""

from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from native.io.clock cimport monotonic_ns
from native.codec.field_rules cimport field_value
from native.codec.head cimport UNKNOWN_LENGTH, Head
from native.codec.head_writer cimport FRAME_CHUNKED, FRAME_LENGTH, FRAME_NONE, write_request_head
from native.http.connection_pool cimport ConnectionPool, PooledConnection
from native.http.http1_response_parser cimport ResponseEvents, ResponseParser
from native.http.http1_writer cimport MessageWriter
from native.http.stream cimport FAILED_MALFORMED, FAILED_RESET, FAILED_TRUNCATED, ClientEvents
from native.io.stream_socket cimport DETACHED, SocketEvents, StreamSocket

# The rest of an unwanted response is read up to this size to keep the connection.
cdef Py_ssize_t DISCARD_LIMIT = 65536


# A method of ``events`` may clear the attribute that it was called through. Every such call goes through a local
# variable, which keeps the object alive until the call returns.


cdef class Http1Client


cdef class ReceivedResponse(ResponseEvents):
    """Passes the parts of each response to the connection, which is a ClientStream itself."""

    cdef Http1Client connection

    cdef bint awaits_response(self):
        return self.connection.busy

    cdef int on_interim_head(self, int status) except -1:
        cdef ClientEvents events = self.connection.events
        if events is not None:
            events.on_interim(status)

    cdef int on_response_head(self, Head head) except -1:
        self.connection.take_head(head)

    cdef int on_body_data(self, bytes data) except -1:
        self.connection.take_data(data)

    cdef int on_complete(self) except -1:
        self.connection.finish()


cdef class Http1ClientSocket(SocketEvents):
    """Passes the socket's events to the connection, which is the pool's PooledConnection itself."""

    cdef Http1Client connection

    cdef int on_open(self, StreamSocket socket) except -1:
        self.connection.on_open(socket)

    cdef int on_bytes(self, const char* data, Py_ssize_t size) except -1:
        self.connection.on_bytes(data, size)

    cdef int on_eof(self, bint truncated) except -1:
        self.connection.on_eof(truncated)

    cdef int on_lost(self, str reason) except -1:
        self.connection.on_lost(reason)

    cdef int on_write_paused(self) except -1:
        self.connection.on_write_paused()

    cdef int on_write_resumed(self) except -1:
        self.connection.on_write_resumed()

    cdef int on_deferred(self) except -1:
        return 0


cdef class Http1Client(PooledConnection):
    """One upstream connection.

    Args:
        home: the pool that opened the connection.
        header_bytes, header_count: limits on a response's head.
    """

    cdef StreamSocket socket
    cdef MessageWriter writer
    cdef ResponseParser parser
    cdef bint alive
    cdef bint busy                  # the connection carries an exchange
    cdef bint sent                  # the request is complete
    cdef bint heard                 # some of the response has come
    cdef bint until_close           # the response ends where the connection does
    cdef bint unusable              # the connection carries no other exchange
    cdef bint discarding            # the rest of the response is read and dropped
    cdef bint feeding               # the parser is running
    cdef bint finished              # the exchange ended while the parser ran; the connection is released after it
    cdef bint closing               # close() was called: the socket flushes its queue, or is aborted
    cdef Py_ssize_t discard_left

    def __init__(self, ConnectionPool home, Py_ssize_t header_bytes, int header_count):
        cdef ReceivedResponse received = ReceivedResponse.__new__(ReceivedResponse)
        received.connection = self
        self.home = home
        self.socket = DETACHED
        self.writer = MessageWriter.__new__(MessageWriter)
        self.writer.socket = self.socket
        self.parser = ResponseParser(received, header_bytes, header_count)

    def socket_events(self):
        """Return the object that receives the socket's events."""
        cdef Http1ClientSocket events = Http1ClientSocket.__new__(Http1ClientSocket)
        events.connection = self
        return events

    cdef int on_open(self, StreamSocket socket) except -1:
        """Offer the connection to the pool: connect and TLS handshake are complete."""
        self.socket = socket
        self.writer.socket = socket
        self.alive = True
        self.home.ready(self)

    cdef int on_lost(self, str reason) except -1:
        """End the response, complete or not: the connection is lost."""
        cdef bint was_open = self.alive
        self.alive = False
        self.end_response(False, reason)
        self.parser.close()
        self.home.lost(self, was_open)

    cdef int on_eof(self, bint truncated) except -1:
        """Close: the upstream closed its side, so the connection carries no other request."""
        self.unusable = True
        self.end_response(not truncated, "it ended TLS without close_notify" if truncated else None)
        self.close()

    cdef int end_response(self, bint is_orderly, str cause) except -1:
        """End the response that is being read. Only an orderly end of the connection can complete the response."""
        if not self.busy:
            return 0
        if self.parser.in_response and (self.parser.tunnel or self.until_close) and is_orderly:
            self.unusable = True
            self.finish()
        elif self.parser.in_response:
            self.fail(FAILED_TRUNCATED, "the upstream closed the connection in the middle of its answer")
        else:
            reason = "" if cause is None else f" ({cause})"
            # A connection that has been used before may have died while it was idle, and others with it.
            self.connection_ended = self.reused and not self.heard
            if self.connection_ended:
                self.home.recheck_idle()
            self.fail(FAILED_RESET, f"the upstream closed the connection before answering{reason}")

    cdef int on_write_paused(self) except -1:
        """Pause the client: the upstream reads too slowly."""
        cdef ClientEvents events = self.events
        if events is not None:
            events.on_upstream_congested()

    cdef int on_write_resumed(self) except -1:
        """Resume the client: the upstream reads again."""
        cdef ClientEvents events = self.events
        if events is not None:
            events.on_upstream_drained()

    cdef int on_bytes(self, const char* data, Py_ssize_t size) except -1:
        """Feed the parser; any fault ends the connection and the response on it."""
        if not self.busy:
            # a response without a request: the connection is out of step and must not be used again
            self.unusable = True
            self.close()
            return 0
        if self.parser.tunnel:
            self.take_data(data[:size])
            return 0
        self.feeding = True
        self.heard = True
        try:
            refusal = self.parser.feed(data, size)
        finally:
            self.feeding = False
        if refusal is not None:
            self.fail(FAILED_MALFORMED, refusal)
        if self.finished:
            self.finished = False
            self.give_back()

    # --- the response ------------------------------------------------------------------------------------------------
    cdef int take_head(self, Head head) except -1:
        cdef ClientEvents events = self.events
        self.until_close = head.until_close
        if not head.keep_alive:
            self.unusable = True
        if events is not None:
            events.on_head(head)

    cdef int take_data(self, bytes data) except -1:
        cdef ClientEvents events = self.events
        if self.discarding and not self.parser.tunnel:
            self.discard_left -= PyBytes_GET_SIZE(data)
            if self.discard_left < 0:
                self.drop()
        elif events is not None:
            events.on_data(data)

    cdef int finish(self) except -1:
        """End the exchange: its response is complete.

        The connection is released after the parser has consumed the current read. Further data in the same read is a
        response without a request, and must not be taken for the next request's response."""
        cdef ClientEvents events = self.events
        cdef bint tunnel = self.parser.tunnel
        self.busy = False
        self.parser.in_response = False
        self.events = None
        if not tunnel and (not self.sent or self.socket.write_paused):
            self.drop()     # the rest of the request is not needed, and a close that waits for it might never complete
        elif self.unusable or not self.alive or tunnel:
            self.close()
        elif self.feeding:
            self.finished = True
        else:
            self.give_back()
        if events is not None:
            events.on_end(None)

    cdef give_back(self):
        self.discarding = False
        self.reused = True
        if self.alive and not self.unusable:
            self.resume()       # the read that ended the response may have paused reading
            self.home.release(self)

    cdef int fail(self, int failure, str detail) except -1:
        cdef ClientEvents events = self.events
        self.busy = False
        self.events = None
        self.drop()
        if events is not None:
            events.on_failed(failure, detail)

    # --- what the pool and an attempt ask for ------------------------------------------------------------------------
    cdef int assign(self, ClientEvents events) except -1:
        self.events = events
        self.busy = True
        self.discarding = False
        self.sent = False
        self.heard = False
        self.connection_ended = False
        self.until_close = False
        self.parser.begin()
        self.writer.begin(None, False)

    cdef bint is_reusable(self):
        return self.alive and not self.busy and not self.unusable and self.socket.is_open()

    cdef bint is_silent(self):
        return self.socket.is_silent()

    cdef bint is_draining(self):
        return self.alive and (self.closing or self.discarding and self.busy)

    cdef int send_request(self, bytes method, bytes target, bytes authority, list fields, int64_t length) except -1:
        cdef int framing = FRAME_LENGTH if length >= 0 else FRAME_CHUNKED if length == UNKNOWN_LENGTH else FRAME_NONE
        self.parser.to_head = method == b"HEAD"
        self.parser.upgrade_requested = field_value(fields, b"upgrade") is not None
        self.writer.begin(
            write_request_head(method, target, authority, fields, framing, length), framing == <int>FRAME_CHUNKED
        )

    cdef int send_data(self, bytes data) except -1:
        self.writer.write(data)

    cdef int send_end(self, list trailers) except -1:
        self.sent = True
        self.writer.end(trailers)

    cdef int cancel(self) except -1:
        """Close the connection, the only way to cancel in HTTP/1.1. The data of a tunnel's client is flushed first."""
        self.events = None
        self.busy = False
        if self.parser.tunnel and not self.closing:
            self.close()
        else:
            self.drop()

    cdef int discard(self) except -1:
        self.events = None
        if self.parser.in_response and self.sent and not self.unusable:
            self.discarding = True
            self.cut_ns = monotonic_ns() + self.home.drain_limit_ns
            self.home.draining_connections.append(self)
            self.discard_left = DISCARD_LIMIT
            self.resume()
        else:
            self.cancel()

    cdef drop(self):
        self.discarding = False
        self.unusable = True
        self.socket.abort()

    cdef int close(self) except -1:
        self.unusable = True
        if self.socket.fd < 0 or self.closing:
            return 0
        self.closing = True
        self.socket.close()
        self.cut_ns = monotonic_ns() + (self.home.tail_ns if self.parser.tunnel else self.home.drain_limit_ns)
        self.home.draining_connections.append(self)

    cdef int pause(self) except -1:
        if self.alive:
            self.socket.pause_reading()

    cdef int resume(self) except -1:
        if self.alive:
            self.socket.resume_reading()

    cdef bint congested(self):
        return self.socket.write_paused

    cdef Py_ssize_t unsent(self):
        return self.socket.count_pending()

    cdef uint64_t heard_ns(self):
        return 0
