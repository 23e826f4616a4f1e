cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcmp
from native.balance.balancer cimport CELL_STREAM, CELL_WHOLE, Target
from native.codec.content_coding cimport CODINGS, Decoder, new_decoder
from native.codec.grpc cimport timeout_ns, unframe, write_timeout
from native.codec.head cimport NO_BODY
from native.codec.field_list cimport FieldView, add_item, add_items, field_at, new_list
from native.codec.field_rules cimport field_value
from native.codec.numbers cimport parse_seconds, write_seconds
from native.codec.json_text cimport escape_json, splice, unescape_json
from native.codec.media cimport media_tokens
from native.codec.request_peek cimport PEEK_OK, peek_request, with_usage
from native.io.clock cimport monotonic_ns
from native.proxy.forwarded cimport (
    EDGES_OWN, FORWARDED, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, NO_CLAIM, PROTO_FIELDS, VIA_FIELDS,
    address_field, claim_of, forwarded_element, host_field, kept_query,
)
from native.codec.trace_context cimport write_traceparent
from native.proxy.router cimport (
    OPERATION_CHAT, OPERATION_COMPLETIONS, OPERATION_EMBEDDINGS, OPERATION_RESPONSES, OPERATION_SERVICE,
)
from native.proxy.runtime cimport NEVER
from native.state.allowance cimport longest_output, usual_output
from native.state.callers cimport Callers
from native.state.shared_state cimport W_REFUSED, W_REFUSED_KEYS, W_UNBUFFERED, W_UNROUTED

# The largest message to a gRPC method of edge's own. Health checks need no key, and these messages do not count towards
# limits.max_buffered, so they must be small.
cdef Py_ssize_t LOCAL_LIMIT = 4096
# No answer has this many tokens; sums of larger numbers could overflow.
cdef int64_t MOST_TOKENS = 1_000_000_000
# Fields of a client that no provider gets, besides those of proxies and edge's own (claim_of). The target's own
# credentials are added last.
cdef frozenset WITHHELD = frozenset((
    b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key", b"cookie", b"via", b"accept-encoding", b"baggage",
    b"tracestate", b"traceparent", b"origin", b"referer", b"openai-organization", b"openai-project",
    b"x-request-timeout", b"content-encoding", b"trailer",
))
# An upstream that enforces the caller's deadline itself may do so earlier than edge by a fiftieth of it, within these.
cdef uint64_t EARLIEST_NS = 5_000_000
cdef uint64_t LATEST_NS = 100_000_000
# Fields that edge adds to those of a client: who asks, how, for what host and by what way, and the traceparent.
cdef int OWN_FIELDS = 5
# Bytes of a model's name, in UTF-8 and as JSON may escape each of them. No provider's name has a tenth of that.
cdef Py_ssize_t LONGEST_MODEL = 512
cdef Py_ssize_t LONGEST_ESCAPED = 6 * 512
# The place of an attempt's traceparent.
cdef tuple NO_TRACEPARENT = (b"traceparent", b"")
# Idempotent methods (RFC 9110 9.2.2): such a request to a service may be sent again.
cdef frozenset IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))


cdef Refusal refusal(str kind, str detail="", list fields=None):
    cdef Refusal why = Refusal.__new__(Refusal)
    why.kind = kind
    why.detail = detail
    why.fields = fields
    return why


cdef class Refusal:
    def __repr__(self):
        return f"<Refusal {self.kind} {self.detail}>"

    cdef int counter(self) noexcept:
        """Return the counter of this kind. It does not tell models or paths apart, because clients choose those."""
        if self.kind == "buffers_full":
            return W_UNBUFFERED
        if self.kind == "unknown_path" or self.kind == "unknown_model":
            return W_UNROUTED
        if self.kind == "missing_key" or self.kind == "unknown_key":
            return W_REFUSED_KEYS
        if self.kind == "model_not_allowed" or self.kind == "model_unpriced":
            return W_REFUSED_KEYS
        return W_REFUSED


@cython.freelist(64)
cdef class Identity:
    def __repr__(self):
        return f"<Identity {self.name!r} priority={self.priority}>"


cdef class Request:
    """What one exchange asks for. A subclass decides what happens to its body."""

    def __repr__(self):
        return f"<{type(self).__name__} {self.head.method!r} {self.head.path!r}>"

    cdef bint hold(self, Py_ssize_t size) noexcept:
        if size != self.holding:
            if not self.runtime.acceptor.hold(size - self.holding):
                return False
            self.holding = size
        return True

    cdef Refusal bind(self, int64_t timeout_ns, str kind, bytes value):
        """Apply a deadline that the caller set, counted from the request's head; the earliest of several holds.

        A negative ``timeout_ns`` stands for a malformed ``value``, which is refused as ``kind``."""
        cdef uint64_t when = self.started_ns + <uint64_t>timeout_ns
        if timeout_ns < 0:
            return refusal(kind, value.decode("latin-1"))
        if not self.bounded or when < self.deadline_ns:
            self.bounded = True
            self.deadline_ns = when
        return None

    cdef void bind_route(self) noexcept:
        cdef uint64_t total_ns = self.route.timeouts.total_ns
        if total_ns and (not self.bounded or self.started_ns + total_ns < self.deadline_ns):
            self.deadline_ns = self.started_ns + total_ns
        elif not self.bounded:
            self.deadline_ns = NEVER

    cdef bint caller_is_over(self, uint64_t now, bint told) noexcept:
        cdef uint64_t early = 0
        if not self.bounded:
            return False
        if told:
            # the upstream counts from another moment, on another clock, with a rounded duration
            early = min(max((self.deadline_ns - self.started_ns) // 50, EARLIEST_NS), LATEST_NS)
        return now + early >= self.deadline_ns

    cdef begin_trace(self):
        """Give the request its place in a trace, and decide whether it is recorded."""
        cdef uint64_t[3] chance
        cdef bytes caller = None
        cdef bint trace_continued
        cdef FieldView field
        cdef Py_ssize_t at
        for at in range(len(self.head.fields)):
            if field_at(self.head.fields, at, &field) and field.name_size == 11 and (
                memcmp(field.name, b"traceparent", 11) == 0
            ):
                # a traceparent that comes twice is ignored
                caller = <bytes>(<tuple>self.head.fields[at])[1] if caller is None else b""
        chance[0] = self.runtime.random()
        chance[1] = self.runtime.random()
        chance[2] = self.runtime.random()
        trace_continued = self.runtime.recorder.begin(&self.trace, caller, self.identity.peer, self.started_ns, chance)
        if self.fields is not None:
            if not trace_continued and self.operation == OPERATION_SERVICE and field_value(self.fields, b"tracestate") is not None:
                # it belongs to a trace that is not continued
                self.fields = [item for item in self.fields if (<tuple>item)[0] != b"tracestate"]
            self.trace_at = len(self.fields)
            add_item(self.fields, NO_TRACEPARENT)

    cdef list fields_for(self, ConnectionPool upstream):
        """Return a copy of the fields, because each attempt adds its own traceparent, credentials and deadline."""
        cdef list fields = new_list(len(self.fields) + len(upstream.fields) + 1)
        add_items(fields, self.fields)
        return fields

    cdef bint is_model(self) noexcept:
        return False

    cdef Refusal take_data(self, bytes data):
        return None

    cdef Refusal take_end(self, list trailers):
        self.trailers = trailers
        return None

    cdef bint streams(self) noexcept:
        return False

    cdef bint may_join(self) noexcept:
        return False

    cdef bint may_resend(self, bint sent, bint refused) noexcept:
        return not sent

    cdef bint send(self, ClientStream stream, ConnectionPool upstream, uint64_t span, uint64_t now):
        return True

    cdef void upload_ended(self):
        return

    cdef release(self):
        self.body = None
        self.hold(0)


cdef bint allowed(Caller caller, bytes name, Route route):
    """Return whether a caller may use a model: by its name, or by that of the pattern which the name fits."""
    return caller.may_use(name) or (route is not None and route.is_pattern and caller.may_use(route.name.encode()))


cdef class ModelRequest(Request):
    """A request to a model. Its body is collected, scanned without building objects, and sent to one target or more."""

    cdef bint is_model(self) noexcept:
        return True

    cdef Refusal take_data(self, bytes data):
        if self.body_size > self.runtime.limits.body:
            self.body = None
            return refusal("body_too_large", str(self.runtime.limits.body))
        if not self.hold(self.body_size):
            return refusal("buffers_full")
        self.body.append(data)
        return None

    cdef Refusal take_end(self, list trailers):
        """Read the model and the options from the body, and find the route."""
        cdef Runtime runtime = self.runtime
        cdef Caller caller = self.identity.caller
        cdef Refusal why
        cdef bytes name
        cdef tuple pair
        self.request_complete_ns = monotonic_ns()
        self.content = <bytes>self.body[0] if len(self.body) == 1 else b"".join(self.body)
        self.body = None
        self.suffix = self.head.path[3:]        # /v1/chat/completions -> /chat/completions
        if PyBytes_GET_SIZE(self.head.target) > PyBytes_GET_SIZE(self.head.path):
            self.suffix += kept_query(self.head.target[PyBytes_GET_SIZE(self.head.path) + 1:])
        if self.response_format != PLAIN:
            why = self.read_call()
            if why is not None:
                return why
            if not self.hold(PyBytes_GET_SIZE(self.content)):
                return refusal("buffers_full")
        elif self.head.content_encoding is not None and self.head.content_encoding != b"identity":
            why = self.decode()
            if why is not None:
                return why
        if peek_request(
            PyBytes_AS_STRING(self.content), PyBytes_GET_SIZE(self.content), &self.peek,
            &self.media if runtime.router.metered else NULL,
        ) != <int>PEEK_OK:
            return refusal("malformed_json", f"{self.peek.error}:{self.peek.error_at}")
        if self.peek.model_start < 0:
            return refusal("model_missing")
        if self.peek.model_end - self.peek.model_start > LONGEST_ESCAPED:
            return refusal("model_too_long", str(LONGEST_MODEL))
        name = self.content[self.peek.model_start:self.peek.model_end]
        if self.peek.model_escaped:
            name = unescape_json(name)
        if name is not None and PyBytes_GET_SIZE(name) > LONGEST_MODEL:
            return refusal("model_too_long", str(LONGEST_MODEL))
        self.route = None if name is None else runtime.router.model(name)
        if caller is not None and not caller.everything and (name is None or not allowed(caller, name, self.route)):
            # checked first, so that the caller does not learn whether the model exists
            return refusal("model_not_allowed", "?" if name is None else name.decode("utf-8", "replace"))
        if self.route is None:
            return refusal("unknown_model", "?" if name is None else name.decode("utf-8", "replace"))
        self.wildcard = runtime.router.wildcard_model(name, self.route)
        if self.operation == OPERATION_EMBEDDINGS:
            self.peek.stream = 0        # embeddings are never streamed, whatever the body says
        # OpenAI stores Responses unless the caller forbids it; other answers are stored on request only.
        self.stored = self.peek.background == 1 or (
            self.peek.store != 0 if self.operation == OPERATION_RESPONSES else self.peek.store == 1
        )
        self.latency_cell = CELL_STREAM if self.peek.stream == 1 else CELL_WHOLE
        if self.response_format == PLAIN:
            self.fields = new_list(len(self.head.fields) + 1)
            for item in self.head.fields:
                pair = <tuple>item
                if pair[0] not in WITHHELD:
                    if claim_of(<bytes>pair[0]) == NO_CLAIM:
                        add_item(self.fields, pair)
                elif PyBytes_GET_SIZE(<bytes>pair[0]) == 17 and pair[0] == b"x-request-timeout":
                    why = self.bind(parse_seconds(<bytes>pair[1]), "request_timeout", <bytes>pair[1])
                    if why is not None:
                        return why
        else:
            self.fields = [(b"content-type", b"application/json")]
        self.text_size = PyBytes_GET_SIZE(self.content) - self.media.size
        self.prompt_guess = self.text_size // 4
        if runtime.router.metered:
            self.estimate()
            if caller is not None and caller.budget_nano:
                why = self.check_prices()
                if why is not None:
                    return why
            self.wants_usage = caller is not None and caller.metered and self.peek.stream and not (
                self.peek.include_usage
            ) and (self.operation == OPERATION_CHAT or self.operation == OPERATION_COMPLETIONS)
        return None

    cdef Refusal check_prices(self):
        cdef Target target
        cdef int i
        for i in range(self.route.pool.size):
            target = self.route.pool.target_at(i)
            if not self.route.regions >> i & 1 and not target.price_of(self.wildcard).known:
                return refusal("model_unpriced", self.route.name if self.wildcard is None else (
                    f"{target.plan.provider}/{self.wildcard.decode('utf-8', 'replace')}"
                ))
        return None

    cdef void estimate(self) noexcept:
        cdef uint64_t usual, most = 0
        cdef Target target
        cdef int i
        if self.route.pool.size:        # its targets may not be discovered yet
            self.prompt_guess = self.prompt_by(self.route.pool.target_at(0).media_rule)
        if self.operation == OPERATION_EMBEDDINGS:
            self.usual_known = True
            return
        usual = usual_output(self.route.rec, &self.usual_known)
        for i in range(self.route.pool.size):
            target = self.route.pool.target_at(i)
            most = max(most, self.output_most(target.price_of(self.wildcard)))
        self.output_guess = min(usual * <uint64_t>self.peek.choices, most)
        self.output_worst = most
        if self.usual_known and self.peek.max_tokens < 0:
            # a bucket that is overdrawn fills again, so what no recent answer needed is not kept free for one
            self.output_worst = max(
                min(most, longest_output(self.route.rec) * <uint64_t>self.peek.choices), self.output_guess
            )

    cdef uint64_t prompt_by(self, int rule) noexcept:
        return self.text_size // 4 + media_tokens(&self.media, rule)

    cdef uint64_t output_most(self, Price price) noexcept:
        cdef int64_t each = price.max_output if self.peek.max_tokens < 0 else min(self.peek.max_tokens, MOST_TOKENS)
        return 0 if self.operation == OPERATION_EMBEDDINGS else <uint64_t>(each * self.peek.choices)

    cdef Refusal read_call(self):
        """Turn the one message of a call of edge.v1.Inference into the JSON body that providers know."""
        cdef Runtime runtime = self.runtime
        cdef Refusal why
        cdef list messages = []
        cdef bytes timeout = field_value(self.head.fields, b"grpc-timeout")
        cdef Py_ssize_t used = unframe(self.content, 0, runtime.limits.body, messages)
        self.suffix = b"/chat/completions"
        if timeout is not None:
            why = self.bind(timeout_ns(timeout), "grpc_timeout", timeout)
            if why is not None:
                return why
        if used == -1:
            return refusal("compressed_call")
        if len(messages) != 1 or used != PyBytes_GET_SIZE(self.content):
            return refusal("one_message", str(len(messages)))
        try:
            self.content = runtime.calls.read(messages[0], self.response_format == CHAT_STREAM)
        except ValueError as error:
            return refusal("bad_message", str(error))
        return None

    cdef bint streams(self) noexcept:
        return self.peek.stream == 1

    cdef bint may_join(self) noexcept:
        return not self.stored

    cdef bint may_resend(self, bint sent, bint refused) noexcept:
        return True

    cdef bytes body_for(self, ConnectionPool upstream):
        """Return the body for a target: that of the client, with the target's name of the model."""
        cdef bytes model = escape_json(upstream.model if upstream.model or self.wildcard is None else self.wildcard)
        cdef bytes content = self.content
        cdef Py_ssize_t start = self.peek.model_start
        if self.with_usage:
            content = with_usage(content, &self.peek)
            if self.peek.options_start < start:     # absent: it was put first
                start += PyBytes_GET_SIZE(content) - PyBytes_GET_SIZE(self.content)
        return splice(content, start, start + self.peek.model_end - self.peek.model_start, model)

    cdef Refusal decode(self):
        """Decode the body, which the client has compressed, within the limits of a body that came as it is."""
        cdef Decoder decoder = new_decoder(self.head.content_encoding)
        cdef bytes plain
        if decoder is None:
            return refusal("body_coding", CODINGS.decode(), [(b"accept-encoding", CODINGS)])
        plain = decoder.feed(self.content, self.runtime.limits.body)
        if plain is None and decoder.given > self.runtime.limits.body:
            return refusal("body_too_large", str(self.runtime.limits.body))
        if plain is None or not decoder.is_complete():
            return refusal("body_broken", self.head.content_encoding.decode("latin-1"))
        self.content = plain
        if not self.hold(PyBytes_GET_SIZE(plain)):
            return refusal("buffers_full")
        return None

    cdef bytes model_as_written(self):
        return self.content[self.peek.model_start:self.peek.model_end]

    cdef bint send(self, ClientStream stream, ConnectionPool upstream, uint64_t span, uint64_t now):
        cdef list fields = self.fields_for(upstream)
        cdef bytes body
        fields[self.trace_at] = (b"traceparent", write_traceparent(&self.trace, span))
        if upstream.is_region:
            self.send_to_region(stream, upstream, fields, now)
            return True
        add_items(fields, upstream.fields)
        body = self.body_for(upstream)
        stream.send_request(
            b"POST", upstream.base_path + self.suffix, upstream.authority, fields, PyBytes_GET_SIZE(body)
        )
        stream.send_data(body)
        return True

    cdef send_to_region(self, ClientStream stream, ConnectionPool upstream, list fields, uint64_t now):
        """Send the client's body to another region's edge, with hops, deadline, caller and trace."""
        cdef bytes region = self.runtime.region
        cdef bytes content = with_usage(self.content, &self.peek) if self.with_usage else self.content
        cdef Identity who = self.identity
        cdef uint64_t left
        fields = [pair for pair in fields if pair[0] != b"x-request-timeout"]
        fields.append((b"x-edge-hops", region if who.hops is None else who.hops + b"," + region))
        if self.deadline_ns != NEVER:
            left = max((self.deadline_ns - now) // 1_000_000, <uint64_t>1) if self.deadline_ns > now else 1
            fields.append((b"x-request-timeout", b"%d.%03d" % (left // 1000, left % 1000)))
        if who.name is not None:
            fields.append((b"x-edge-key-name", who.name))
        if who.priority_name is not None:
            fields.append((b"x-edge-priority", who.priority_name))
        if self.trace.parent:
            # the caller's trace is continued, and the other region is trusted with its tracestate and baggage
            fields.extend([pair for pair in self.head.fields if pair[0] == b"tracestate" or pair[0] == b"baggage"])
        fields.extend(upstream.fields)
        stream.send_request(
            b"POST", upstream.base_path + self.suffix, upstream.authority, fields, PyBytes_GET_SIZE(content)
        )
        stream.send_data(content)

    cdef release(self):
        self.content = None
        self.body = None
        self.hold(0)


cdef class PeerRequest(ModelRequest):
    """A model's request from another region's edge, which queues it, joins late attempts and charges the caller."""

    cdef bint may_join(self) noexcept:
        return False


cdef class ServiceRequest(Request):
    """A request to an internal service. Its body is streamed; the beginning is kept while it may be sent again."""

    cdef Refusal prepare(self):
        """Check the caller and the path, and build the fields for the upstream. The route is known."""
        cdef Head head = self.head
        cdef Caller caller = self.identity.caller
        cdef Refusal why
        if caller is not None and not caller.may_call(self.route.name):
            return refusal("model_not_allowed", f"service:{self.route.name}")
        if self.runtime.router.may_mislead(head.host, head.path, self.route):
            return refusal("odd_path", head.path.decode("latin-1"))
        self.latency_cell = CELL_WHOLE
        self.body = []
        self.replayable = True
        self.request_complete_ns = self.started_ns
        self.received = head.length == NO_BODY
        why = self.collect_fields()
        if why is not None:
            return why
        add_item(self.fields, VIA_FIELDS[0 if head.version == 10 else 2 if head.version == 20 else 1])
        if head.expects:
            self.fields.append((b"expect", b"100-continue"))
        if self.received and head.upgrade is not None and head.upgrade.lower() == b"websocket" and (
            self.route.pool.target_at(0).plan.protocol == "http1"
        ):
            self.stream.upgrade_requested = True
            self.fields.append((b"connection", b"upgrade"))
            self.fields.append((b"upgrade", b"websocket"))
        return None

    cdef Refusal collect_fields(self):
        """Collect the fields for the upstream: the client's, and who asks. What the client itself says about who asks is
        replaced, unless it is a proxy that the listener trusts: then it is kept and extended."""
        cdef Head head = self.head
        cdef Callers callers = self.runtime.router.callers
        cdef tuple peer = self.stream.peer()
        cdef bint trusted = self.stream.policy.trusts(peer)
        cdef tuple address = address_field(peer)
        cdef tuple proto = PROTO_FIELDS[self.stream.scheme == "https"]
        cdef bytes chain = None             # of X-Forwarded-For
        cdef bytes elements = None          # of Forwarded
        cdef bint has_proto = False
        cdef bint has_host = False
        cdef Refusal why
        cdef tuple pair
        cdef bytes name
        cdef Py_ssize_t size
        cdef Py_ssize_t place = -1
        cdef int claim
        self.fields = new_list(len(head.fields) + OWN_FIELDS)
        for item in head.fields:
            pair = <tuple>item
            name = <bytes>pair[0]
            size = PyBytes_GET_SIZE(name)
            place += 1
            if place == self.identity.credential_field:
                continue        # the service does not get the caller's key
            claim = claim_of(name)
            if claim != NO_CLAIM:
                if claim == FORWARDED_FOR and trusted:
                    chain = pair[1] if chain is None else chain + b", " + <bytes>pair[1]
                elif claim == FORWARDED:
                    elements = pair[1] if elements is None or not trusted else elements + b", " + <bytes>pair[1]
                elif claim != EDGES_OWN and trusted:
                    has_proto = has_proto or claim == FORWARDED_PROTO
                    has_host = has_host or claim == FORWARDED_HOST
                    add_item(self.fields, pair)
            elif size == 12 and self.grpc and name == b"grpc-timeout":
                why = self.bind(timeout_ns(<bytes>pair[1]), "grpc_timeout", <bytes>pair[1])
                if why is not None:
                    return why
            elif size == 17 and not self.grpc and name == b"x-request-timeout":
                why = self.bind(parse_seconds(<bytes>pair[1]), "request_timeout", <bytes>pair[1])
                if why is not None:
                    return why
            elif not (
                size == 11 and name == b"traceparent" or callers is not None and callers.knows(name, <bytes>pair[1])
            ):
                add_item(self.fields, pair)
        if chain is not None:
            add_item(self.fields, (b"x-forwarded-for", chain + b", " + <bytes>address[1]))
        else:
            add_item(self.fields, address)
        if not has_proto:
            add_item(self.fields, proto)
        if not has_host and head.authority is not None:
            add_item(self.fields, host_field(head.authority))
        if elements is not None:
            own = forwarded_element(<bytes>address[1], <bytes>proto[1], head.authority)
            add_item(self.fields, (b"forwarded", elements + b", " + own if trusted else own))
        return None

    cdef Refusal take_data(self, bytes data):
        if not self.asked:
            if not self.hold(self.body_size):
                return refusal("buffers_full")
            self.body.append(data)
            if self.body_size > self.runtime.limits.retry_buffer:
                self.stream.pause()
            return None
        if self.replayable:
            if self.body_size > self.runtime.limits.retry_buffer or not self.hold(self.body_size):
                self.replayable = False
                self.release()
            else:
                self.body.append(data)
        if self.upstream is not None:
            self.upstream.send_data(data)
        return None

    cdef bint may_resend(self, bint sent, bint refused) noexcept:
        if not sent:
            return True
        if not self.replayable:
            return False
        return self.grpc or refused or self.head.method in IDEMPOTENT

    cdef bint send(self, ClientStream stream, ConnectionPool upstream, uint64_t span, uint64_t now):
        """Send what has come of the request so far; the rest follows as it comes."""
        cdef Head head = self.head
        cdef list fields = self.fields_for(upstream)
        cdef uint64_t left
        fields[self.trace_at] = (b"traceparent", write_traceparent(&self.trace, span))
        add_items(fields, upstream.fields)
        if self.bounded:
            left = self.deadline_ns - now if self.deadline_ns > now else 1
            add_item(
                fields,
                (b"grpc-timeout", write_timeout(left)) if self.grpc else (b"x-request-timeout", write_seconds(left)),
            )
        self.asked = True
        self.upstream = stream
        stream.send_request(
            head.method, upstream.base_path + head.target if upstream.base_path else head.target,
            head.authority if head.authority is not None else upstream.authority, fields, head.length,
        )
        for data in self.body:
            stream.send_data(<bytes>data)
        if not self.body and not self.received:
            stream.send_data(b"")       # the head goes now: the service may answer before the body comes
        if self.body_size > self.runtime.limits.retry_buffer:
            self.replayable = False
            self.release()
        return self.received

    cdef void upload_ended(self):
        self.asked = False
        self.upstream = None

    cdef release(self):
        self.replayable = False
        self.body = None
        self.hold(0)


cdef class LocalCall(Request):
    """A gRPC call that edge answers itself, message by message."""

    cdef Refusal take_data(self, bytes data):
        """Collect whole messages for the exchange to answer."""
        cdef Py_ssize_t used
        data = self.unread + data if self.unread else data
        self.messages = []
        used = unframe(data, 0, LOCAL_LIMIT, self.messages)
        if used < 0:
            return refusal("compressed_call" if used == -1 else "body_too_large", str(LOCAL_LIMIT))
        self.unread = data[used:]
        return None

    cdef list answer(self, list answers):
        for message in self.messages:
            code, text, more = self.runtime.calls.answer(
                self.head.path, message, self.runtime.router.snapshot, self.identity.caller
            )
            answers.extend(more)
            if code:
                return self.runtime.replies.call_end(code, text)
        return None


cdef class LocalQuery(Request):
    """A request over HTTP that edge answers itself: the list of models, one model, /healthz, or a refusal."""
