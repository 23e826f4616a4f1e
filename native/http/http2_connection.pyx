from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset
from native.io.clock cimport monotonic_ns
from native.codec.numbers cimport parse_length
from native.http.nghttp2 cimport *

from asyncio import get_running_loop

# Pings and settings that wait to be acknowledged because the peer does not read: more than this is a flood.
cdef size_t ACKS_LIMIT = 200
# Control frames that wait because the peer does not read.
cdef size_t QUEUE_LIMIT = 2000
# A field section that decodes to this many times the limit is a compression bomb, not a large request.
cdef int BOMB = 4
# RFC 9113 6.5.2: what a field costs beyond its bytes.
cdef Py_ssize_t FIELD_OVERHEAD = 32
# Frames are gathered up to here into one write.
cdef size_t GATHER = 65536
cdef size_t GATHER_SIZE = 65536 + 16384 + 4096

cdef enum Pseudo:
    PATH = -1
    METHOD = -2
    SCHEME = -3
    AUTHORITY = -4
    STATUS = -5

cdef uint8_t* SCRATCH = <uint8_t*>malloc(GATHER_SIZE)
cdef nghttp2_nv* PAIRS = NULL
cdef Py_ssize_t PAIRS_SIZE = 0


cdef nghttp2_nv* scratch_pairs(Py_ssize_t count) except NULL:
    """Room for this many pairs. The session copies the array, so one serves all."""
    global PAIRS, PAIRS_SIZE
    if count > PAIRS_SIZE:
        free(PAIRS)
        PAIRS_SIZE = count + 64
        PAIRS = <nghttp2_nv*>malloc(PAIRS_SIZE * sizeof(nghttp2_nv))
        if PAIRS == NULL:
            PAIRS_SIZE = 0
            raise MemoryError
    return PAIRS


cdef int add_pair(nghttp2_nv* pairs, int at, bytes name, bytes value) except -1:
    pairs[at].name = <uint8_t*>PyBytes_AS_STRING(name)
    pairs[at].namelen = PyBytes_GET_SIZE(name)
    pairs[at].value = <uint8_t*>PyBytes_AS_STRING(value)
    pairs[at].valuelen = PyBytes_GET_SIZE(value)
    pairs[at].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME
    return at + 1


cdef int LEFT_OUT = -1


cdef int peculiar(const char* name, Py_ssize_t size) noexcept:
    """A bit for a name whose value is new in each message, LEFT_OUT for one that has no place here, 0 for all others."""
    # What asks an HTTP/1.1 connection to switch is left out (RFC 9113 8.2.2, 8.6).
    if size == 7:
        return LEFT_OUT if memcmp(name, b"upgrade", 7) == 0 else 0
    if size == 10:
        return LEFT_OUT if memcmp(name, b"connection", 10) == 0 else 0
    if size == 11:
        return 1 if memcmp(name, b"traceparent", 11) == 0 else 0
    if size == 12:
        return 2 if memcmp(name, b"grpc-timeout", 12) == 0 else 0
    if size == 17:
        return 4 if memcmp(name, b"x-edge-request-id", 17) == 0 else 8 if memcmp(name, b"x-request-timeout", 17) == 0 else 0
    if size < 24 or memcmp(name, b"x-ratelimit-re", 14) != 0:
        return 0
    if size == 30:
        return 16 if memcmp(name, b"x-ratelimit-remaining-requests", 30) == 0 else 0
    if size == 28:
        return 32 if memcmp(name, b"x-ratelimit-remaining-tokens", 28) == 0 else 0
    if size == 26:
        return 64 if memcmp(name, b"x-ratelimit-reset-requests", 26) == 0 else 0
    return 128 if size == 24 and memcmp(name, b"x-ratelimit-reset-tokens", 24) == 0 else 0


cdef int add_fields(Http2Wire wire, nghttp2_nv* pairs, int at, list fields) except -1:
    cdef tuple pair
    cdef bytes name
    cdef bytes value
    cdef int bit
    for item in fields:
        pair = <tuple>item
        name = <bytes?>pair[0]
        value = <bytes?>pair[1]
        bit = peculiar(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        if bit == LEFT_OUT:
            continue
        pairs[at].name = <uint8_t*>PyBytes_AS_STRING(name)
        pairs[at].namelen = PyBytes_GET_SIZE(name)
        pairs[at].value = <uint8_t*>PyBytes_AS_STRING(value)
        pairs[at].valuelen = PyBytes_GET_SIZE(value)
        pairs[at].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE
        if bit:
            # The first goes into the table for its name's sake; those that follow would only drive out what is not new
            # each time (RFC 7541 6.2.2).
            if wire.spoken & bit:
                pairs[at].flags |= NGHTTP2_NV_FLAG_NO_INDEX
            wire.spoken |= bit
        at += 1
    wire.pinned.append(fields)
    return at


cdef nghttp2_data_provider provide(Outbox out):
    cdef nghttp2_data_provider provider
    provider.source.ptr = <void*>out
    provider.read_callback = read_outbox
    return provider


cdef class Outbox:
    """The queue of one stream."""

    cdef void push(self, bytes data):
        if self.first is None:
            self.first = data
        elif self.more is None:
            self.more = [data]
        else:
            self.more.append(data)
        self.queued += PyBytes_GET_SIZE(data)

    cdef Py_ssize_t pull(self, uint8_t* out, Py_ssize_t size):
        """Copy up to ``size`` bytes out of the queue; return how many."""
        cdef Py_ssize_t done = 0
        cdef Py_ssize_t n
        while done < size and self.queued:
            n = min(PyBytes_GET_SIZE(self.first) - self.offset, size - done)
            memcpy(out + done, PyBytes_AS_STRING(self.first) + self.offset, n)
            done += n
            self.offset += n
            self.queued -= n
            if self.offset == PyBytes_GET_SIZE(self.first):
                self.advance()
        return done

    cdef advance(self):
        """The first has gone: the one behind it is the first now."""
        cdef list more = self.more
        self.offset = 0
        if more is None or self.at == PyList_GET_SIZE(more):
            self.first = None
            if self.at:
                more.clear()
                self.at = 0
            return
        self.first = <bytes>more[self.at]
        more[self.at] = None
        self.at += 1
        if self.at > 64 and self.at * 2 > PyList_GET_SIZE(more):
            del more[:self.at]
            self.at = 0

    cdef void clear(self):
        self.first = None
        self.more = None
        self.at = 0
        self.offset = 0
        self.queued = 0


# --- what the session calls: C callbacks, with the GIL held. An exception is kept, and raised when the session returns. ---

cdef int keep(Http2Wire wire, object error) noexcept:
    if wire.error is None:
        wire.error = error
    return NGHTTP2_ERR_CALLBACK_FAILURE


cdef int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user) noexcept:
    cdef Http2Wire wire = <Http2Wire>user
    if wire.guard.fault is not None:
        return NGHTTP2_ERR_CALLBACK_FAILURE
    try:
        wire.decoded = 0
        wire.block_stream = frame.hd.stream_id
        wire.method = wire.scheme = wire.path = wire.authority = None
        wire.status = 0
        wire.cookies = None
        wire.block = wire.on_block(frame.hd.stream_id, <int>frame.headers.cat)
        if wire.block != <int>UNWANTED:
            wire.reader.begin()
        return 0
    except BaseException as error:
        return keep(wire, error)


cdef int on_header(
    nghttp2_session* session, const nghttp2_frame* frame, nghttp2_rcbuf* name, nghttp2_rcbuf* value, uint8_t flags,
    void* user,
) noexcept:
    cdef Http2Wire wire = <Http2Wire>user
    cdef nghttp2_vec key = nghttp2_rcbuf_get_buf(name)
    cdef nghttp2_vec text = nghttp2_rcbuf_get_buf(value)
    cdef int slot
    cdef int kind
    try:
        wire.decoded += <Py_ssize_t>(key.len + text.len) + FIELD_OVERHEAD
        if wire.decoded > wire.decoded_limit:
            wire.guard.fault = f"a field section larger than {wire.decoded_limit} bytes"
            return NGHTTP2_ERR_CALLBACK_FAILURE
        if wire.block == <int>UNWANTED:
            return 0
        slot = slot_of(wire, name, value)
        if slot >= 0:
            kind = wire.kinds[slot]
            if kind < 0:
                take_pseudo(wire, kind, <bytes>wire.known[slot])
            else:
                wire.reader.add_known(<tuple>wire.known[slot], kind)
            return 0
        content = PyBytes_FromStringAndSize(<char*>text.base, <Py_ssize_t>text.len)
        if key.len and key.base[0] == c":":
            kind = pseudo_kind(&key)
            take_pseudo(wire, kind, content)
            if kind:
                remember(wire, name, value, content, kind)
        elif key.len == 6 and memcmp(key.base, b"cookie", 6) == 0:
            # RFC 9113 8.2.3: crumbs are one field for everybody else
            if wire.cookies is None:
                wire.cookies = []
            wire.cookies.append(content)
        else:
            wire.reader.add(PyBytes_FromStringAndSize(<char*>key.base, <Py_ssize_t>key.len), content)
            # what its sender never indexes does not come again
            if wire.reader.last_field is not None and not flags & NGHTTP2_NV_FLAG_NO_INDEX:
                remember(wire, name, value, wire.reader.last_field, wire.reader.last_kind)
        return 0
    except BaseException as error:
        return keep(wire, error)


cdef inline int first_slot(const nghttp2_rcbuf* name, const nghttp2_rcbuf* value) noexcept:
    """Fibonacci hashing (Knuth, TAOCP 6.4): addresses differ in few bits, the highest of the product depend on all."""
    return <int>((<uint64_t><size_t>name * 31 + <uint64_t><size_t>value) * <uint64_t>0x9E3779B97F4A7C15 >> 58)


cdef inline int slot_of(Http2Wire wire, const nghttp2_rcbuf* name, const nghttp2_rcbuf* value) noexcept:
    """Where such a field is remembered; -1 = it is not."""
    cdef int first = first_slot(name, value)
    cdef int slot
    cdef int turn
    for turn in range(TRIES):
        slot = (first + turn) & (KNOWN - 1)
        if wire.names[slot] == name and wire.values[slot] == value:
            wire.seen[slot] = True
            return slot
    return -1


cdef int remember(Http2Wire wire, nghttp2_rcbuf* name, nghttp2_rcbuf* value, object made, int kind) except -1:
    """Peers repeat themselves (RFC 7541 2.3): what was read once need not be copied, looked up and judged again."""
    cdef int first = first_slot(name, value)
    cdef int slot
    cdef int turn
    if nghttp2_rcbuf_get_buf(name).len + nghttp2_rcbuf_get_buf(value).len > KNOWN_BYTES:
        return 0
    # Second chance (Corbato 1968): what has come since somebody last wanted its slot keeps it.
    for turn in range(TRIES):
        slot = (first + turn) & (KNOWN - 1)
        if not wire.seen[slot]:
            break
        wire.seen[slot] = False
    else:
        slot = first
    if wire.names[slot] != NULL:
        nghttp2_rcbuf_decref(wire.names[slot])
        nghttp2_rcbuf_decref(wire.values[slot])
    nghttp2_rcbuf_incref(name)
    nghttp2_rcbuf_incref(value)
    wire.names[slot] = name
    wire.values[slot] = value
    wire.known[slot] = made
    wire.kinds[slot] = kind
    wire.seen[slot] = True
    return 0


cdef int pseudo_kind(const nghttp2_vec* key) noexcept:
    """A number below 0; 0 = there is no such pseudo-header field."""
    cdef const char* name = <const char*>key.base
    if key.len == 5 and memcmp(name, b":path", 5) == 0:
        return PATH
    if key.len == 7 and memcmp(name, b":method", 7) == 0:
        return METHOD
    if key.len == 7 and memcmp(name, b":scheme", 7) == 0:
        return SCHEME
    if key.len == 10 and memcmp(name, b":authority", 10) == 0:
        return AUTHORITY
    return STATUS if key.len == 7 and memcmp(name, b":status", 7) == 0 else 0


cdef int take_pseudo(Http2Wire wire, int kind, bytes value) except -1:
    """The session lets each of them through once, before all other fields, and none in trailers."""
    if kind == PATH:
        wire.path = value
    elif kind == METHOD:
        wire.method = value
    elif kind == SCHEME:
        wire.scheme = value
    elif kind == AUTHORITY:
        wire.authority = value
    elif kind == STATUS:
        wire.status = <int>parse_length(value)
    else:
        wire.reader.refuse(400, "a pseudo-header field that is none")
    return 0


cdef int on_invalid_header(
    nghttp2_session* session, const nghttp2_frame* frame, nghttp2_rcbuf* name, nghttp2_rcbuf* value, uint8_t flags,
    void* user,
) noexcept:
    # The session would leave the field out and go on; RFC 9113 8.2.1 calls the message malformed.
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE


cdef int on_frame_recv(nghttp2_session* session, const nghttp2_frame* frame, void* user) noexcept:
    cdef Http2Wire wire = <Http2Wire>user
    cdef int kind = frame.hd.type
    cdef bint ended = frame.hd.flags & NGHTTP2_FLAG_END_STREAM
    try:
        if kind == NGHTTP2_HEADERS:
            take_block(wire, frame.hd.stream_id, ended)
        elif kind == NGHTTP2_DATA:
            if ended:
                wire.on_ended(frame.hd.stream_id)
        elif kind == NGHTTP2_RST_STREAM:
            wire.on_reset(frame.hd.stream_id)
        elif kind == NGHTTP2_PING:
            if frame.hd.flags & NGHTTP2_FLAG_ACK and wire.pinged_ns:
                wire.pinged_ns = 0
                wire.on_pong()
        elif kind == NGHTTP2_GOAWAY:
            wire.on_goaway(frame.goaway.error_code, frame.goaway.last_stream_id)
        elif kind == NGHTTP2_SETTINGS:
            if not frame.hd.flags & NGHTTP2_FLAG_ACK:
                wire.on_settings()
        return 0 if wire.guard.fault is None else NGHTTP2_ERR_CALLBACK_FAILURE
    except BaseException as error:
        return keep(wire, error)


cdef take_block(Http2Wire wire, int32_t stream, bint ended):
    cdef int block = wire.block
    cdef list cookies = wire.cookies
    cdef list trailers
    wire.block = UNWANTED
    if cookies is not None and block == <int>HEAD:
        wire.reader.add(b"cookie", <bytes>cookies[0] if len(cookies) == 1 else b"; ".join(cookies))
    wire.cookies = None
    if block == <int>HEAD:
        wire.on_head(stream, ended)
    elif block == <int>TRAILERS and ended:
        trailers = wire.reader.take_trailers()
        if wire.reader.fault is not None:
            wire.reset(stream, NGHTTP2_PROTOCOL_ERROR)
        else:
            wire.on_trailers(stream, trailers)


cdef int on_data_chunk(
    nghttp2_session* session, uint8_t flags, int32_t stream, const uint8_t* data, size_t size, void* user
) noexcept:
    cdef Http2Wire wire = <Http2Wire>user
    try:
        nghttp2_session_consume_connection(session, size)
        wire.on_chunk(stream, PyBytes_FromStringAndSize(<const char*>data, <Py_ssize_t>size))
        return 0
    except BaseException as error:
        return keep(wire, error)


cdef int on_frame_send(nghttp2_session* session, const nghttp2_frame* frame, void* user) noexcept:
    cdef Http2Wire wire = <Http2Wire>user
    cdef int kind = frame.hd.type
    cdef uint32_t code
    try:
        if kind == NGHTTP2_DATA or kind == NGHTTP2_HEADERS:
            wire.guard.earn(4)
            if kind == NGHTTP2_HEADERS or frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
                wire.on_sent(frame.hd.stream_id, frame.hd.flags & NGHTTP2_FLAG_END_STREAM)
        elif kind == NGHTTP2_RST_STREAM:
            code = frame.rst_stream.error_code
            # ours for reasons of our own are these; all others the peer has provoked
            if (
                code != NGHTTP2_NO_ERROR and code != NGHTTP2_CANCEL and code != NGHTTP2_INTERNAL_ERROR
                and wire.guard.reset(True, wire.now_ns)
            ):
                wire.read_closed = True
        elif kind == NGHTTP2_GOAWAY and frame.goaway.error_code != NGHTTP2_NO_ERROR:
            wire.read_closed = True
            if wire.reason is None:
                wire.reason = f"HTTP/2 was violated: {nghttp2_http2_strerror(frame.goaway.error_code).decode()}"
        return 0
    except BaseException as error:
        return keep(wire, error)


cdef int on_stream_close(nghttp2_session* session, int32_t stream, uint32_t code, void* user) noexcept:
    cdef Http2Wire wire = <Http2Wire>user
    try:
        wire.on_closed(stream, code)
        return 0
    except BaseException as error:
        return keep(wire, error)


cdef Py_ssize_t read_outbox(
    nghttp2_session* session, int32_t stream, uint8_t* buf, size_t length, uint32_t* flags,
    nghttp2_data_source* source, void* user,
) noexcept:
    """Fill one DATA frame; the end of the stream, its trailers or its reset come with the last of them."""
    cdef Http2Wire wire = <Http2Wire>user
    cdef Outbox out = <Outbox>source.ptr
    cdef Py_ssize_t n
    cdef nghttp2_nv* pairs
    try:
        n = out.pull(buf, <Py_ssize_t>length)
        if n:
            out.moved_ns = wire.now_ns
        if out.congested and out.queued < QUEUE_LOW:
            out.congested = False
            wire.drained.append(stream)
        if out.queued:
            return n
        if out.cutting:
            nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_INTERNAL_ERROR)
        elif out.ended:
            flags[0] |= NGHTTP2_DATA_FLAG_EOF
            if out.trailers:
                flags[0] |= NGHTTP2_DATA_FLAG_NO_END_STREAM
                pairs = scratch_pairs(len(out.trailers))
                nghttp2_submit_trailer(session, stream, pairs, add_fields(wire, pairs, 0, out.trailers))
            return n
        if n == 0:
            out.deferred = True
            return NGHTTP2_ERR_DEFERRED
        return n
    except BaseException as error:
        return keep(wire, error)


cdef nghttp2_session_callbacks* CALLBACKS = NULL
cdef nghttp2_option* OPTIONS = NULL


cdef prepare():
    """Made once, for all sessions: they copy it."""
    global CALLBACKS, OPTIONS
    if nghttp2_session_callbacks_new(&CALLBACKS) or nghttp2_option_new(&OPTIONS):
        raise MemoryError
    nghttp2_session_callbacks_set_on_begin_headers_callback(CALLBACKS, on_begin_headers)
    nghttp2_session_callbacks_set_on_header_callback2(CALLBACKS, on_header)
    nghttp2_session_callbacks_set_on_invalid_header_callback2(CALLBACKS, on_invalid_header)
    nghttp2_session_callbacks_set_on_frame_recv_callback(CALLBACKS, on_frame_recv)
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(CALLBACKS, on_data_chunk)
    nghttp2_session_callbacks_set_on_frame_send_callback(CALLBACKS, on_frame_send)
    nghttp2_session_callbacks_set_on_stream_close_callback(CALLBACKS, on_stream_close)
    nghttp2_option_set_no_auto_window_update(OPTIONS, 1)
    nghttp2_option_set_no_closed_streams(OPTIONS, 1)
    nghttp2_option_set_max_outbound_ack(OPTIONS, ACKS_LIMIT)
    nghttp2_option_set_max_reserved_remote_streams(OPTIONS, 0)
    # our own bound on heads is config's; what has passed it must be sendable
    nghttp2_option_set_max_send_header_block_length(OPTIONS, 4 * 1024 * 1024)


prepare()


cdef class Http2Wire:
    """One HTTP/2 connection, whichever end of it we are. Subclasses say what a message means."""

    def __cinit__(self):
        self.places = [None] * PLACES
        self.elsewhere = {}
        self.drained = []
        self.pinned = []
        self.known = [None] * KNOWN

    def __dealloc__(self):
        self._forget()
        if self.session != NULL:
            nghttp2_session_del(self.session)

    cdef open_session(self, bint server, Py_ssize_t header_bytes, int header_count):
        """Begin: our preface is queued. Bounds are those on one head."""
        cdef nghttp2_settings_entry[5] entries
        cdef int count = 3
        cdef int code
        self.loop = get_running_loop()
        self.flush = self._flush
        self.now_ns = monotonic_ns()
        self.heard_ns = self.now_ns
        self.reader = HeadReader(header_bytes, header_count)
        self.decoded_limit = BOMB * (header_bytes + header_count * FIELD_OVERHEAD)
        self.guard = Guard(self.now_ns, header_bytes + 16384, server)
        if server:
            code = nghttp2_session_server_new2(&self.session, CALLBACKS, <void*>self, OPTIONS)
        else:
            code = nghttp2_session_client_new2(&self.session, CALLBACKS, <void*>self, OPTIONS)
        if code:
            raise MemoryError(nghttp2_strerror(code).decode())
        entries[0].settings_id = NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
        entries[0].value = MAX_STREAMS if server else 0
        entries[1].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
        entries[1].value = STREAM_WINDOW
        entries[2].settings_id = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
        entries[2].value = <uint32_t>header_bytes
        if server:
            # RFC 9218: without it every PRIORITY frame rearranges a tree
            entries[3].settings_id = NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES
            entries[3].value = 1
        else:
            entries[3].settings_id = NGHTTP2_SETTINGS_ENABLE_PUSH
            entries[3].value = 0
        count = 4
        nghttp2_submit_settings(self.session, NGHTTP2_FLAG_NONE, entries, count)
        nghttp2_session_set_local_window_size(self.session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW)

    cdef void _forget(self):
        cdef int slot
        for slot in range(KNOWN):
            if self.names[slot] != NULL:
                nghttp2_rcbuf_decref(self.names[slot])
                nghttp2_rcbuf_decref(self.values[slot])
                self.names[slot] = NULL
                self.values[slot] = NULL

    cdef close_session(self):
        """The transport is closed. Streams that still hold on find nothing to speak to.

        The session goes before the streams do: it borrows their queues. Until then no stream leaves the list but one that
        the session has closed.
        """
        self.transport = None
        self.flush = None
        if self.session != NULL:
            nghttp2_session_del(self.session)
            self.session = NULL
        memset(self.placed, 0, sizeof(self.placed))
        self.places = [None] * PLACES
        self.elsewhere = {}
        self.listed = 0
        self.pinned.clear()

    cdef add_stream(self, int32_t stream, object item):
        cdef int place = stream >> 1 & (PLACES - 1)
        self.listed += 1
        if self.placed[place]:
            self.elsewhere[stream] = item
        else:
            self.placed[place] = stream
            self.places[place] = item

    cdef object remove_stream(self, int32_t stream):
        cdef int place = stream >> 1 & (PLACES - 1)
        if self.placed[place] == stream:
            item = self.places[place]
            self.placed[place] = 0
            self.places[place] = None
        elif stream in self.elsewhere:
            item = self.elsewhere.pop(stream)
        else:
            return None
        self.listed -= 1
        return item

    cdef list streams(self):
        cdef dict found = self.elsewhere.copy()
        cdef int place
        for place in range(PLACES):
            if self.placed[place]:
                found[self.placed[place]] = self.places[place]
        return [found[stream] for stream in sorted(found)]

    cdef receive(self, bytes data):
        """Give the session what came, up to the first frame that is too much, and send what it has to say."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef Py_ssize_t good
        cdef Py_ssize_t done
        if self.read_closed or self.session == NULL:
            return
        self.now_ns = monotonic_ns()
        self.heard_ns = self.now_ns
        good = self.guard.feed(<const uint8_t*>PyBytes_AS_STRING(data), size, self.now_ns)
        self.busy = True
        done = nghttp2_session_mem_recv(self.session, <const uint8_t*>PyBytes_AS_STRING(data), good)
        self.busy = False
        if self.error is not None:
            error = self.error
            self.error = None
            self.read_closed = True
            self.reason = f"an error of our own: {type(error).__name__}"
            nghttp2_session_terminate_session(self.session, NGHTTP2_INTERNAL_ERROR)
            self.pump()
            raise error
        if self.guard.fault is not None:
            self.reject_flood(self.guard.fault)
        elif done == NGHTTP2_ERR_FLOODED:
            self.reject_flood("acknowledgements that are not read")
        elif done < 0:
            self.read_closed = True
            self.reason = f"this is not HTTP/2: {nghttp2_strerror(<int>done).decode()}"
            nghttp2_session_terminate_session(self.session, NGHTTP2_PROTOCOL_ERROR)
        elif self.write_paused and nghttp2_session_get_outbound_queue_size(self.session) > QUEUE_LIMIT:
            self.reject_flood("frames that are not read")
        self.pump()

    cdef void reject_flood(self, str reason):
        self.read_closed = True
        self.reason = reason
        nghttp2_session_terminate_session(self.session, NGHTTP2_ENHANCE_YOUR_CALM)
        self.schedule()

    cdef void schedule(self):
        """Send what was submitted, once, after everything that happens in this turn of the loop."""
        if not self.busy and not self.scheduled and self.flush is not None:
            self.scheduled = True
            self.loop.call_soon(self.flush)

    def _flush(self):
        self.scheduled = False
        self.now_ns = monotonic_ns()
        self.pump()

    cdef pump(self):
        """Write what the session has to say, and do what follows from it."""
        if self.busy or self.closed or self.session == NULL or self.transport is None:
            return
        self._send()
        if self.guard.fault is not None and self.reason is None:
            # a reset too many, of ours
            self.reject_flood(self.guard.fault)
            self._send()
        if self.drained:
            drained = self.drained
            self.drained = []
            for stream in drained:
                self.on_drained(stream)
        if not self.closed and (
            self.read_closed or not (nghttp2_session_want_read(self.session) or nghttp2_session_want_write(self.session))
        ):
            self.closed = True
            self.on_fallen()

    cdef _send(self):
        """As few writes as it takes, until there is nothing to say or the peer is slow."""
        global SCRATCH
        cdef const uint8_t* part = NULL
        cdef uint8_t* space
        cdef size_t size = 0
        cdef Py_ssize_t n = 0
        # another pump may run while a write is under way: it brings its own
        space = SCRATCH
        SCRATCH = NULL
        if space == NULL:
            space = <uint8_t*>malloc(GATHER_SIZE)
            if space == NULL:
                raise MemoryError
        self.busy = True
        try:
            while not self.write_paused:
                n = nghttp2_session_mem_send(self.session, &part)
                if n <= 0:
                    break
                if size + <size_t>n > GATHER_SIZE:
                    self.write(PyBytes_FromStringAndSize(<char*>space, size))
                    size = 0
                memcpy(space + size, part, n)
                size += n
                if size >= GATHER:
                    self.write(PyBytes_FromStringAndSize(<char*>space, size))
                    size = 0
            if size:
                self.write(PyBytes_FromStringAndSize(<char*>space, size))
            if n == 0 and self.pinned and nghttp2_session_get_outbound_queue_size(self.session) == 0:
                self.pinned.clear()     # no head or trailers wait to be written
        finally:
            self.busy = False
            if SCRATCH == NULL:
                SCRATCH = space
            else:
                free(space)
        if self.error is not None:
            error = self.error
            self.error = None
            self.transport.abort()
            raise error

    cdef write(self, bytes data):
        if self.transport is not None:
            self.transport.write(data)

    cdef void ping(self):
        """Ask for a sign of life; on_pong, or a pinged_ns that grows old, tells."""
        if self.session != NULL and not self.pinged_ns:
            self.pinged_ns = monotonic_ns()
            nghttp2_submit_ping(self.session, NGHTTP2_FLAG_NONE, NULL)
            self.schedule()

    cdef void reset(self, int32_t stream, uint32_t code):
        if self.session != NULL:
            nghttp2_submit_rst_stream(self.session, NGHTTP2_FLAG_NONE, stream, code)
            self.schedule()

    cdef void resume_sending(self, int32_t stream, Outbox out):
        if self.session == NULL:
            return
        if out.deferred:
            out.deferred = False
            nghttp2_session_resume_data(self.session, stream)
        self.schedule()

    cdef void consumed(self, int32_t stream, Py_ssize_t size):
        """The other side has taken these bytes: the peer may send as many more on this stream."""
        if self.session != NULL and size:
            nghttp2_session_consume_stream(self.session, stream, size)
            self.schedule()

    def pause_writing(self):
        """The peer does not read: what is queued waits in its stream, and congests it."""
        self.write_paused = True
        self.paused_ns = monotonic_ns()

    def resume_writing(self):
        """The peer reads again."""
        self.write_paused = False
        self.schedule()

    # --- what a side makes of it -----------------------------------------------------------------------------------
    cdef int on_block(self, int32_t stream, int category) except -1:
        return UNWANTED

    cdef on_head(self, int32_t stream, bint ended):
        return None

    cdef on_trailers(self, int32_t stream, list trailers):
        return None

    cdef on_chunk(self, int32_t stream, bytes data):
        return None

    cdef on_ended(self, int32_t stream):
        return None

    cdef on_closed(self, int32_t stream, uint32_t code):
        return None

    cdef on_reset(self, int32_t stream):
        return None

    cdef on_sent(self, int32_t stream, bint ended):
        return None

    cdef on_drained(self, int32_t stream):
        return None

    cdef on_pong(self):
        return None

    cdef on_goaway(self, uint32_t code, int32_t last):
        return None

    cdef on_settings(self):
        return None

    cdef on_fallen(self):
        return None
