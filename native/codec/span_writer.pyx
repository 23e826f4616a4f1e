from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memmove
from native.codec.otlp_values cimport *
from native.codec.protobuf cimport put, put_fixed64, put_short, put_varint, varint_size

cdef enum:
    LINK_SIZE = 33          # ids of 16 and 8 bytes, flags of 4 bytes, and their tags
    REMOTE = 0x300          # SpanFlags: CONTEXT_HAS_IS_REMOTE and CONTEXT_IS_REMOTE
    MOST = 1024
    OWN_SIZE = 512          # an upper bound of the ids, times, link and lengths of a span
    SERVER_ERROR = 500

cdef double SECONDS = 1e-9
cdef tuple NO_LINK = ("", "", "")


cdef char* room_for(Page* page, Py_ssize_t more) except NULL:
    """Make room for ``more`` bytes; return where the next bytes go."""
    cdef size_t wanted = page.size + more
    cdef char* grown
    if wanted > page.room:
        wanted += wanted // 2
        grown = <char*>realloc(page.at, wanted)
        if grown is NULL:
            raise MemoryError
        page.at = grown
        page.room = wanted
    return page.at + page.size


cdef void end_span(Page* page, char* begun, char* end) noexcept nogil:
    """Write a span's tag and length into the three bytes left free for them; move the span unless they need three."""
    cdef uint64_t size = end - begun - 3
    cdef int taken = varint_size(size)
    if taken != 2:
        memmove(begun + 1 + taken, begun + 3, size)
    begun[0] = SPANS
    put_varint(begun + 1, size)
    page.size += 1 + taken + size


cdef class SpanWriter:
    """Writes spans from records.

    Args:
        names: a module with the names of attributes, edge.telemetry.names.
        server: returns the shape of a record's SERVER span: a Span without ids, times, links and the values that are
            written here.
        client: returns a tuple for the CLIENT span of the attempt at an index: its shape; its event without the time
            (b"" = no event); its URL up to the path if the path differs between requests (b"" = it does not); whether
            the target is a model.
        most: shapes of each kind that are cached. The cache is cleared when there are more, for example when callers
            invent models.
    """

    def __init__(self, names, server, client, int most=MOST):
        self.server = server
        self.client = client
        self.most = most
        self.request_id = text_key(names.REQUEST_ID)
        self.path = text_key(names.PATH)
        self.url = text_key(names.URL)
        self.input_tokens = text_key(names.INPUT_TOKENS)
        self.output_tokens = text_key(names.OUTPUT_TOKENS)
        self.queued = number_key(names.QUEUED)
        self.cost = number_key(names.COST)
        self.connected = number_key(names.CONNECTED)
        self.sent = number_key(names.SENT)
        self.first_byte = number_key(names.FIRST_BYTE)
        self.first_content = number_key(names.FIRST_CONTENT)
        self.first_chunk = number_key(names.FIRST_CHUNK)
        self.keys = sum([
            len(key) for key in (
                self.request_id, self.path, self.url, self.input_tokens, self.output_tokens, self.queued, self.cost,
                self.connected, self.sent, self.first_byte, self.first_content, self.first_chunk,
            )
        ])
        self.forget()

    def forget(self):
        """Clear the cache: the configuration behind the shapes has changed. Safe while another thread writes."""
        self.servers = {}
        self.clients = {}

    @property
    def held(self):
        """Return the number of cached shapes."""
        return len(self.servers) + len(self.clients)

    def write(self, records):
        """Return the records' spans as fields of a ScopeSpans: each exchange's span before those of its attempts.

        Raises:
            ValueError: an id is malformed.
        """
        cdef Page page
        cdef char[24] ids
        cdef dict servers = self.servers
        cdef dict clients = self.clients
        cdef tuple attempts
        cdef int index
        page.at = NULL
        page.size = page.room = 0
        try:
            for record in records:
                attempts = record.attempts
                read_id(record.trace_id, 16, ids)
                read_id(record.span_id, 8, ids + 16)
                self.put_server(&page, servers, record, attempts, ids)
                for index in range(len(attempts)):
                    self.put_client(&page, clients, record, index, attempts[index], ids)
            return PyBytes_FromStringAndSize(page.at, page.size)
        finally:
            free(page.at)

    cdef object hold(self, dict shapes, tuple depends, object made):
        """Cache a shape under everything that it depends on; return the shape."""
        if len(shapes) >= self.most:
            shapes.clear()
        shapes[depends] = made
        return made

    cdef int put_server(self, Page* page, dict shapes, object record, tuple attempts, const char* ids) except -1:
        cdef bint grpc = record.grpc
        cdef int status = record.status
        cdef int code = record.grpc_status
        cdef str kind = record.kind
        cdef str parent = record.parent_span_id
        cdef str identity = record.request_id
        cdef str path = record.path
        cdef str link = record.link
        cdef uint64_t began = record.started_ns
        cdef int64_t first = record.first_ns
        cdef int64_t queued = record.queue_ns
        cdef int64_t cost
        cdef Py_ssize_t path_size = 0
        cdef Py_ssize_t identity_size = 0
        cdef const char* path_text = PyUnicode_AsUTF8AndSize(path, &path_size)
        cdef const char* identity_text = PyUnicode_AsUTF8AndSize(identity, &identity_size)
        cdef char[24] other
        cdef char* begun
        cdef char* p
        cdef bytes shape
        cdef tuple depends = (
            record.method, record.scheme, record.http_version, path if grpc else "", record.kept, record.region,
            record.route, kind, record.operation, record.model, status, code, grpc, record.stream, record.key,
            record.priority, record.hops, record.cache, record.rescues, len(attempts), not parent,
            record.reason if status >= SERVER_ERROR or status == 0 or code > 0 else "",
        )
        found = shapes.get(depends)
        if found is None:
            found = self.hold(shapes, depends, self.server(record))
        shape = found
        begun = room_for(page, PyBytes_GET_SIZE(shape) + path_size + identity_size + self.keys + OWN_SIZE)
        p = put(begun + 3, PyBytes_AS_STRING(shape), PyBytes_GET_SIZE(shape))
        p = put_short(p, TRACE_ID, ids, 16)
        p = put_short(p, SPAN_ID, ids + 16, 8)
        p = put_fixed64(p, START_TIME, began)
        p = put_fixed64(p, END_TIME, began + <uint64_t>record.duration_ns)
        p = put_text(p, self.path, path_text, path_size, b"", 0)
        if identity_size:
            p = put_text(p, self.request_id, identity_text, identity_size, b"", 0)
        if parent:
            read_id(parent, 8, other)
            p = put_short(p, PARENT_SPAN_ID, other, 8)
        there, _, span = link.partition("-") if link else NO_LINK
        if span:
            read_id(there, 16, other)
            read_id(span, 8, other + 16)
            p[0] = LINKS
            p[1] = LINK_SIZE
            p = put_short(p + 2, LINK_TRACE_ID, other, 16)
            p = put_short(p, LINK_SPAN_ID, other + 16, 8)
            p[0] = LINK_FLAGS
            p[1] = <char>(REMOTE & 255)
            p[2] = <char>(REMOTE >> 8)
            p[3] = p[4] = 0
            p += 5
        if first >= 0:
            p = put_number(p, self.first_content, first * SECONDS)
        if queued:
            p = put_number(p, self.queued, queued * SECONDS)
        if kind == "model":
            p = self.put_tokens(p, record)
            cost = record.cost_nano
            if cost:
                p = put_number(p, self.cost, cost * SECONDS)
        end_span(page, begun, p)
        return 0

    cdef int put_client(
        self, Page* page, dict shapes, object record, int index, object attempt, const char* ids
    ) except -1:
        cdef bint grpc = record.grpc
        cdef str outcome = attempt.outcome
        cdef str path = record.path
        cdef uint64_t exchange = record.started_ns
        cdef int64_t start = attempt.started_ns
        cdef int64_t end = attempt.ended_ns
        cdef int64_t at
        cdef bint of_model
        cdef Py_ssize_t path_size = 0
        cdef const char* path_text = PyUnicode_AsUTF8AndSize(path, &path_size)
        cdef char[8] own
        cdef char* begun
        cdef char* p
        cdef bytes fixed
        cdef bytes event
        cdef bytes url
        cdef tuple depends = (
            attempt.target, outcome, attempt.detail, attempt.status, attempt.tripped, index, record.method,
            record.route, record.kind, record.operation, record.model, record.stream, attempt.dropped_events,
            attempt.hedge,
            (path, record.grpc_status, attempt.grpc_status) if grpc else None,
        )
        found = shapes.get(depends)
        if found is None:
            found = self.hold(shapes, depends, self.client(record, index))
        fixed, event, url, of_model = <tuple>found
        read_id(attempt.span_id, 8, own)
        begun = room_for(
            page,
            PyBytes_GET_SIZE(fixed) + PyBytes_GET_SIZE(event) + PyBytes_GET_SIZE(url) + path_size + self.keys + OWN_SIZE,
        )
        p = put(begun + 3, PyBytes_AS_STRING(fixed), PyBytes_GET_SIZE(fixed))
        p = put_short(p, TRACE_ID, ids, 16)
        p = put_short(p, SPAN_ID, own, 8)
        p = put_short(p, PARENT_SPAN_ID, ids + 16, 8)
        end = exchange + max(start, end)
        p = put_fixed64(p, START_TIME, exchange + start)
        p = put_fixed64(p, END_TIME, end)
        at = attempt.connected_ns
        if at >= 0:
            p = put_number(p, self.connected, (at - start) * SECONDS)
        at = attempt.asked_ns
        if at >= 0:
            p = put_number(p, self.sent, (at - start) * SECONDS)
        at = attempt.head_ns
        if at >= 0:
            p = put_number(p, self.first_byte, (at - start) * SECONDS)
        at = attempt.content_ns
        if at >= 0:
            p = put_number(p, self.first_content, (at - start) * SECONDS)
        if of_model and outcome == "ok":
            if at >= 0 and record.stream:
                p = put_number(p, self.first_chunk, (at - start) * SECONDS)
            p = self.put_tokens(p, record)
        if url:
            p = put_text(p, self.url, PyBytes_AS_STRING(url), PyBytes_GET_SIZE(url), path_text, path_size)
        if event:
            p[0] = EVENTS
            p = put_varint(p + 1, 9 + PyBytes_GET_SIZE(event))
            p = put_fixed64(p, EVENT_TIME, end)
            p = put(p, PyBytes_AS_STRING(event), PyBytes_GET_SIZE(event))
        end_span(page, begun, p)
        return 0

    cdef char* put_tokens(self, char* p, object record) except NULL:
        cdef int64_t prompt = record.prompt_tokens
        cdef int64_t output = record.output_tokens
        if prompt >= 0:
            p = put_count(p, self.input_tokens, prompt)
        if output >= 0:
            p = put_count(p, self.output_tokens, output)
        return p
