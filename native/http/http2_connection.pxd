"""Drives one libnghttp2 session over a uvloop transport, for both ends of an HTTP/2 connection.

What the peer sends is fed to the session; what the session has to say is written at most once per turn of the loop. Flow
control is end to end: the connection's window is given back as bytes come, a stream's only as the other side of the
exchange takes them (RFC 9113 5.2)."""

from libc.stdint cimport int32_t, uint32_t, uint64_t
from native.http.http2_block_reader cimport BlockReader
from native.http.http2_field_writer cimport FieldWriter
from native.http.http2_guard cimport Guard
from native.http.http2_outbox cimport Outbox
from native.http.http2_stream_table cimport StreamTable
from native.http.nghttp2 cimport nghttp2_data_provider, nghttp2_session
from native.http.transport cimport Transport

cdef enum:
    # The window of one stream: what a reader that has stopped may cost. Of a connection: enough for many of them.
    STREAM_WINDOW = 65536
    CONNECTION_WINDOW = 1048576
    # Streams at once on one connection, ours and theirs (RFC 9113 6.5.2 advises no less).
    MAX_STREAMS = 100

cdef class Http2Connection:
    """One HTTP/2 connection. A subclass overrides every on_*; tests/native/test_contract.py checks it."""
    cdef nghttp2_session* session
    cdef Transport transport
    cdef object loop, pump_callback
    cdef StreamTable table          # the session borrows the queues of these streams
    cdef FieldWriter fields
    cdef BlockReader reader
    cdef Guard guard
    cdef object callback_error      # the first exception in a callback of the session
    cdef bint in_session            # inside the session: what is submitted now is pumped at the end
    cdef bint pump_scheduled
    cdef bint read_closed           # broken or refused: nothing more is read
    cdef bint closed                # ... and on_finished has been called
    cdef str close_reason           # why it is read_closed
    cdef uint64_t now_ns            # of the present turn
    cdef uint64_t received_ns       # when anything last came
    cdef uint64_t reader_ns         # when writing was paused, or when the peer was last seen to read since
    cdef uint64_t pinged_ns         # when the unanswered ping went out; 0 = none
    cdef list drained_streams       # whose queue fell below the low mark in this pump
    cdef open_session(self, bint server, Py_ssize_t header_bytes, int header_count)
    cdef close_session(self)
    cdef receive(self, bytes data)
    cdef void schedule(self)                            # pump once, after everything in this turn of the loop
    cdef pump(self)
    cdef _send(self)
    cdef void reject_flood(self, str reason)            # GOAWAY with ENHANCE_YOUR_CALM
    cdef void ping(self)                                # on_pong follows, or pinged_ns grows old
    cdef void reset(self, int32_t stream, uint32_t code)
    cdef void resume_sending(self, int32_t stream, Outbox out)       # there is more to send, or an end
    cdef void consumed(self, int32_t stream, Py_ssize_t size)       # the peer may send as many more bytes
    cdef int on_block(self, int32_t stream, int category) except -1     # returns a Block
    cdef on_head(self, int32_t stream, bint ended)
    cdef on_trailers(self, int32_t stream, list trailers)
    cdef on_chunk(self, int32_t stream, bytes data)
    cdef on_ended(self, int32_t stream)
    cdef on_closed(self, int32_t stream, uint32_t code)
    cdef on_reset(self, int32_t stream)                     # by the peer
    cdef on_sent(self, int32_t stream, bint ended)          # a frame of its message has gone
    cdef on_drained(self, int32_t stream)
    cdef on_pong(self)
    cdef on_goaway(self, uint32_t code, int32_t last)
    cdef on_settings(self)
    cdef on_finished(self)                                  # closed for reading, or both sides have sent GOAWAY

cdef nghttp2_data_provider provide(Outbox out)              # borrowed: the stream keeps it
