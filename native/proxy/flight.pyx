from cpython.bytes cimport PyBytes_GET_SIZE
from libc.string cimport memcmp
from native.codec.field_list cimport FieldView, field_at
from native.codec.field_rules cimport field_value
from native.codec.pieces cimport add_piece
from native.http.stream cimport Acceptor
from native.proxy.model_request cimport ModelRequest
from native.proxy.request cimport PLAIN
from native.proxy.router cimport Route
from native.proxy.steps cimport Event
from native.state.answer_store cimport CacheEntry
from native.state.shared_state cimport R_CACHE_HITS, R_CACHE_JOINED, R_CACHE_STALE

# An answer above this size is not kept. It is held in addition to what the client is sent.
cdef Py_ssize_t MOST_KEPT = 4 * 1024 * 1024


cdef bytes asked_with(list fields):
    """Return the fields that are part of the question: those that change what a provider answers, or which one does."""
    cdef list found = None
    cdef FieldView field
    cdef Py_ssize_t at
    for at in range(len(fields)):
        if not field_at(fields, at, &field) or (
            (field.name_size < 7 or memcmp(field.name, b"openai-", 7) != 0)
            and (field.name_size < 10 or memcmp(field.name, b"anthropic-", 10) != 0)
            and (field.name_size != 13 or memcmp(field.name, b"x-edge-canary", 13) != 0)
            and (field.name_size != 14 or memcmp(field.name, b"x-edge-require", 14) != 0)
        ):
            continue
        if found is None:
            found = []
        name, value = <tuple>fields[at]
        found.append(name + b":" + value)
    return b"" if found is None else b"\n".join(found)


cdef bytes cache_control(list fields):
    """Return all Cache-Control fields as one, in lower case (RFC 9111 5.2); None: there is none."""
    cdef list found = None
    cdef FieldView field
    cdef Py_ssize_t at
    for at in range(len(fields)):
        if field_at(fields, at, &field) and field.name_size == 13 and memcmp(field.name, b"cache-control", 13) == 0:
            if found is None:
                found = []
            found.append(<bytes>(<tuple>fields[at])[1])
    return None if found is None else b",".join(found).lower()


cdef Flight new_flight(Request request):
    cdef Route route = request.route
    cdef object cache = request.runtime.cache
    cdef ModelRequest asked
    cdef bytes control
    cdef Flight flight
    if cache is None or not route.cache_ttl_ns or not request.is_model() or request.identity.peer:
        return None
    asked = <ModelRequest>request
    if asked.stored or asked.response_format != PLAIN:
        return None         # the answer exists at one provider, or is in another form
    control = cache_control(request.head.fields)
    if control is not None and b"no-store" in control:
        return None
    flight = Flight.__new__(Flight)
    flight.question = request.runtime.questions.name(
        b"\n".join((
            route.cache_scope,
            b"" if asked.wildcard is None else asked.wildcard,
            b"" if route.cache_shared or request.identity.name is None else request.identity.name,
            asked_with(request.head.fields),
        )),
        asked.suffix, asked.content,
    )
    if flight.question is None:
        return None
    flight.cache = cache
    flight.request = request
    flight.ttl_ns = route.cache_ttl_ns
    flight.stale_if_error_ns = route.cache_stale_ns
    flight.refresh = control is not None and b"no-cache" in control
    return flight


cdef class Flight:
    """One exchange's part in the cache of its route."""

    def __repr__(self):
        return f"<Flight {self.number} leads={self.leads}>"

    cdef int look(self, uint64_t now_ns) except -1:
        cdef bint leads
        if self.refresh:
            return Event.NOT_KEPT
        self.entry = self.cache.find(self.question, now_ns)
        if self.entry is not None and self.entry.age_ns < self.ttl_ns:
            return Event.ANSWER_KEPT
        self.entry = None
        if self.waited:
            # Where the other exchange got no answer, those that waited for it do not wait for each other in turn.
            return Event.ANSWER_AWAITED if self.cache.flying(self.question, self.number) else Event.NOT_KEPT
        leads, self.number = self.cache.begin(self.question)
        self.leads = leads
        self.waited = not leads
        return Event.NOT_KEPT if leads else Event.ANSWER_AWAITED

    cdef bint find_stale(self, uint64_t now_ns) except -1:
        if not self.stale_if_error_ns:
            return False
        self.entry = self.cache.find(self.question, now_ns)
        return self.entry is not None

    cdef int counter(self, bint stale) noexcept:
        return R_CACHE_STALE if stale else R_CACHE_JOINED if self.waited else R_CACHE_HITS

    cdef bytes word(self, bint stale):
        return b"stale" if stale else b"joined" if self.waited else b"hit"

    cdef str result(self, bint stale):
        if self.entry is not None:
            return self.word(stale).decode()
        return "bypass" if self.refresh else "miss"

    cdef int begin_answer(self, Head head, bytes target) except -1:
        cdef bytes coding = field_value(head.fields, b"content-encoding")
        cdef bytes kind = field_value(head.fields, b"content-type")
        if head.status != 200 or (coding is not None and coding != b"identity"):
            return 0
        self.target = target
        self.fields = [] if kind is None else [(b"content-type", kind)]
        self.content = []

    cdef void take(self, bytes data) noexcept:
        """Keep more of the answer, unless it is too large or there is no room to hold it."""
        cdef Acceptor acceptor = self.request.runtime.acceptor
        if self.target is None:
            return
        self.size += PyBytes_GET_SIZE(data)
        if self.size > MOST_KEPT or not acceptor.hold(self.request.share, PyBytes_GET_SIZE(data)):
            self.drop()
            return
        self.counted += PyBytes_GET_SIZE(data)
        add_piece(self.content, data)

    cdef void drop(self) noexcept:
        self.target = None
        self.content = None
        if self.counted:
            self.request.runtime.acceptor.count(self.request.share, -self.counted)
            self.counted = 0

    cdef keep(self, bytes tail, uint64_t now_ns):
        if tail is not None:
            self.take(tail)
        if self.target is not None:
            self.cache.keep(
                self.question, CacheEntry(200, self.fields, self.target, b"".join(self.content), 0), now_ns,
                now_ns + self.ttl_ns + self.stale_if_error_ns,
            )
            self.target = None

    cdef end(self):
        self.drop()
        if self.leads:
            self.leads = False
            self.cache.end(self.question, self.number)
