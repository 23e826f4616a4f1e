from native.state.allowance cimport BOUND_BUDGET, usual_output
from native.balance.balancer cimport CELL_STREAM, CELL_WHOLE
from native.io.atomics cimport add64
from native.state.shared_state cimport CANCELLED, R_LIMITED, W_HOPS_REFUSED, W_UNBUFFERED
from native.state.callers cimport SHOWN_NONE, Callers
from native.io.clock cimport monotonic_ns
from native.codec.grpc cimport frame, is_grpc, timeout_ns, unframe
from native.codec.field_rules cimport field_value, plain_path
from native.codec.numbers cimport parse_seconds
from native.codec.json_text cimport unescape_json
from native.codec.request_peek cimport PEEK_OK, peek_request
from native.proxy.router cimport OPERATION_CHAT, OPERATION_EMBEDDINGS, OPERATION_HEALTH, OPERATION_MODELS, OPERATION_SERVICE, OPERATION_UNKNOWN, Route
from native.codec.head cimport NO_BODY, UNKNOWN_LENGTH, Head
from native.http.stream cimport ClientCertificate, ClientStream

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from hmac import compare_digest

# A message to one of edge's own methods: they are questions, not uploads, and health is asked without a key, so that they
# may not have a part in what data_plane.hold bounds.
cdef Py_ssize_t LOCAL_LIMIT = 4096
# What a client says to edge and no provider may hear. Credentials go last, from the target.
cdef frozenset WITHHELD = frozenset((
    b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key", b"cookie", b"forwarded", b"via", b"x-forwarded-for",
    b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip", b"accept-encoding", b"baggage", b"tracestate", b"traceparent",
    b"origin", b"referer", b"openai-organization", b"openai-project", b"x-edge-peer-token", b"x-edge-hops", b"x-edge-key-name",
    b"x-edge-class", b"x-request-timeout",
))
# Where the traceparent of an attempt will stand.
cdef tuple NO_TRACEPARENT = (b"traceparent", b"")
# What stands in a caller's way, by native.state.allowance.Bound, as edge.listen.reply knows it.
cdef tuple LIMITED = (
    None, "rate_limited_requests", "rate_limited_tokens", "rate_limited_concurrent", "rate_limited_budget",
)
cdef tuple CLASSES = (b"high", b"normal", b"low")
cdef bytes GRPC_HEALTH = b"/grpc.health.v1.Health/"
cdef tuple FROM_HTTP = (b"x-forwarded-proto", b"http")
cdef tuple FROM_HTTPS = (b"x-forwarded-proto", b"https")
# A provider's API version, such as 2025-04-01-preview, is no longer than this.
cdef Py_ssize_t VERSION_LIMIT = 32
cdef tuple VIA_10 = (b"via", b"1.0 edge")
cdef tuple VIA_11 = (b"via", b"1.1 edge")
cdef tuple VIA_20 = (b"via", b"2 edge")
# Many requests come on one connection: who asked last usually asks next, and asks the same host.
cdef object LAST_PEER = None
cdef tuple LAST_ADDRESS = (b"x-forwarded-for", b"unknown")
cdef tuple LAST_HOST = (b"x-forwarded-host", b"")


cdef tuple address_of(object peer):
    """The IP address of a socket's name, as it is forwarded."""
    global LAST_PEER, LAST_ADDRESS
    if peer is not LAST_PEER:
        LAST_ADDRESS = (b"x-forwarded-for", str(peer[0]).encode() if isinstance(peer, tuple) else b"unknown")
        LAST_PEER = peer
    return LAST_ADDRESS


cdef bytes kept_query(bytes query):
    """What a provider may hear of a caller's query: OpenAI's dialect needs none, but Azure's paths want a date of it.
    Everything else stays here, for some callers put their key there (``?key=``)."""
    cdef bytes value
    for pair in query.split(b"&"):
        if pair.startswith(b"api-version="):
            value = pair[12:]
            if PyBytes_GET_SIZE(value) <= VERSION_LIMIT and value.replace(b"-", b"").replace(b".", b"").isalnum():
                return b"?" + pair
    return b""


cdef tuple host_field(bytes authority):
    """What was asked for, as it is forwarded."""
    global LAST_HOST
    if LAST_HOST[1] is not authority:
        LAST_HOST = (b"x-forwarded-host", authority)
    return LAST_HOST


cdef class Intake(ExchangeCore):
    """What an exchange asks for, before it is known who answers."""

    # --- admission and routing ---------------------------------------------------------------------------------------
    cdef admit(self):
        cdef DataPlaneCore data_plane = self.data_plane
        cdef Head head = self.head
        cdef Route route = None
        self.key = -1
        self.code = -1
        self.priority = 1
        self.credential_field = -1
        if data_plane.regional and not self.hear_peer():
            return
        self.grpc = head.version == 20 and is_grpc(head.content_type)
        self.operation = data_plane.router.operation(head.path)
        if self.grpc and data_plane.calls is not None and self.operation == OPERATION_UNKNOWN:
            self.response_format = data_plane.calls.response_format(head.path)
            if self.response_format == LOCAL:
                if not head.path.startswith(GRPC_HEALTH) and not self.identify():
                    return
                self.body = []
                self.unread = b""
                return
            if self.response_format != PLAIN:
                self.operation = OPERATION_CHAT
                if self.identify():
                    self.admit_model()
                return
        if data_plane.router.hosts and not self.peer and (self.operation == OPERATION_UNKNOWN or head.host in data_plane.router.hosts):
            route = data_plane.router.service(head.host, head.path)
        if (route is not None or self.operation != OPERATION_HEALTH) and not self.identify():
            return
        if route is not None:
            self.operation = OPERATION_SERVICE
            self.route = route
            self.route_service()
            return
        if self.operation == OPERATION_UNKNOWN:
            self.refuse("unknown_path", head.path.decode("latin-1"), None)
        elif self.operation == OPERATION_MODELS or self.operation == OPERATION_HEALTH:
            if head.method != b"GET" and head.method != b"HEAD":
                self.refuse("method", head.method.decode("latin-1"), [(b"allow", b"GET, HEAD")])
                return
            status, fields, content = data_plane.local(self.operation, head.method, head.path, data_plane.router.snapshot, self.caller)
            self.answer(status, list(fields), content)
        else:
            self.admit_model()

    cdef bint hear_peer(self):
        """Is this another region's edge?  Only then is it believed where the request has been, and for whom it is.

        Of a client the fields count for nothing, but one: who says that a request has been elsewhere does not have it
        sent there again. Who is known by a certificate alone speaks as an edge where it says where the request has been,
        which edges do each time; otherwise it is a client. False: the request has been refused.
        """
        cdef DataPlaneCore data_plane = self.data_plane
        cdef bytes token = field_value(self.head.fields, b"x-edge-peer-token")
        cdef bytes hops = field_value(self.head.fields, b"x-edge-hops")
        cdef ClientCertificate certificate = self.stream.certificate
        cdef list names
        self.hops = hops
        if (token is None or data_plane.peer_token is None or not compare_digest(token, data_plane.peer_token)) and (
            certificate is None or hops is None or not data_plane.knows(certificate)
        ):
            return True
        self.peer = True
        self.caller_name = field_value(self.head.fields, b"x-edge-key-name")
        self.caller_class = field_value(self.head.fields, b"x-edge-class")
        if hops is not None:
            names = hops.split(b",")
            if len(names) > MOST_HOPS or data_plane.region in names:
                add64(&data_plane.meter.count[<int>W_HOPS_REFUSED], 1)
                self.refuse("peer_loop", hops.decode("latin-1"), None)
                return False
        return True

    cdef bint identify(self):
        """Whose key does it come with?  False: it has been refused."""
        cdef Callers callers = self.data_plane.router.callers
        cdef int shown = 0
        if self.peer and self.caller_class in CLASSES:
            self.priority = CLASSES.index(self.caller_class)
        if callers is None or self.peer:
            return True     # a peer has admitted its caller itself, and charges it
        self.caller = callers.find(self.head.fields, &shown, &self.credential_field)
        if self.caller is not None:
            self.key = self.caller.slot
            self.priority = self.caller.priority
            self.caller_name = self.caller.told_name
            self.caller_class = self.caller.told_class
        elif not self.stream.allow_anonymous:
            self.refuse("missing_key" if shown == <int>SHOWN_NONE else "unknown_key", "", None)
            return False
        return True

    cdef admit_model(self):
        cdef DataPlaneCore data_plane = self.data_plane
        cdef Head head = self.head
        if head.method != b"POST":
            self.refuse("method", head.method.decode("latin-1"), [(b"allow", b"POST")])
        elif head.length == NO_BODY:
            self.refuse("body_missing", "", None)
        elif head.length > data_plane.body_limit:
            self.refuse("body_too_large", str(data_plane.body_limit), None)
        elif head.length > data_plane.buffered_limit - data_plane.buffered:
            self.overfull()     # before the client is told to go on
        else:
            self.body = []
            self.stream.body_buffered = True
            if head.expects:
                self.stream.send_interim(100)

    cdef void on_request_data(self, bytes data):
        cdef Attempt attempt = self.attempt
        cdef ClientStream upstream
        if self.over:
            return
        self.body_size += PyBytes_GET_SIZE(data)
        if self.response_format == LOCAL:
            self.hear_local(data)
            return
        if self.operation != OPERATION_SERVICE:
            if self.body_size > self.data_plane.body_limit:
                self.body = None
                self.refuse("body_too_large", str(self.data_plane.body_limit), None)
            elif self.hold(self.body_size):
                self.body.append(data)
            else:
                self.overfull()
            return
        if self.tunnel:
            upstream = None if attempt is None else attempt.stream
            if upstream is not None:
                attempt.last_ns = monotonic_ns()
                upstream.send_data(data)
            return
        if attempt is None or not attempt.sent:
            if not self.hold(self.body_size):
                self.overfull()
                return
            self.body.append(data)
            if self.body_size > self.data_plane.replay_limit:
                self.stream.pause()
            return
        if self.replayable:
            if self.body_size > self.data_plane.replay_limit or not self.hold(self.body_size):
                self.replayable = False
                self.body = None
                self.hold(0)
            else:
                self.body.append(data)
        upstream = attempt.stream
        if upstream is not None:
            if self.committed:
                attempt.last_ns = monotonic_ns()    # who is still being asked has not stopped answering
            upstream.send_data(data)

    cdef overfull(self):
        """There is no room for what comes: the request ends here, and nobody upstream is to blame."""
        cdef DataPlaneCore data_plane = self.data_plane
        cdef Attempt attempt = self.attempt
        # not all at the same moment
        cdef tuple problem = data_plane.reply.problem("buffers_full", str(1 + data_plane.random() % 3))
        add64(&data_plane.meter.count[<int>W_UNBUFFERED], 1)
        self.body = None
        if attempt is not None:
            attempt.settle(CANCELLED, monotonic_ns())
            attempt.leave()
            self.attempt = None
        self.answer_problem(problem)

    cdef void on_request_end(self, list trailers):
        cdef Attempt attempt = self.attempt
        cdef ClientStream upstream
        if self.over or self.received:
            return
        self.received = True
        self.trailers = trailers
        self.stream.resume()        # who is not read is not seen to leave
        if self.response_format == LOCAL:
            if not self.data_plane.calls.stays(self.head.path):
                stream = self.stream
                self.close(200)
                if not self.committed:
                    stream.send_head(200, [(b"content-type", b"application/grpc")], UNKNOWN_LENGTH)
                stream.send_end([(b"grpc-status", b"0")])
        elif self.operation != OPERATION_SERVICE:
            self.request_complete_ns = monotonic_ns()
            self.route_model()
        elif attempt is not None and attempt.sent:
            attempt.asked()
            upstream = attempt.stream
            if upstream is not None:
                upstream.send_end(trailers)
            if not self.over:
                self.arm_deadline(attempt.asked_ns)

    cdef route_model(self):
        """Read what the body asks for, without parsing it, and find the pool that can answer."""
        cdef DataPlaneCore data_plane = self.data_plane
        cdef bytes name
        cdef tuple pair
        self.content = <bytes>self.body[0] if len(self.body) == 1 else b"".join(self.body)
        self.body = None
        self.suffix = self.head.path[3:]        # /v1/chat/completions -> /chat/completions
        if PyBytes_GET_SIZE(self.head.target) > PyBytes_GET_SIZE(self.head.path):
            self.suffix += kept_query(self.head.target[PyBytes_GET_SIZE(self.head.path) + 1:])
        if self.response_format != PLAIN:
            self.read_call()
            if self.over:
                return
            if not self.hold(PyBytes_GET_SIZE(self.content)):
                self.overfull()
                return
        if peek_request(PyBytes_AS_STRING(self.content), PyBytes_GET_SIZE(self.content), &self.peek) != <int>PEEK_OK:
            self.refuse("malformed_json", f"{self.peek.error}:{self.peek.error_at}", None)
            return
        if self.peek.model_start < 0:
            self.refuse("model_missing", "", None)
            return
        name = self.content[self.peek.model_start:self.peek.model_end]
        if self.peek.model_escaped:
            name = unescape_json(name)
        if self.caller is not None and not self.caller.everything and (name is None or not self.caller.may_use(name)):
            # before anybody learns whether there is such a model
            self.refuse("model_not_allowed", "?" if name is None else name.decode("utf-8", "replace"), None)
            return
        self.route = None if name is None else data_plane.router.model(name)
        if self.route is None:
            self.refuse("unknown_model", "?" if name is None else name.decode("utf-8", "replace"), None)
            return
        self.wildcard = data_plane.router.wildcard_model(name)
        self.translated = self.response_format != PLAIN
        if self.operation == OPERATION_EMBEDDINGS:
            self.peek.stream = 0        # whatever it says: no embedding comes in events
        self.latency_cell = CELL_STREAM if self.peek.stream == 1 else CELL_WHOLE
        if self.response_format == PLAIN:
            self.fields = []
            for item in self.head.fields:
                pair = <tuple>item
                if pair[0] not in WITHHELD:
                    self.fields.append(pair)
                elif PyBytes_GET_SIZE(<bytes>pair[0]) == 17 and pair[0] == b"x-request-timeout":
                    if not self.bind(parse_seconds(<bytes>pair[1]), "request_timeout", <bytes>pair[1]):
                        return
        else:
            self.fields = [(b"content-type", b"application/json")]
        self.prompt_guess = PyBytes_GET_SIZE(self.content) // 4
        if data_plane.router.metered and self.operation != OPERATION_EMBEDDINGS:
            self.output_guess = usual_output(self.route.rec)
            if 0 <= self.peek.max_tokens < <int64_t>self.output_guess:
                self.output_guess = self.peek.max_tokens
        self.begin()

    cdef read_call(self):
        """One message of edge's own gRPC language becomes the JSON body that providers know."""
        cdef DataPlaneCore data_plane = self.data_plane
        cdef list messages = []
        cdef bytes timeout = field_value(self.head.fields, b"grpc-timeout")
        cdef Py_ssize_t used = unframe(self.content, 0, data_plane.body_limit, messages)
        self.suffix = b"/chat/completions"
        if timeout is not None and not self.bind(timeout_ns(timeout), "grpc_timeout", timeout):
            return
        if used == -1:
            self.refuse("compressed_call", "", None)
        elif len(messages) != 1 or used != PyBytes_GET_SIZE(self.content):
            self.refuse("one_message", str(len(messages)), None)
        else:
            try:
                self.content = data_plane.calls.read(messages[0], self.response_format == CHAT_STREAM)
            except ValueError as error:
                self.refuse("bad_message", str(error), None)

    cdef hear_local(self, bytes data):
        """Messages to a method that edge answers itself: each gets its answers at once."""
        cdef DataPlaneCore data_plane = self.data_plane
        cdef ServerStream stream = self.stream
        cdef list messages = []
        cdef Py_ssize_t used
        data = self.unread + data if self.unread else data
        used = unframe(data, 0, LOCAL_LIMIT, messages)
        if used < 0:
            kind = "compressed_call" if used == -1 else "body_too_large"
            if not self.committed:
                self.refuse(kind, str(LOCAL_LIMIT), None)
                return
            status, fields, content = data_plane.reply.problem(kind, str(LOCAL_LIMIT))
            fields = data_plane.reply.call_fields(status, fields, content)
            self.close(200)
            stream.send_end([pair for pair in fields if pair[0].startswith(b"grpc-")])
            return
        self.unread = data[used:]
        for message in messages:
            code, text, answers = data_plane.calls.answer(self.head.path, message, data_plane.router.snapshot, self.caller)
            if not self.committed:
                self.committed = True
                stream.send_head(200, [(b"content-type", b"application/grpc")], UNKNOWN_LENGTH)
            for answer in answers:
                stream.send_data(frame(answer))
            if code:
                self.close(200)
                stream.send_end(data_plane.reply.call_end(code, text))
                return

    cdef route_service(self):
        cdef Head head = self.head
        cdef bytes forwarded = None
        cdef tuple address
        cdef bytes name
        cdef tuple pair
        cdef Py_ssize_t size
        cdef Py_ssize_t place = -1
        if self.caller is not None and not self.caller.may_call(self.route.name):
            self.refuse("model_not_allowed", f"service:{self.route.name}", None)
            return
        if not plain_path(head.path):
            self.refuse("odd_path", head.path.decode("latin-1"), None)
            return
        self.latency_cell = CELL_WHOLE
        self.body = []
        self.replayable = True
        self.request_complete_ns = self.started_ns
        self.received = head.length == NO_BODY
        address = address_of(self.stream.peer())
        self.fields = []
        for item in head.fields:
            pair = <tuple>item
            name = <bytes>pair[0]
            size = PyBytes_GET_SIZE(name)
            place += 1
            if place == self.credential_field:
                continue        # the key is between the caller and edge
            if size == 15 and name == b"x-forwarded-for":
                forwarded = pair[1] if forwarded is None else forwarded + b", " + <bytes>pair[1]
            elif size == 12 and self.grpc and name == b"grpc-timeout":
                if not self.bind(timeout_ns(<bytes>pair[1]), "grpc_timeout", <bytes>pair[1]):
                    return
            elif size == 17 and not self.grpc and name == b"x-request-timeout":
                if not self.bind(parse_seconds(<bytes>pair[1]), "request_timeout", <bytes>pair[1]):
                    return
            elif not (
                size == 17 and name == b"x-forwarded-proto" or size == 16 and name == b"x-forwarded-host"
                or size == 11 and (name == b"traceparent" or name == b"x-edge-hops")    # a service is no region
            ):
                self.fields.append(pair)
        if forwarded is not None:
            address = (b"x-forwarded-for", forwarded + b", " + <bytes>address[1])
        self.fields.append(address)
        self.fields.append(FROM_HTTPS if self.stream.scheme == "https" else FROM_HTTP)
        if head.authority is not None:
            self.fields.append(host_field(head.authority))
        self.fields.append(VIA_20 if head.version == 20 else VIA_11 if head.version == 11 else VIA_10)
        if head.expects:
            self.fields.append((b"expect", b"100-continue"))
        if self.received and head.upgrade is not None and head.upgrade.lower() == b"websocket" and (
            self.route.pool.target_at(0).plan.protocol == "http1"
        ):
            self.stream.upgrade_requested = True
            self.fields.append((b"connection", b"upgrade"))
            self.fields.append((b"upgrade", b"websocket"))
        self.begin()

    cdef bint bind(self, int64_t timeout_ns, str kind, bytes value):
        """The caller's own deadline counts from the request's head; below 0 it is none, and refused as ``kind``. Of
        several the earliest holds."""
        cdef uint64_t when = self.started_ns + <uint64_t>timeout_ns
        if timeout_ns < 0:
            self.refuse(kind, value.decode("latin-1"), None)
            return False
        if not self.bounded or when < self.total_ns:
            self.bounded = True
            self.total_ns = when
        return True

    cdef follow(self):
        """Give the exchange its place in a trace, and decide whether it is recorded."""
        cdef DataPlaneCore data_plane = self.data_plane
        cdef uint64_t[3] chance
        cdef bytes caller = None
        cdef bint goes_on
        cdef tuple pair
        for item in self.head.fields:
            pair = <tuple>item
            if PyBytes_GET_SIZE(<bytes>pair[0]) == 11 and <bytes>pair[0] == b"traceparent":
                # said twice it says nothing
                caller = <bytes>pair[1] if caller is None else b""
        chance[0] = data_plane.random()
        chance[1] = data_plane.random()
        chance[2] = data_plane.random()
        goes_on = data_plane.recorder.begin(&self.trace, caller, self.peer, self.started_ns, chance)
        if self.fields is not None:
            if not goes_on and self.operation == OPERATION_SERVICE and field_value(self.fields, b"tracestate") is not None:
                # it belongs to a trace that does not go on
                self.fields = [item for item in self.fields if (<tuple>item)[0] != b"tracestate"]
            self.trace_at = len(self.fields)
            self.fields.append(NO_TRACEPARENT)

    cdef bint enter(self):
        """Take what this asks for out of the caller's allowance; False: it has been refused."""
        cdef DataPlaneCore data_plane = self.data_plane
        cdef uint64_t now = monotonic_ns()
        cdef uint64_t wait = 0
        # a service costs no tokens and no money: no month is looked at
        cdef uint64_t month = 0 if self.operation == OPERATION_SERVICE else data_plane.month
        cdef int bound = self.caller.enter(data_plane.worker, now, self.prompt_guess + self.output_guess, month, &wait)
        if bound == 0:
            self.entered = True
            return True
        if bound == <int>BOUND_BUDGET:
            wait = data_plane.month_end_ns - now if data_plane.month_end_ns > now else 1
        add64(&self.route.rec.count[<int>R_LIMITED], 1)
        self.answer_problem(data_plane.reply.problem(LIMITED[bound], str((wait + 999_999_999) // 1_000_000_000)))
        return False

    cdef repay(self, uint64_t now):
        """What this used is known before the answer goes out: what was reserved beyond it is there for others now."""
        if self.entered:
            self.caller.repay(
                now, self.prompt_guess + self.output_guess, <uint64_t>(self.prompt_tokens + self.output_tokens)
            )
            self.prompt_guess = <uint64_t>self.prompt_tokens
            self.output_guess = <uint64_t>self.output_tokens

    # --- what the other parts do: a missing override is a fault of the programmer and says so --------------------------
    cdef begin(self):
        raise TypeError("Intake.begin is not implemented")

    cdef refuse(self, str kind, str detail, list extra):
        raise TypeError("Intake.refuse is not implemented")

    cdef answer_problem(self, tuple problem):
        raise TypeError("Intake.answer_problem is not implemented")

    cdef answer(self, int status, list fields, bytes content):
        raise TypeError("Intake.answer is not implemented")

    cdef close(self, int status):
        raise TypeError("Intake.close is not implemented")
