from cpython.bytes cimport PyBytes_GET_SIZE
from native.balance.balancer cimport CELL_WHOLE
from native.codec.field_list cimport add_item, add_items, new_list
from native.codec.field_names cimport NOT_FOR_PROVIDERS, is_clear
from native.codec.field_rules cimport field_value
from native.codec.form cimport is_form
from native.codec.head cimport NO_BODY, Head
from native.codec.numbers cimport parse_seconds
from native.codec.pieces cimport add_piece
from native.codec.trace_context cimport write_traceparent
from native.http.stream cimport ClientStream
from native.io.clock cimport wall_ns
from native.proxy.forwarded cimport NO_CLAIM, claim_of, fields_of_dialect, versioned_path
from native.proxy.issuer cimport FOUND_NONE, FOUND_OWN, FOUND_UNKNOWN, owner_of, search_everywhere, seek_issuer
from native.proxy.kept_paths cimport dialect_of_kept, id_of_segment, is_upload, path_at, path_of_kept, segment_of_id
from native.proxy.model_request cimport WITHHELD
from native.proxy.request cimport refusal
from native.proxy.requirements cimport require, require_one
from native.proxy.router cimport OPERATION_FILES, UNCOUNTED
from native.state.callers cimport Caller
from native.state.issued_ids cimport Issued

from urllib.parse import quote, unquote_to_bytes

cdef frozenset METHODS = frozenset((b"GET", b"POST", b"PATCH", b"DELETE"))
# Such a request may be sent to the same target again.
cdef frozenset REPEATABLE = frozenset((b"GET", b"DELETE"))
# Segments of a path are ids and words; anything else could lead elsewhere at a provider.
cdef bytes LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:~"
cdef Py_ssize_t MOST_SEGMENTS = 8
# What a query names an id by: where a page of a list begins.
cdef tuple PAGED = (b"after=", b"before=", b"after_id=", b"before_id=")
cdef Py_ssize_t LONGEST_SEGMENT = 256
cdef Py_ssize_t LONGEST_QUERY = 4096
# Of a host and a port, as they are repeated to the client.
cdef bytes AUTHORITY = LETTERS + b"[]"
cdef frozenset SCHEMES = frozenset((b"http", b"https"))


cdef bytes plain_query(bytes query):
    """Return a query that can be read in one way only: of its names and values exactly what is not unreserved is
    percent-encoded, a plus sign being a space."""
    cdef list pairs = []
    for pair in query[1:].replace(b"+", b"%20").split(b"&"):
        name, equals, value = [unquote_to_bytes(part) for part in pair.partition(b"=")]
        pairs.append(quote(name, safe="") + equals.decode() + quote(value, safe=""))
    return query[:1] + "&".join(pairs).encode()


cdef class StoredRequest(ServiceRequest):
    """A request for what one provider keeps. It is asked of the provider that issued the id which the request names."""

    cdef Refusal prepare(self):
        """Read the path, and decide who is asked, unless the body has to come first."""
        cdef Head head = self.head
        cdef Caller caller = self.identity.caller
        cdef list ids = []
        cdef Refusal why
        cdef tuple pair
        self.route = self.runtime.router.stored
        if self.route is None:
            return refusal("unknown_path", head.path.decode("latin-1"))
        if head.method not in METHODS:
            return refusal("method", head.method.decode("latin-1"), [(b"allow", b"GET, POST, DELETE")])
        why = self.read_path()
        if why is None:
            why = self.read_query(ids)
        if why is not None:
            return why
        self.latency_cell = CELL_WHOLE
        self.body = []
        self.replayable = True
        self.request_complete_ns = self.started_ns
        self.received = head.length == NO_BODY
        self.lists = self.name is None and head.method == b"GET" and self.runtime.router.callers is not None
        if caller is not None and caller.budget_nano and self.creates() and <int>UNCOUNTED >> self.operation & 1:
            return refusal("uncounted", self.path.decode("latin-1"))
        self.fields = new_list(len(head.fields) + 1)
        for item in head.fields:
            pair = <tuple>item
            if is_clear(<bytes>pair[0], NOT_FOR_PROVIDERS):
                add_item(self.fields, pair)
            elif pair[0] not in WITHHELD:
                if claim_of(<bytes>pair[0]) == NO_CLAIM:
                    add_item(self.fields, pair)
            elif pair[0] == b"x-request-timeout":
                why = self.bind(parse_seconds(<bytes>pair[1]), "request_timeout", <bytes>pair[1])
                if why is not None:
                    return why
            elif pair[0] == b"content-encoding":
                add_item(self.fields, pair)
        # an upload alone is a form, and relayed unread: elsewhere a field of a form could name what another key has made
        if not self.received and not (self.operation == OPERATION_FILES and is_form(head.content_type)) and not (
            is_upload(self.path)
        ):
            why = self.check_body()
        else:
            why = self.find_place(ids)
        if why is None and head.expects:
            self.stream.send_interim(100)
        return why

    cdef Refusal read_path(self):
        cdef list segments
        cdef int at
        self.dialect = dialect_of_kept(self.head)
        self.path = path_of_kept(self.head.path)
        segments = self.path[1:].split(b"/")
        at = segment_of_id(self.path)
        if len(segments) > MOST_SEGMENTS:
            return refusal("odd_path", self.path.decode("latin-1"))
        for item in segments:
            if not 0 < PyBytes_GET_SIZE(<bytes>item) <= LONGEST_SEGMENT or item == b"." or item == b".." or (
                (<bytes>item).translate(None, LETTERS)
            ):
                return refusal("odd_path", self.path.decode("latin-1"))
        if 0 < at < len(segments):
            self.name = id_of_segment(self.path, <bytes>segments[at], self.dialect)
        return None

    cdef Refusal read_query(self, list ids):
        """Keep the query, but for a key; the ids among which a page of a list begins are those of its issuer."""
        cdef Py_ssize_t used = PyBytes_GET_SIZE(self.head.path)
        cdef list kept = []
        self.query = b""
        if PyBytes_GET_SIZE(self.head.target) > used + 1:
            if PyBytes_GET_SIZE(self.head.target) - used > LONGEST_QUERY:
                return refusal("odd_path", "?…")
            for pair in self.head.target[used + 1:].split(b"&"):
                if pair.startswith(PAGED):
                    ids.append(pair.partition(b"=")[2])
                elif pair.startswith(b"upload_id="):
                    ids.append(pair)        # as native.proxy.kept_paths.session_of names it
                if pair and not pair.startswith(b"key=") and not pair.startswith(b"api-version="):
                    kept.append(pair)
            if kept:
                self.query = b"?" + b"&".join(kept)
        return None

    cdef Refusal check_body(self):
        """Check what is announced of a body that is collected."""
        cdef Head head = self.head
        self.collects = True
        if head.content_encoding is not None and head.content_encoding != b"identity":
            return refusal("body_coding", "identity", [(b"accept-encoding", b"identity")])
        if head.length > self.runtime.limits.body:
            return refusal("body_too_large", str(self.runtime.limits.body))
        if head.length > self.runtime.acceptor.room(self.stream.share):
            return refusal("buffers_full")
        self.stream.body_buffered = True
        return None

    cdef bint is_collected(self) noexcept:
        return self.collects

    cdef Refusal take_data(self, bytes data):
        if not self.collects:
            return ServiceRequest.take_data(self, data)
        if self.body_size > self.runtime.limits.body:
            self.body = None
            return refusal("body_too_large", str(self.runtime.limits.body))
        if not self.hold(self.body_size):
            return refusal("buffers_full")
        add_piece(self.body, data)
        return None

    cdef Refusal take_end(self, list trailers):
        """Read the ids that a collected body names."""
        cdef list ids = []
        cdef Refusal why
        if not self.collects:
            return ServiceRequest.take_end(self, trailers)
        self.content = b"".join(self.body)
        self.body = [self.content] if self.content else []
        why = self.read_query(ids)
        if self.content and self.runtime.kept is not None:
            try:
                ids.extend(self.runtime.kept.named(self.content))
            except ValueError as error:
                return refusal("malformed_json", str(error))
        return self.find_place(ids) if why is None else why

    cdef Refusal find_place(self, list ids):
        """Find who keeps what is asked for, among those that meet what the caller requires."""
        cdef Refusal why = require(self)
        if why is None:
            why = self.find_keeper(ids)
        return require_one(self) if why is None else why

    cdef Refusal find_keeper(self, list ids):
        cdef Issued issued
        cdef Refusal why
        cdef int found = FOUND_NONE
        if self.name is not None:
            ids = [self.name, *ids]
        why = seek_issuer(self, ids, &found, &issued)
        if why is not None:
            return why
        self.owner = owner_of(self) if self.name is None else 0
        if found == FOUND_OWN:
            self.owner = issued.owner
            return None
        self.closed |= self.others()
        if self.route.pool.size and not ~self.closed & ((<uint64_t>2 << self.route.pool.size - 1) - 1):
            return refusal("not_offered", f"no provider of the file has the dialect {self.dialect}")
        if found == FOUND_NONE or (found == FOUND_UNKNOWN and self.name is None and self.head.method == b"GET"):
            return self.choose_provider()
        if found == FOUND_UNKNOWN:
            search_everywhere(self, <bytes>ids[0])
        return self.narrow()

    cdef bint permits(self, int index):
        cdef Caller caller = self.identity.caller
        return caller is None or caller.everything or (
            caller.may_use(self.route.pool.target_at(index).plan.provider.encode() + b"/*")
        )

    cdef Refusal narrow(self):
        cdef uint64_t usable = 0
        cdef int i
        for i in range(self.route.pool.size):
            if not self.closed >> i & 1 and self.permits(i):
                usable |= <uint64_t>1 << i
        if not usable and self.route.pool.size:
            return refusal("model_not_allowed", "provider/*")
        self.closed = ~usable
        return None

    cdef Refusal choose_provider(self):
        """Let the first provider be asked that may keep this, or the one that x-edge-provider names."""
        cdef bytes wanted = field_value(self.head.fields, b"x-edge-provider")
        cdef int i
        for i in range(self.route.pool.size):
            if (self.closed | self.route.unfit[self.operation]) >> i & 1 if wanted is None else (
                self.route.pool.target_at(i).plan.provider.encode() != wanted
            ):
                continue
            if self.permits(i):
                self.closed = ~(<uint64_t>1 << i)
                return None
            if wanted is not None:
                return refusal("model_not_allowed", wanted.decode("latin-1") + "/*")
        return self.narrow() if wanted is None else refusal("unknown_provider", wanted.decode("latin-1"))

    cdef uint64_t others(self):
        cdef uint64_t found = 0
        cdef str dialect
        cdef int i
        for i in range(self.route.pool.size):
            dialect = self.route.pool.target_at(i).plan.dialect
            if ("openai" if dialect == "responses" else dialect) != self.dialect:
                found |= <uint64_t>1 << i
        return found

    cdef bytes here(self):
        cdef Head head = self.head
        cdef bytes scheme = self.stream.scheme.encode()
        cdef bytes authority = head.authority
        if self.stream.policy.trusts(self.stream.peer()):
            scheme = field_value(head.fields, b"x-forwarded-proto") or scheme
            authority = field_value(head.fields, b"x-forwarded-host") or authority
        if authority is None or authority.translate(None, AUTHORITY) or scheme not in SCHEMES:
            return None
        return scheme + b"://" + authority

    cdef bint creates(self):
        return self.head.method == b"POST" and not self.path.endswith((b"/cancel", b":cancel"))

    cdef bint may_resend(self, bint sent, bint refused) noexcept:
        return not sent or (self.replayable and (refused or self.searching or self.head.method in REPEATABLE))

    cdef bytes target_path(self, ConnectionPool upstream):
        if upstream.api_version is not None:
            return upstream.base_path + versioned_path(self.path[3:] + self.query, b"", upstream.api_version)
        # a signature covers the query, and fails if the provider reads it in another way
        return path_at(upstream, self.path) + (self.query if upstream.signer is None else plain_query(self.query))

    cdef bint send(self, ClientStream stream, ConnectionPool upstream, uint64_t span, uint64_t now):
        """Send what has come of the request so far; the rest follows as it comes."""
        cdef list fields = fields_of_dialect(self.fields_for(upstream), upstream.dialect, False)
        fields[self.trace_at] = (b"traceparent", write_traceparent(&self.trace, span))
        add_items(fields, upstream.fields)
        self.asked = True
        self.upstream = stream
        if upstream.signer is not None:     # then all of it has come
            fields = upstream.signer.sign(
                self.head.method, self.target_path(upstream), upstream.authority, fields, b"".join(self.body),
                wall_ns() // 1_000_000_000,
            )
        stream.send_request(
            self.head.method, self.target_path(upstream), upstream.authority, fields, self.head.length
        )
        for data in self.body:
            stream.send_data(<bytes>data)
        if not self.body and not self.received:
            stream.send_data(b"")
        if not self.collects and self.body_size > self.runtime.limits.retry_buffer:
            self.replayable = False
            self.release()
        return self.received
