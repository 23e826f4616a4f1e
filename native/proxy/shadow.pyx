from cpython.bytes cimport PyBytes_GET_SIZE
from native.codec.field_rules cimport field_value
from native.http.stream cimport Acceptor
from native.io.atomics cimport add64, load32
from native.proxy.model_request cimport ModelRequest, may_name_objects
from native.proxy.request cimport PLAIN, Identity
from native.proxy.router cimport (
    OPERATION_CHAT, OPERATION_COMPLETIONS, OPERATION_EMBED, OPERATION_EMBEDDINGS, OPERATION_GENERATE, OPERATION_MESSAGES,
    OPERATION_RESPONSES, OPERATION_STREAM,
)
from native.proxy.runtime cimport NEVER
from native.proxy.service_request cimport ServiceRequest
from native.state.callers cimport LOW
from native.state.shared_state cimport (
    R_SHADOW_AGREED, R_SHADOW_BUSY, R_SHADOW_COPY_FIRST_US, R_SHADOW_COPY_OUTPUT_TOKENS, R_SHADOW_COPY_TOTAL_US,
    R_SHADOW_DIFFERED, R_SHADOW_FIRST_US, R_SHADOW_MEMORY, R_SHADOW_OUTPUT_TOKENS, R_SHADOW_TOTAL_US,
    R_SHADOW_UNCOMPARED, R_SHADOW_UNFIT, R_SHADOW_UNUSABLE,
)

# A copy whose answer is longer is ended: it would cost bandwidth, and nobody reads it.
cdef int64_t STREAM_MOST = 64 * 1024 * 1024
# What is carried out twice without harm: the answer is all that the provider makes.
cdef enum:
    COPIED = (
        1 << OPERATION_CHAT | 1 << OPERATION_COMPLETIONS | 1 << OPERATION_EMBEDDINGS | 1 << OPERATION_RESPONSES
        | 1 << OPERATION_MESSAGES | 1 << OPERATION_GENERATE | 1 << OPERATION_STREAM | 1 << OPERATION_EMBED
    )
    BOTH = 3


cdef class ShadowStream(ServerStream):
    def __repr__(self):
        return f"<ShadowStream {self.bytes_in} bytes>"

    cdef int send_interim(self, int status) except -1:
        return 0

    cdef int send_head(self, int status, list fields, int64_t length) except -1:
        return 0

    cdef int send_data(self, bytes data) except -1:
        cdef int64_t before = self.bytes_in
        self.bytes_in += PyBytes_GET_SIZE(data)
        if before <= STREAM_MOST < self.bytes_in:
            self.runtime.copies.append(self)    # it is ended in the next tick, because its attempt is running now

    cdef int send_end(self, list trailers) except -1:
        self.events = None

    cdef int cut(self) except -1:
        self.events = None

    cdef int pause(self) except -1:
        return 0

    cdef int resume(self) except -1:
        return 0

    cdef bint congested(self):
        return False

    cdef object peer(self):
        return None


cdef bint is_fit(Request request):
    """Return whether a request may be carried out twice, and at another target than the caller's."""
    cdef ModelRequest asked
    if request.identity.peer or request.searching or request.sought is not None or request.closed:
        return False        # the region that it came from copies it; or it names what one provider keeps
    if field_value(request.head.fields, b"x-edge-require") is not None:
        return False        # what the caller demands of a target was not checked for this one
    if request.is_model():
        if not <int>COPIED >> request.operation & 1 or not isinstance(request, ModelRequest):
            return False
        asked = <ModelRequest>request
        return not asked.stored and not asked.peek.background == 1 and asked.content is not None and (
            asked.peek.previous_start < 0 and asked.peek.conversation_start < 0
        ) and not asked.names_ids and not may_name_objects(asked.content)
    return (
        isinstance(request, ServiceRequest) and request.head.method in request.route.shadow_methods
        and request.head.upgrade is None and not request.head.expects
        # its body was not too long to be kept, and is not dropped yet because the answer began before its end
        and request.body is not None and (<ServiceRequest>request).replayable
    )


cdef bint is_due(Request request) noexcept:
    return request.route is not None and request.route.shadow is not None and not request.is_collected()


cdef Identity nobody():
    cdef Identity identity = Identity.__new__(Identity)
    identity.key = identity.credential_field = -1
    identity.priority = LOW
    return identity


cdef Request copied(Request request, Route route):
    """Return a request that asks the same, for nobody. It shares the bytes of the body, and counts them again."""
    cdef Request copy
    cdef ModelRequest model, asked
    cdef ServiceRequest service
    if request.is_model():
        copy = model = ModelRequest.__new__(ModelRequest)
        asked = <ModelRequest>request
        model.peek = asked.peek
        model.content = asked.content
        model.boundary = asked.boundary
        model.wildcard = asked.wildcard
        model.suffix = asked.suffix
        model.media = asked.media
        model.turns = asked.turns
        model.text_size = asked.text_size
        model.usual_known = asked.usual_known
        model.wants_usage = asked.wants_usage
        model.dialect = asked.dialect
        copy.response_format = PLAIN        # a call of edge.v1.Inference has become a request in JSON
    else:
        copy = service = ServiceRequest.__new__(ServiceRequest)
        service.replayable = True
        service.body = list(request.body)
        copy.response_format = request.response_format
        copy.grpc = request.grpc
    copy.is_copy = copy.received = True
    copy.runtime = request.runtime
    copy.head = request.head
    copy.route = route
    copy.identity = nobody()
    copy.operation = request.operation
    copy.latency_cell = request.latency_cell
    copy.trailers = request.trailers
    copy.body_size = request.body_size
    copy.needs = request.needs
    copy.prompt_guess = request.prompt_guess
    copy.output_guess = request.output_guess
    copy.output_worst = request.output_worst
    copy.share = request.runtime.copy_share
    copy.fields = request.fields[:request.trace_at]     # what follows is the traceparent of the original
    copy.fields.append((b"x-edge-shadow", request.route.name.encode("ascii", "replace")))
    copy.trace = request.trace
    copy.bounded = request.bounded
    copy.deadline_ns = request.deadline_ns - request.started_ns
    return copy


cdef ShadowCopy copy_of(Request request):
    cdef Route original = request.route
    cdef Route route = original.shadow
    cdef Runtime runtime = request.runtime
    cdef Acceptor acceptor = runtime.acceptor
    cdef Py_ssize_t size
    cdef ShadowCopy copy
    if runtime.random() >= original.shadow_below or runtime.cutting or acceptor.draining:
        return None
    if not is_fit(request):
        add64(&route.rec.count[<int>R_SHADOW_UNFIT], 1)
        return None
    if load32(&route.rec.inflight[runtime.worker]) + route.shadow_waiting >= original.shadow_most:
        add64(&route.rec.count[<int>R_SHADOW_BUSY], 1)
        return None
    size = PyBytes_GET_SIZE((<ModelRequest>request).content) if request.is_model() else request.body_size
    if acceptor.buffered + size > acceptor.buffered_limit // 2:
        add64(&route.rec.count[<int>R_SHADOW_MEMORY], 1)
        return None
    copy = ShadowCopy.__new__(ShadowCopy)
    copy.route = route
    copy.request = copied(request, route)
    if not copy.request.hold(size):
        add64(&route.rec.count[<int>R_SHADOW_MEMORY], 1)
        return None
    route.shadow_waiting += 1
    runtime.copies.append(copy)
    return copy


cdef int start_copy(ShadowCopy copy, uint64_t now) except -1:
    cdef Request request = copy.request
    cdef ShadowStream stream = ShadowStream.__new__(ShadowStream)
    copy.route.shadow_waiting -= 1
    stream.runtime = request.runtime
    stream.scheme = "http"
    request.stream = stream
    request.started_ns = now
    request.deadline_ns = NEVER if request.deadline_ns > NEVER - now else request.deadline_ns + now


cdef class ShadowCopy:
    def __repr__(self):
        return f"<ShadowCopy {self.route.name} over={self.over}>"

    cdef int end(self, int side, int status, int grpc_status, Attempt last, uint64_t output_tokens, uint64_t now) except -1:
        self.status[side] = status
        self.grpc_status[side] = grpc_status
        self.output_tokens[side] = output_tokens
        if last is not None and last.facts.content_ns:
            self.first_us[side] = (last.facts.content_ns - last.facts.started_ns) // 1000
            self.total_us[side] = (now - last.facts.started_ns) // 1000
        self.over |= 1 << side
        if side == 1 and not self.request.reached:
            add64(&self.route.rec.count[<int>R_SHADOW_UNUSABLE], 1)
            self.over = 0       # there is nothing to compare
        elif self.over == BOTH:
            self.compare()

    cdef int compare(self) except -1:
        cdef uint64_t* count = self.route.rec.count
        if self.status[0] < 0 or self.status[1] < 0:
            add64(&count[<int>R_SHADOW_UNCOMPARED], 1)
            return 0
        if self.status[0] != self.status[1] or self.grpc_status[0] != self.grpc_status[1]:
            add64(&count[<int>R_SHADOW_DIFFERED], 1)
            return 0
        add64(&count[<int>R_SHADOW_AGREED], 1)
        if self.first_us[0] and self.first_us[1]:
            add64(&count[<int>R_SHADOW_FIRST_US], self.first_us[0])
            add64(&count[<int>R_SHADOW_COPY_FIRST_US], self.first_us[1])
            add64(&count[<int>R_SHADOW_TOTAL_US], self.total_us[0])
            add64(&count[<int>R_SHADOW_COPY_TOTAL_US], self.total_us[1])
            add64(&count[<int>R_SHADOW_OUTPUT_TOKENS], self.output_tokens[0])
            add64(&count[<int>R_SHADOW_COPY_OUTPUT_TOKENS], self.output_tokens[1])
