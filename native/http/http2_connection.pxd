"""What do both ends of an HTTP/2 connection have in common?  One libnghttp2 session, a pump, and queues per stream.

A wire feeds the session what its peer sends and writes what the session has to say: at most one write per turn of the
loop. Flow control is end to end: the connection's window is given back as bytes come, a stream's only as the other side of
the exchange takes them (RFC 9113 5.2)."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from native.codec.head_reader cimport HeadReader
from native.http.http2_guard cimport Guard
from native.http.nghttp2 cimport nghttp2_data_provider, nghttp2_frame, nghttp2_nv, nghttp2_rcbuf, nghttp2_session

cdef enum:
    # The window of one stream: what a reader that has stopped may cost. Of a connection: enough for many of them.
    STREAM_WINDOW = 65536
    CONNECTION_WINDOW = 1048576
    # Streams at once on one connection, ours and theirs (RFC 9113 6.5.2 advises no less).
    MAX_STREAMS = 100
    # Bytes queued for one stream: above the first its source is asked to wait, below the second to go on.
    QUEUE_HIGH = 65536
    QUEUE_LOW = 16384
    # Fields remembered for each connection (64: their hash has six bits), the most bytes of one of them, and how many
    # slots are tried for one.
    KNOWN = 64
    KNOWN_BYTES = 256
    TRIES = 4
    # Streams found without a dict: a power of two above MAX_STREAMS, so that those of a row have each its own place.
    PLACES = 128

cdef enum Block:                # what the header block that is coming in is
    UNWANTED = 0
    HEAD = 1
    TRAILERS = 2

cdef class Outbox:
    """What one stream still has to send. Bytes objects are kept, not copied, until they are framed."""
    cdef bytes first                # what goes next, from ``offset`` on; None = nothing is queued
    cdef Py_ssize_t offset
    cdef list more                  # what stands behind it, from ``at`` on; None = nothing ever did
    cdef Py_ssize_t at
    cdef readonly Py_ssize_t queued
    cdef list trailers
    cdef uint64_t moved_ns          # when bytes last went out
    cdef bint deferred              # the session waits to be told that there is more
    cdef bint ended                 # nothing is added any more
    cdef bint cutting               # what is queued goes, then a reset
    cdef bint congested             # its source has been asked to wait
    cdef bint finished              # END_STREAM has been sent
    cdef void push(self, bytes data)
    cdef Py_ssize_t pull(self, uint8_t* out, Py_ssize_t size)
    cdef advance(self)
    cdef void clear(self)

cdef class Http2Wire:
    cdef nghttp2_session* session
    cdef object transport, loop, flush
    # Streams, as long as the session knows them: it borrows their queues. Each stands in the place that its id gives, or
    # where that is taken by an older one, in the dict. Changed by ``add_stream`` and ``remove_stream`` alone.
    cdef list places
    cdef int32_t placed[PLACES]     # their ids; 0 = the place is free
    cdef dict elsewhere             # by id
    cdef int listed                 # how many there are
    cdef list pinned                # what the session borrows until it has written it: the fields of heads and trailers
    cdef int spoken                 # a bit per name that is new in each message and has been said here before
    cdef Guard guard
    cdef HeadReader reader
    cdef object error               # the first exception in a callback
    cdef bint busy                  # inside the session: what is submitted now is pumped at the end
    cdef bint scheduled             # a pump is on its way
    cdef bint write_paused
    cdef bint read_closed                  # broken or refused: nothing more is read
    cdef bint closed                  # and everybody has been told
    cdef str reason                 # why it is read_closed
    cdef uint64_t now_ns            # of the present turn
    cdef uint64_t heard_ns          # when anything last came
    cdef uint64_t paused_ns         # when writing was paused
    cdef uint64_t pinged_ns         # when the unanswered ping went out; 0 = none
    cdef list drained               # streams whose queue fell below the low mark in this pump
    # the header block that is coming in
    cdef int block
    cdef int32_t block_stream
    cdef Py_ssize_t decoded, decoded_limit
    # Fields that came before: the decompressor's own buffers, held so that the same address is the same text, and what
    # was made of them (the value of a pseudo-header field; what HeadReader.add_known takes of the others).
    cdef nghttp2_rcbuf* names[KNOWN]
    cdef nghttp2_rcbuf* values[KNOWN]
    cdef int kinds[KNOWN]
    cdef bint seen[KNOWN]           # it has come since somebody wanted its slot
    cdef list known
    cdef list cookies
    cdef bytes method, scheme, path, authority
    cdef int status
    cdef open_session(self, bint server, Py_ssize_t header_bytes, int header_count)
    cdef close_session(self)
    cdef void _forget(self)
    cdef add_stream(self, int32_t stream, object item)
    cdef object remove_stream(self, int32_t stream)    # None = it is not there
    cdef list streams(self)                    # a new list, oldest first
    cdef receive(self, bytes data)
    cdef void schedule(self)
    cdef pump(self)
    cdef _send(self)
    cdef write(self, bytes data)
    cdef void reject_flood(self, str reason)            # refuse the peer: GOAWAY with ENHANCE_YOUR_CALM
    cdef void ping(self)
    cdef void reset(self, int32_t stream, uint32_t code)
    cdef void resume_sending(self, int32_t stream, Outbox out)       # there is more to send, or an end
    cdef void consumed(self, int32_t stream, Py_ssize_t size)
    # What a side makes of it: a subclass overrides every on_*; tests/native/test_contract.py checks it.
    cdef int on_block(self, int32_t stream, int category) except -1     # returns a Block
    cdef on_head(self, int32_t stream, bint ended)
    cdef on_trailers(self, int32_t stream, list trailers)
    cdef on_chunk(self, int32_t stream, bytes data)
    cdef on_ended(self, int32_t stream)
    cdef on_closed(self, int32_t stream, uint32_t code)
    cdef on_reset(self, int32_t stream)                     # the peer reset it
    cdef on_sent(self, int32_t stream, bint ended)          # a frame of its message has gone
    cdef on_drained(self, int32_t stream)
    cdef on_pong(self)
    cdef on_goaway(self, uint32_t code, int32_t last)
    cdef on_settings(self)
    cdef on_fallen(self)                                    # closed for reading, or both sides have said goodbye

cdef nghttp2_data_provider provide(Outbox out)              # borrowed: the stream keeps it
# The value is copied; the name is a constant, and is not.
cdef int add_pair(nghttp2_nv* pairs, int at, bytes name, bytes value) except -1
# Names are lower case. The list is pinned: nobody changes it from now on.
cdef int add_fields(Http2Wire wire, nghttp2_nv* pairs, int at, list fields) except -1
cdef nghttp2_nv* scratch_pairs(Py_ssize_t count) except NULL    # valid until the next call

cdef inline object stream_at(Http2Wire wire, int32_t stream):
    """The stream of this number, or None."""
    cdef int place = stream >> 1 & (PLACES - 1)
    if wire.placed[place] == stream:
        return wire.places[place]
    return wire.elsewhere.get(stream) if wire.elsewhere else None
