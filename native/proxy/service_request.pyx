from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from native.balance.balancer cimport CELL_WHOLE
from native.codec.field_list cimport add_item, add_items, new_list
from native.codec.field_names cimport NOT_FOR_SERVICES, is_clear, known_names, mark_names
from native.codec.grpc cimport timeout_ns, write_timeout
from native.codec.head cimport NO_BODY, Head
from native.codec.numbers cimport parse_seconds, write_seconds
from native.codec.pieces cimport add_piece
from native.codec.trace_context cimport write_traceparent
from native.http.connection_pool cimport ConnectionPool
from native.proxy.forwarded cimport (
    EDGES_OWN, FORWARDED, FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, NO_CLAIM, PROTO_FIELDS, VIA_FIELDS,
    address_field, claim_of, forwarded_element, host_field,
)
from native.proxy.request cimport refusal
from native.state.callers cimport Caller, Callers

# Fields that edge adds to those of a client: who asks, how, for what host and by what way, and the traceparent.
cdef int OWN_FIELDS = 5
# What collect_fields looks at; credentials are marked where they are known (native/state/callers).
mark_names((b"grpc-timeout", b"x-request-timeout", b"traceparent"), NOT_FOR_SERVICES)
mark_names([name for name in known_names() if claim_of(name) != NO_CLAIM], NOT_FOR_SERVICES)
# Idempotent methods (RFC 9110 9.2.2): such a request to a service may be sent again.
cdef frozenset IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE"))


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
        cdef tuple used = None              # the field that holds the caller's credential
        cdef int claim
        if self.identity.credential_field >= 0:
            used = <tuple>head.fields[self.identity.credential_field]
        self.fields = new_list(len(head.fields) + OWN_FIELDS)
        for item in head.fields:
            pair = <tuple>item
            name = <bytes>pair[0]
            size = PyBytes_GET_SIZE(name)
            place += 1
            if place == self.identity.credential_field:
                continue        # the service does not get the caller's key
            if is_clear(name, NOT_FOR_SERVICES):
                add_item(self.fields, pair)
                continue
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
                size == 11 and name == b"traceparent"
                or callers is not None and callers.knows(name, <bytes>pair[1], used)
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
            add_piece(self.body, data)
            if self.body_size > self.runtime.limits.retry_buffer:
                self.stream.pause()
            return None
        if self.replayable:
            if self.body_size > self.runtime.limits.retry_buffer or not self.hold(self.body_size):
                self.replayable = False
                self.release()
            else:
                add_piece(self.body, data)
        if self.upstream is not None:
            self.upstream.send_data(data)
        return None

    cdef bint may_resend(self, bint sent, bint refused) noexcept:
        if not sent:
            return True
        if not self.replayable:
            return False
        return self.grpc or refused or self.route.idempotent or self.head.method in IDEMPOTENT

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

    cdef int upload_ended(self) except -1:
        self.asked = False
        self.upstream = None

    cdef release(self):
        self.replayable = False
        self.body = None
        self.hold(0)
