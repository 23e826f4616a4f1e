cimport cython
from libc.string cimport memcmp
from native.codec.grpc cimport timeout_ns
from native.codec.field_names cimport kept_name
from native.codec.field_list cimport FieldView, add_item, add_items, field_at, has_name, new_list
from native.proxy.router cimport OPERATION_SERVICE
from native.proxy.runtime cimport NEVER
from native.state.shared_state cimport W_REFUSED, W_REFUSED_KEYS, W_UNBUFFERED, W_UNROUTED

# An upstream that enforces the caller's deadline itself may do so earlier than edge by a fiftieth of it, within these.
cdef uint64_t EARLIEST_NS = 5_000_000
cdef uint64_t LATEST_NS = 100_000_000
LIMITED = (
    None, "rate_limited_requests", "rate_limited_tokens", "rate_limited_concurrent", "rate_limited_budget",
    "rate_limited_budget_held",
)
SMALL_BODY = 65536
COPY_MOST = 1024 * 1024
# How long a copy takes at most where no deadline of its route or its caller is shorter.
cdef uint64_t COPY_LONGEST_NS = 600_000_000_000
# The place of an attempt's traceparent.
cdef bytes TRACESTATE = kept_name(b"tracestate")
cdef tuple NO_TRACEPARENT = (b"traceparent", b"")


cdef Refusal refusal(str kind, str detail="", list fields=None):
    cdef Refusal why = Refusal.__new__(Refusal)
    why.kind = kind
    why.detail = detail
    why.fields = fields
    return why


cdef Refusal refuse_bound(Request request):
    """Refuse a request for a bound of its key before its body is read."""
    cdef list fields = []
    request.identity.caller.add_rate_limits(fields, request.started_ns)
    return refusal(LIMITED[request.bound], str((request.bound_wait_ns + 999_999_999) // 1_000_000_000), fields)


cdef class Refusal:
    def __repr__(self):
        return f"<Refusal {self.kind} {self.detail}>"

    cdef int counter(self) noexcept:
        """Return the counter of this kind. It does not tell models or paths apart, because clients choose those."""
        if self.kind == "buffers_full":
            return W_UNBUFFERED
        if self.kind == "unknown_path" or self.kind == "unknown_model":
            return W_UNROUTED
        if self.kind in ("missing_key", "unknown_key", "unknown_identity", "keys_missing"):
            return W_REFUSED_KEYS
        if self.kind == "token_refused" or self.kind == "signing_keys_missing" or self.kind == "tokens_flooded":
            return W_REFUSED_KEYS
        if self.kind == "model_not_allowed" or self.kind == "model_unpriced" or self.kind == "uncounted":
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
            if not self.runtime.acceptor.hold(self.share, size - self.holding):
                return False
            self.holding = size
            if self.stream is not None:
                self.stream.uploaded = 0 if self.received else size
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
            self.deadline_ns = self.started_ns + COPY_LONGEST_NS if self.is_copy else NEVER

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
        if self.is_copy:        # its trace is that of its original, which alone is sampled and counts as such
            self.trace_at = len(self.fields)
            add_item(self.fields, NO_TRACEPARENT)
            return
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
        if self.head.memo is not None and self.fields is not None and self.fields is self.head.memo.provided:
            self.trace_at = len(self.fields) - 1        # this list is shared, and never changed
        elif self.fields is not None:
            if not trace_continued and self.operation == OPERATION_SERVICE and has_name(self.fields, TRACESTATE):
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

    cdef bint is_collected(self) noexcept:
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

    cdef bint may_hedge(self) noexcept:
        return False

    cdef bint may_resend(self, bint sent, bint refused) noexcept:
        return not sent

    cdef bint send(self, ClientStream stream, ConnectionPool upstream, uint64_t span, uint64_t now):
        return True

    cdef int upload_ended(self) except -1:
        return 0

    cdef release(self):
        self.body = None
        self.hold(0)

    cdef bint is_foreign(self, int index) noexcept:
        return False

    cdef Refusal translate_for(self, int index):
        return None

    cdef bint may_be_rescued(self, int index) noexcept:
        return False
