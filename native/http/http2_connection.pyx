from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport int32_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy
from native.io.clock cimport monotonic_ns
from native.io.stream_socket cimport DETACHED
from native.http.http2_block_reader cimport HEAD, TRAILERS, UNWANTED
from native.http.http2_field_writer cimport scratch_pairs
from native.http.http2_guard cimport RESET_COST, RESET_COST_CHEAP
from native.http.http2_outbox cimport QUEUE_LOW
from native.http.nghttp2 cimport *

# More acknowledgements of PING and SETTINGS than this that wait for a peer that does not read are a flood.
cdef size_t ACKS_LIMIT = 200
# More control frames than this that wait for a peer that does not read are a flood.
cdef size_t QUEUE_LIMIT = 2000
# Frames are gathered into one write up to this size.
cdef size_t GATHER = 65536
cdef size_t GATHER_SIZE = 65536 + 16384 + 4096

cdef uint8_t* SCRATCH = <uint8_t*>malloc(GATHER_SIZE)


cdef nghttp2_data_provider provide(Outbox out):
    cdef nghttp2_data_provider provider
    provider.source.ptr = <void*>out
    provider.read_callback = read_outbox
    return provider


# --- C callbacks of the session, with the GIL held. One that raises returns NGHTTP2_ERR_CALLBACK_FAILURE (-902) with the
# exception still set, the session returns the same at once, and so the exception comes out of the call of the session.
# ---------

cdef int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user) except -902:
    cdef Http2Connection connection = <Http2Connection>user
    if connection.guard.fault is not None:
        return NGHTTP2_ERR_CALLBACK_FAILURE
    connection.reader.begin(connection.on_block(frame.hd.stream_id, <int>frame.headers.cat))
    return 0


cdef int on_header(
    nghttp2_session* session, const nghttp2_frame* frame, nghttp2_rcbuf* name, nghttp2_rcbuf* value, uint8_t flags,
    void* user,
) except -902:
    cdef Http2Connection connection = <Http2Connection>user
    if connection.reader.add(name, value, flags) == 0:
        return 0
    connection.guard.fault = f"a field section larger than {connection.reader.decoded_limit} bytes"
    return NGHTTP2_ERR_CALLBACK_FAILURE


cdef int on_invalid_header(
    nghttp2_session* session, const nghttp2_frame* frame, nghttp2_rcbuf* name, nghttp2_rcbuf* value, uint8_t flags,
    void* user,
) except -902:
    # By default the session ignores the field. RFC 9113 8.2.1 requires that the message is malformed.
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE


cdef int on_frame_recv(nghttp2_session* session, const nghttp2_frame* frame, void* user) except -902:
    cdef Http2Connection connection = <Http2Connection>user
    cdef int kind = frame.hd.type
    cdef bint ended = frame.hd.flags & NGHTTP2_FLAG_END_STREAM
    if kind == NGHTTP2_HEADERS:
        take_block(connection, frame.hd.stream_id, ended)
    elif kind == NGHTTP2_DATA:
        if ended:
            connection.on_ended(frame.hd.stream_id)
    elif kind == NGHTTP2_RST_STREAM:
        connection.on_reset(frame.hd.stream_id)
    elif kind == NGHTTP2_PING:
        if frame.hd.flags & NGHTTP2_FLAG_ACK and connection.pinged_ns:
            connection.pinged_ns = 0
            connection.on_pong()
    elif kind == NGHTTP2_GOAWAY:
        connection.on_goaway(frame.goaway.error_code, frame.goaway.last_stream_id)
    elif kind == NGHTTP2_SETTINGS:
        if not frame.hd.flags & NGHTTP2_FLAG_ACK:
            connection.on_settings()
    return 0 if connection.guard.fault is None else NGHTTP2_ERR_CALLBACK_FAILURE


cdef int take_block(Http2Connection connection, int32_t stream, bint ended) except -1:
    cdef int block = connection.reader.end()
    cdef list trailers
    if block == <int>HEAD:
        connection.on_head(stream, ended)
    elif block == <int>TRAILERS and ended:
        trailers = connection.reader.reader.take_trailers()
        if connection.reader.reader.fault is not None:
            connection.reset(stream, NGHTTP2_PROTOCOL_ERROR)
        else:
            connection.on_trailers(stream, trailers)
    return 0


cdef int on_data_chunk(
    nghttp2_session* session, uint8_t flags, int32_t stream, const uint8_t* data, size_t size, void* user
) except -902:
    cdef Http2Connection connection = <Http2Connection>user
    nghttp2_session_consume_connection(session, size)
    connection.on_chunk(stream, PyBytes_FromStringAndSize(<const char*>data, <Py_ssize_t>size))
    return 0


cdef int on_frame_send(nghttp2_session* session, const nghttp2_frame* frame, void* user) except -902:
    cdef Http2Connection connection = <Http2Connection>user
    cdef int kind = frame.hd.type
    cdef uint32_t code
    if kind == NGHTTP2_DATA or kind == NGHTTP2_HEADERS:
        connection.guard.earn(4)
        if kind == NGHTTP2_HEADERS or frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
            connection.on_sent(frame.hd.stream_id, frame.hd.flags & NGHTTP2_FLAG_END_STREAM)
    elif kind == NGHTTP2_RST_STREAM:
        code = frame.rst_stream.error_code
        # edge sends these three codes for reasons of its own; any other code answers an error of the peer
        if (
            code != NGHTTP2_NO_ERROR and code != NGHTTP2_CANCEL and code != NGHTTP2_INTERNAL_ERROR
            and connection.guard.provoked(
                RESET_COST_CHEAP if code == NGHTTP2_REFUSED_STREAM else RESET_COST, connection.now_ns
            )
        ):
            if connection.guard.fault is None:      # otherwise pump() refuses the peer
                connection.wind_down()
    elif kind == NGHTTP2_GOAWAY and frame.goaway.error_code != NGHTTP2_NO_ERROR and (
        not connection.winding_down or connection.read_closed
    ):
        connection.read_closed = True
        if connection.close_reason is None:
            name = nghttp2_http2_strerror(frame.goaway.error_code).decode()
            connection.close_reason = f"HTTP/2 was violated: {name}"
    return 0


cdef int on_stream_close(nghttp2_session* session, int32_t stream, uint32_t code, void* user) except -902:
    cdef Http2Connection connection = <Http2Connection>user
    if connection.guard.order is not None:
        connection.guard.order.close(<uint32_t>stream)
    connection.on_closed(stream, code)
    return 0


cdef Py_ssize_t read_outbox(
    nghttp2_session* session, int32_t stream, uint8_t* buf, size_t length, uint32_t* flags,
    nghttp2_data_source* source, void* user,
) except -902:
    """Fill a DATA frame. After the last data it ends the stream, or submits the trailers or the reset."""
    cdef Http2Connection connection = <Http2Connection>user
    cdef Outbox out = <Outbox>source.ptr
    cdef nghttp2_nv* pairs
    cdef Py_ssize_t n = out.pull(buf, <Py_ssize_t>length)
    if n:
        out.progress_ns = connection.now_ns
    if out.congested and out.queued < QUEUE_LOW:
        out.congested = False
        connection.drained_streams.append(stream)
    if out.queued:
        return n
    if out.cutting:
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream, NGHTTP2_INTERNAL_ERROR)
    elif out.ended:
        flags[0] |= NGHTTP2_DATA_FLAG_EOF
        if out.trailers:
            flags[0] |= NGHTTP2_DATA_FLAG_NO_END_STREAM
            pairs = scratch_pairs(len(out.trailers))
            nghttp2_submit_trailer(session, stream, pairs, connection.fields.add_fields(pairs, 0, out.trailers))
        return n
    if n == 0:
        out.deferred = True
        return NGHTTP2_ERR_DEFERRED
    return n


# The sessions take their memory from Python's allocator, which is cheaper than malloc for the small blocks of a stream.
# They are called with the GIL held, as it has to be.

cdef void* take_memory(size_t size, void* user) noexcept:
    return PyMem_Malloc(size)


cdef void give_back_memory(void* memory, void* user) noexcept:
    PyMem_Free(memory)


cdef void* take_cleared_memory(size_t count, size_t size, void* user) noexcept:
    return PyMem_Calloc(count, size)


cdef void* resize_memory(void* memory, size_t size, void* user) noexcept:
    return PyMem_Realloc(memory, size)


cdef nghttp2_mem MEMORY = nghttp2_mem(NULL, take_memory, give_back_memory, take_cleared_memory, resize_memory)

cdef nghttp2_session_callbacks* CALLBACKS = NULL
cdef nghttp2_option* OPTIONS = NULL


cdef prepare():
    """Create the callbacks and options of all sessions. A session copies them."""
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
    # the configuration limits the size of heads; every head within that limit must be sendable
    nghttp2_option_set_max_send_header_block_length(OPTIONS, 4 * 1024 * 1024)
    leave_resets_to_us(OPTIONS)


prepare()


cdef class Http2Connection:
    """One HTTP/2 connection. A subclass gives messages their meaning."""

    def __cinit__(self):
        self.socket = DETACHED
        self.table = StreamTable.__new__(StreamTable)
        self.fields = FieldWriter.__new__(FieldWriter)
        self.drained_streams = []

    def __dealloc__(self):
        if self.session != NULL:
            nghttp2_session_del(self.session)

    cdef open_session(self, bint server, Py_ssize_t header_bytes, int header_count):
        """Open the session and queue its preface. header_bytes and header_count limit each received head."""
        cdef nghttp2_settings_entry[4] entries
        cdef int code
        self.now_ns = monotonic_ns()
        self.received_ns = self.now_ns
        self.reader = BlockReader(header_bytes, header_count)
        self.guard = Guard(self.now_ns, header_bytes + 16384, server)
        if server:
            code = nghttp2_session_server_new3(&self.session, CALLBACKS, <void*>self, OPTIONS, &MEMORY)
        else:
            code = nghttp2_session_client_new3(&self.session, CALLBACKS, <void*>self, OPTIONS, &MEMORY)
        if code:
            raise MemoryError(nghttp2_strerror(code).decode())
        entries[0].settings_id = NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
        entries[0].value = MAX_STREAMS if server else 0
        entries[1].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
        entries[1].value = STREAM_WINDOW
        entries[2].settings_id = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
        entries[2].value = <uint32_t>header_bytes
        if server:
            # RFC 9218: without this setting every PRIORITY frame rearranges a tree
            entries[3].settings_id = NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES
            entries[3].value = 1
        else:
            entries[3].settings_id = NGHTTP2_SETTINGS_ENABLE_PUSH
            entries[3].value = 0
        nghttp2_submit_settings(self.session, NGHTTP2_FLAG_NONE, entries, 4)
        nghttp2_session_set_local_window_size(self.session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW)

    cdef close_session(self):
        """Delete the session: the socket is closed. Streams that outlive the session find it NULL.

        The session borrows the queues of its streams, so it is deleted first. Before that, a stream is removed from the
        table only after the session has closed it.
        """
        if self.session != NULL:
            nghttp2_session_del(self.session)
            self.session = NULL
        self.table.clear()
        self.fields.release()

    cdef int receive(self, const char* data, Py_ssize_t size) except -1:
        """Feed the session up to the first frame that exceeds a limit, and send its output."""
        cdef Py_ssize_t good
        cdef Py_ssize_t done
        if self.read_closed or self.session == NULL:
            return 0
        self.now_ns = monotonic_ns()
        self.received_ns = self.now_ns
        good = self.guard.feed(<const uint8_t*>data, size, self.now_ns)
        self.in_session = True
        try:
            done = nghttp2_session_mem_recv(self.session, <const uint8_t*>data, good)
        except BaseException as error:
            self.in_session = False
            self.read_closed = True
            self.close_reason = f"an error of our own: {type(error).__name__}"
            nghttp2_session_terminate_session(self.session, NGHTTP2_INTERNAL_ERROR)
            self.pump()
            raise
        self.in_session = False
        if self.guard.fault is not None:
            self.reject(self.guard.fault, self.guard.fault_code)
        elif done == NGHTTP2_ERR_FLOODED:
            self.reject_flood("acknowledgements that are not read")
        elif done < 0:
            self.read_closed = True
            self.close_reason = f"this is not HTTP/2: {nghttp2_strerror(<int>done).decode()}"
            nghttp2_session_terminate_session(self.session, NGHTTP2_PROTOCOL_ERROR)
        elif self.socket.write_paused and nghttp2_session_get_outbound_queue_size(self.session) > QUEUE_LIMIT:
            self.reject_flood("frames that are not read")
        self.pump()

    cdef int wind_down(self) except -1:
        if self.winding_down:
            return 0
        self.winding_down = True
        self.close_reason = self.guard.spent
        nghttp2_submit_goaway(
            self.session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(self.session),
            NGHTTP2_ENHANCE_YOUR_CALM, NULL, 0,
        )
        self.schedule()

    cdef int reject_flood(self, str reason) except -1:
        self.reject(reason, NGHTTP2_ENHANCE_YOUR_CALM)

    cdef int reject(self, str reason, uint32_t code) except -1:
        self.read_closed = True
        self.close_reason = reason
        nghttp2_session_terminate_session(self.session, code)
        self.schedule()

    cdef int schedule(self) except -1:
        if not self.in_session and self.session != NULL and self.socket.fd >= 0:
            self.socket.reactor.defer(self)

    cdef int on_deferred(self) except -1:
        self.now_ns = monotonic_ns()
        self.pump()

    cdef pump(self):
        """Write the session's output, resume drained streams, and finish a connection that is over."""
        if self.in_session or self.closed or self.session == NULL or self.socket.fd < 0:
            return
        self._send()
        if self.guard.fault is not None and not self.read_closed:
            # the reset that was just sent exceeded the guard's limit
            self.reject(self.guard.fault, self.guard.fault_code)
            self._send()
        if self.drained_streams:
            drained = self.drained_streams
            self.drained_streams = []
            for stream in drained:
                self.on_drained(stream)
        if not self.closed and (
            self.read_closed or not (nghttp2_session_want_read(self.session) or nghttp2_session_want_write(self.session))
        ):
            self.closed = True
            self.on_finished()

    cdef _send(self):
        """Write the session's output in as few calls as possible, until there is no more or writing is paused."""
        global SCRATCH
        cdef const uint8_t* part = NULL
        cdef uint8_t* space
        cdef size_t size = 0
        cdef Py_ssize_t n = 0
        # a write may run another pump, which allocates a buffer of its own
        space = SCRATCH
        SCRATCH = NULL
        if space == NULL:
            space = <uint8_t*>malloc(GATHER_SIZE)
            if space == NULL:
                raise MemoryError
        self.in_session = True
        try:
            while not self.socket.write_paused:
                n = nghttp2_session_mem_send(self.session, &part)
                if n <= 0:
                    break
                if size + <size_t>n > GATHER_SIZE:
                    self.socket.write(PyBytes_FromStringAndSize(<char*>space, size))
                    size = 0
                memcpy(space + size, part, n)
                size += n
                if size >= GATHER:
                    self.socket.write(PyBytes_FromStringAndSize(<char*>space, size))
                    size = 0
            if size:
                self.socket.write(PyBytes_FromStringAndSize(<char*>space, size))
            if n == 0 and self.fields.borrowed and nghttp2_session_get_outbound_queue_size(self.session) == 0:
                self.fields.release()       # no head or trailers wait to be written
        except BaseException:
            self.socket.abort()
            raise
        finally:
            self.in_session = False
            if SCRATCH == NULL:
                SCRATCH = space
            else:
                free(space)

    cdef int ping(self) except -1:
        if self.session != NULL and not self.pinged_ns:
            self.pinged_ns = monotonic_ns()
            nghttp2_submit_ping(self.session, NGHTTP2_FLAG_NONE, NULL)
            self.schedule()

    cdef int reset(self, int32_t stream, uint32_t code) except -1:
        if self.session != NULL:
            nghttp2_submit_rst_stream(self.session, NGHTTP2_FLAG_NONE, stream, code)
            self.schedule()

    cdef int resume_sending(self, int32_t stream, Outbox out) except -1:
        if self.session == NULL:
            return 0
        if out.deferred:
            out.deferred = False
            nghttp2_session_resume_data(self.session, stream)
        self.schedule()

    cdef int consumed(self, int32_t stream, Py_ssize_t size) except -1:
        if self.session != NULL and size:
            nghttp2_session_consume_stream(self.session, stream, size)
            self.schedule()

    cdef int on_write_paused(self) except -1:
        """Hold back the session's output: the peer reads too slowly. Queued data congests its stream."""
        self.reader_ns = monotonic_ns()

    cdef int on_write_resumed(self) except -1:
        """Send the session's output: the peer reads again."""
        self.schedule()

    # --- events, for subclasses --------------------------------------------------------------------------------------
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

    cdef on_finished(self):
        return None
