from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE
from native.codec.head cimport NO_BODY
from native.codec.numbers cimport parse_length

cdef enum Field:
    PLAIN = 0
    HOST = 1
    CONTENT_LENGTH = 2
    TRANSFER_ENCODING = 3
    CONNECTION = 4
    HOP = 5
    EXPECT = 6
    CONTENT_TYPE = 7
    CONTENT_ENCODING = 8
    UPGRADE = 9

# The fields of RFC 9110 7.6.1, those that speak to the next hop only, and those that a Head holds as attributes.
cdef dict SPECIAL = {
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"keep-alive": HOP,
    b"proxy-connection": HOP,
    b"proxy-authenticate": HOP,
    b"proxy-authorization": HOP,
    b"te": HOP,
    b"trailer": HOP,
    b"http2-settings": HOP,
    b"upgrade": UPGRADE,
    b"expect": EXPECT,
    b"content-type": CONTENT_TYPE,
    b"content-encoding": CONTENT_ENCODING,
}

# A client that nominates one of these in Connection would delete a field that a later hop relies on. The nomination is
# ignored and the field stays (hop-by-hop abuse).
cdef frozenset END_TO_END = frozenset((
    b"authorization", b"x-api-key", b"x-goog-api-key", b"cookie", b"set-cookie", b"content-type", b"content-encoding",
    b"content-length", b"host", b"cache-control", b"traceparent", b"tracestate", b"x-request-id", b"x-forwarded-for",
    b"x-forwarded-proto", b"x-forwarded-host", b"forwarded", b"via", b"date", b"retry-after",
))

# Fields that must not come behind a body (RFC 9110 6.5.1): a reader decides by them before it reads the body.
cdef frozenset NO_TRAILER = frozenset((
    b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key", b"cookie", b"set-cookie", b"content-type",
    b"content-encoding", b"content-range", b"cache-control", b"location", b"max-forwards", b"range", b"vary",
    b"www-authenticate", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded", b"via", b"age",
    b"date", b"expires", b"retry-after", b"warning", b"pragma",
))

# (lower-case name, Field) by the spelling on the wire. Bounded: a client that invents names pays for its own lower().
cdef dict NAMES = {}
cdef int NAMES_LIMIT = 512
cdef dict VERSIONS = {"1.1": 11, "1.0": 10}


cdef inline tuple known_name(bytes name):
    known = NAMES.get(name)
    if known is not None:
        return <tuple>known
    lowered = name.lower()
    known = (lowered, SPECIAL.get(lowered, PLAIN))
    if len(NAMES) < NAMES_LIMIT and PyBytes_GET_SIZE(name) <= 40:
        NAMES[name] = known
    return known


cdef bint sound_value(bytes value) noexcept:
    """Return whether a value holds no CR, LF, NUL or other control character but TAB (RFC 9110 5.5)."""
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(value)
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(value)):
        if (p[i] < 32 and p[i] != 9) or p[i] == 127:
            return False
    return True


class RefusedError(Exception):
    """Stops a parser from inside its callback; the reason stands on the parser or its HeadReader."""


cdef class HeadReader:
    def __init__(self, Py_ssize_t size_limit, int count_limit):
        self.size_limit = size_limit
        self.count_limit = count_limit
        self.begin()

    cdef void begin(self):
        cdef Head head = self.head
        if head is None or not self.untouched:
            head = Head.__new__(Head)
            self.head = head
        self.untouched = True
        if head.fields is None or PyList_GET_SIZE(head.fields):
            head.fields = []
        self.size = 0
        self.count = 0
        self.length_fields = 0
        self.host_fields = 0
        self.coding_fields = 0
        self.chunked = False
        self.chunked_last = False
        self.option_close = False
        self.option_keep_alive = False
        self.option_upgrade = False
        self.has_hop_field = False
        self.nominated = None
        self.fault = None
        self.fault_status = 0
        head.length = NO_BODY

    cdef int refuse(self, int status, str reason):
        if self.fault is None:
            self.fault = reason
            self.fault_status = status
        return -1

    cdef int count_field(self, Py_ssize_t size):
        """Count one field of this size; -1 = too many, or too large."""
        self.count += 1
        self.size += size + 4
        if self.count > self.count_limit:
            return self.refuse(431, f"more than {self.count_limit} header fields")
        if self.size > self.size_limit:
            return self.refuse(431, f"header fields larger than {self.size_limit} bytes")
        return 0

    cdef int add(self, bytes name, bytes value):
        cdef Head head = self.head
        cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
        cdef const char* p = PyBytes_AS_STRING(value)
        cdef int kind
        cdef tuple known
        self.last_field = None
        if self.fault is not None or self.count_field(PyBytes_GET_SIZE(name) + size) < 0:
            return -1
        if size and (p[size - 1] == c" " or p[size - 1] == c"\t" or p[0] == c" " or p[0] == c"\t"):
            value = value.strip(b" \t")
        if not sound_value(value):
            return self.refuse(400, "a control character in a header value")
        if not PyBytes_GET_SIZE(name):
            return self.refuse(400, "an empty header name")
        known = known_name(name)
        name = <bytes>known[0]
        kind = <int>known[1]
        if kind == PLAIN or kind == CONTENT_TYPE:
            known = (name, value)
            self.last_field = known
            self.last_kind = kind
            head.fields.append(known)
            if kind == CONTENT_TYPE:
                head.content_type = value
                self.untouched = False
            return 0
        self.untouched = False
        return self.add_special(name, value, kind)

    cdef int add_special(self, bytes name, bytes value, int kind):
        """Add a field that frames the message, speaks to this hop, or stands in an attribute of the Head."""
        cdef Head head = self.head
        if kind == CONNECTION or kind == HOP:
            self.has_hop_field = True
        if kind == HOP:
            self.last_field = (name, value)
            self.last_kind = kind
        elif kind == CONTENT_ENCODING:
            head.content_encoding = value
            head.fields.append((name, value))
        elif kind == HOST:
            self.host_fields += 1
            head.authority = value
        elif kind == CONTENT_LENGTH:
            self.length_fields += 1
            if self.length_fields > 1:
                return self.refuse(400, "more than one Content-Length")
            head.length = parse_length(value)
            if head.length < 0:
                return self.refuse(400, "Content-Length is not a plain decimal number")
        elif kind == TRANSFER_ENCODING:
            self.coding_fields += 1
            self.chunked = value == b"chunked" or value.lower() == b"chunked"
            self.chunked_last = value.split(b",")[-1].strip(b" \t").lower() == b"chunked" and b"," in value
            if value.count(b"chunked") > 1:
                self.chunked_last = False
        elif kind == CONNECTION:
            self._read_connection(value)
        elif kind == UPGRADE:
            head.upgrades = True
            head.upgrade = value
        elif kind == EXPECT:
            if value.lower() != b"100-continue":
                return self.refuse(417, "Expect asks for something other than 100-continue")
            head.expects = True
        return 0

    cdef int add_known(self, tuple pair, int kind):
        if self.fault is not None:
            return -1
        if self.count_field(PyBytes_GET_SIZE(<bytes>pair[0]) + PyBytes_GET_SIZE(<bytes>pair[1])) < 0:
            return -1
        if kind == HOP:
            self.has_hop_field = True
            return 0
        if kind == CONTENT_TYPE:
            self.untouched = False
            self.head.content_type = <bytes>pair[1]
        self.head.fields.append(pair)
        return 0

    def _read_connection(self, bytes value):
        for token in value.split(b","):
            token = token.strip(b" \t").lower()
            if token == b"close":
                self.option_close = True
            elif token == b"keep-alive":
                self.option_keep_alive = True
            elif token == b"upgrade":
                self.option_upgrade = True
            elif token and token not in END_TO_END and token not in SPECIAL:
                if self.nominated is None:
                    self.nominated = []
                self.nominated.append(token)

    cdef int version(self, parser):
        # Asked for the version, httptools formats a string. A connection that is kept alive without a Connection field
        # is HTTP/1.1 (RFC 9112 9.3).
        if not self.has_hop_field and parser.should_keep_alive():
            return 11
        return VERSIONS.get(parser.get_http_version(), 0)

    cdef bint has_http1_fields(self):
        return self.coding_fields or self.option_close or self.option_keep_alive or self.head.upgrades

    cdef bint keeps_alive(self, int version):
        return not self.option_close and (version == 11 or self.option_keep_alive)

    cdef void drop_nominated(self):
        cdef list nominated = self.nominated
        if nominated is not None:
            self.head.fields = [pair for pair in self.head.fields if (<tuple>pair)[0] not in nominated]

    cdef list take_trailers(self):
        cdef list fields = self.head.fields
        self.head.fields = None
        for pair in fields:
            if (<tuple>pair)[0] in NO_TRAILER:
                fields = [pair for pair in fields if pair[0] not in NO_TRAILER]
                break
        return fields if fields else None
