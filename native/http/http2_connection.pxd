"""Drives one libnghttp2 session over a socket, for both ends of an HTTP/2 connection.

The peer's bytes are fed to the session. The session's output is written at most once per iteration of the event loop.
Flow control is end to end: the connection's window is replenished as bytes arrive, a stream's window only as the other
side of the exchange takes the bytes (RFC 9113 5.2)."""

from libc.stdint cimport int32_t, uint32_t, uint64_t
from native.http.http2_block_reader cimport BlockReader
from native.http.http2_field_writer cimport FieldWriter
from native.http.http2_guard cimport Guard
from native.http.http2_outbox cimport Outbox
from native.http.http2_stream_table cimport StreamTable
from native.http.nghttp2 cimport nghttp2_data_provider, nghttp2_session
from native.io.stream_socket cimport SocketEvents, StreamSocket

cdef enum:
    # The window of a stream limits the memory that a stopped reader can occupy. The window of a connection is large
    # enough for many streams.
    STREAM_WINDOW = 65536
    CONNECTION_WINDOW = 1048576
    # Concurrent streams per connection in each direction (RFC 9113 6.5.2 recommends at least 100).
    MAX_STREAMS = 100

cdef class Http2Connection(SocketEvents):
    """One HTTP/2 connection. A subclass overrides every on_*; tests/native/test_contract.py checks it."""
    cdef nghttp2_session* session
    cdef StreamSocket socket
    cdef StreamTable table          # the session borrows the queues of these streams
    cdef FieldWriter fields
    cdef BlockReader reader
    cdef Guard guard
    cdef bint in_session            # a call of the session is running: frames submitted now are pumped after it
    cdef bint read_closed           # the connection is broken or refused: nothing more is read
    cdef bint winding_down          # the peer may open no more streams; those that are open finish
    cdef bint closed                # on_finished has been called
    cdef str close_reason           # why the connection is read_closed; None = no fault
    cdef uint64_t now_ns            # the time of the current turn
    cdef uint64_t received_ns       # when the last bytes were received
    cdef uint64_t reader_ns         # when writing was paused, or when the peer was last seen to read after that
    cdef uint64_t pinged_ns         # when the unanswered ping was sent; 0 = no ping is pending
    cdef list drained_streams       # streams whose queue fell below the low mark in this pump
    cdef open_session(self, bint server, Py_ssize_t header_bytes, int header_count)
    cdef close_session(self)
    cdef int receive(self, const char* data, Py_ssize_t size) except -1
    cdef int schedule(self) except -1                            # pump once, after the other work of this turn
    cdef pump(self)
    cdef _send(self)
    cdef int reject(self, str reason, uint32_t code) except -1   # GOAWAY with this error; nothing more is read
    cdef int reject_flood(self, str reason) except -1            # GOAWAY with ENHANCE_YOUR_CALM
    # GOAWAY with ENHANCE_YOUR_CALM and the last stream, after which the open streams finish (RFC 9113 6.8).
    cdef int wind_down(self) except -1
    cdef int ping(self) except -1                                # send a ping unless one is pending; on_pong follows
    cdef int reset(self, int32_t stream, uint32_t code) except -1
    cdef int resume_sending(self, int32_t stream, Outbox out) except -1      # the outbox has more data, or its end
    cdef int consumed(self, int32_t stream, Py_ssize_t size) except -1       # the peer may send ``size`` more bytes
    cdef int on_block(self, int32_t stream, int category) except -1     # returns a Block
    cdef on_head(self, int32_t stream, bint ended)
    cdef on_trailers(self, int32_t stream, list trailers)
    cdef on_chunk(self, int32_t stream, bytes data)
    cdef on_ended(self, int32_t stream)
    cdef on_closed(self, int32_t stream, uint32_t code)
    cdef on_reset(self, int32_t stream)                     # by the peer
    cdef on_sent(self, int32_t stream, bint ended)          # a frame of the stream's message was sent
    cdef on_drained(self, int32_t stream)
    cdef on_pong(self)
    cdef on_goaway(self, uint32_t code, int32_t last)
    cdef on_settings(self)
    cdef on_finished(self)                                  # read_closed, or both sides have sent GOAWAY

cdef nghttp2_data_provider provide(Outbox out)              # borrows ``out``, which the stream keeps alive
