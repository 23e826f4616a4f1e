from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE, PyList_New, PyList_SET_ITEM
from cpython.ref cimport Py_INCREF
from native.codec.characters cimport token_char
from native.codec.field_list cimport add_item, new_list
from native.codec.field_names cimport (
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOP, HOST, PLAIN, PROXY_CONNECTION,
    TRAILER, TRANSFER_ENCODING, UPGRADE, KnownName, field_kind, find_name, lower_name,
)
from native.codec.head cimport NO_BODY
from native.codec.http1_head cimport FieldSlice, HeadScan, HeadScanner, KeptLine
from native.codec.kept_head cimport KeptHead
from native.codec.numbers cimport parse_length

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

# Fields that a head has room for from the beginning.
cdef int ROOM = 16

cdef bint sound_value(bytes value) noexcept:
    """Return whether a value holds no CR, LF, NUL or other control character but TAB (RFC 9110 5.5)."""
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(value)
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(value)):
        if (p[i] < 32 and p[i] != 9) or p[i] == 127:
            return False
    return True


cdef bint same_token(const char* p, Py_ssize_t size, bytes wanted) noexcept:
    """Return whether these bytes are a token in any case; ``wanted`` is lower case."""
    cdef const char* known = PyBytes_AS_STRING(wanted)
    cdef Py_ssize_t i
    if size != PyBytes_GET_SIZE(wanted):
        return False
    for i in range(size):
        if <char>token_char[<unsigned char>p[i]] != known[i]:
            return False
    return True


cdef class HeadReader:
    def __init__(self, Py_ssize_t size_limit, int count_limit):
        self.size_limit = size_limit
        self.count_limit = count_limit
        self.begin(ROOM)

    cdef int begin(self, int room) except -1:
        cdef Head head = self.head
        if head is None or not self.untouched:
            head = Head.__new__(Head)
            self.head = head
        self.untouched = True
        if room == 0:
            head.fields = None
        elif head.fields is None or PyList_GET_SIZE(head.fields):
            head.fields = new_list(room)
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
        self.nominated = None
        self.announced = None
        self.fault = None
        self.fault_status = 0
        head.length = NO_BODY
        return 0

    cdef int refuse(self, int status, str reason) except? -1:
        if self.fault is None:
            self.fault = reason
            self.fault_status = status
        return -1

    cdef int count_field(self, Py_ssize_t size) except? -1:
        """Count one field of this size; -1 = too many, or too large."""
        self.count += 1
        self.size += size + 4
        if self.count > self.count_limit:
            return self.refuse(431, f"more than {self.count_limit} header fields")
        if self.size > self.size_limit:
            return self.refuse(431, f"header fields larger than {self.size_limit} bytes")
        return 0

    cdef int add(self, bytes name, bytes value) except? -1:
        cdef Head head = self.head
        cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
        cdef const char* p = PyBytes_AS_STRING(value)
        cdef const KnownName* known
        cdef int kind = PLAIN
        cdef tuple pair
        self.last_field = None
        if self.fault is not None or self.count_field(PyBytes_GET_SIZE(name) + size) < 0:
            return -1
        if size and (p[size - 1] == c" " or p[size - 1] == c"\t" or p[0] == c" " or p[0] == c"\t"):
            value = value.strip(b" \t")
        if not sound_value(value):
            return self.refuse(400, "a control character in a header value")
        if not PyBytes_GET_SIZE(name):
            return self.refuse(400, "an empty header name")
        known = find_name(PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name))
        if known != NULL:
            name = <bytes>known.name
            kind = known.kind
        else:
            name = name.lower()
        if kind == PLAIN or kind == CONTENT_TYPE:
            pair = (name, value)
            self.last_field = pair
            self.last_kind = kind
            add_item(head.fields, pair)
            if kind == CONTENT_TYPE:
                head.content_type = value
                self.untouched = False
            return 0
        self.untouched = False
        return self.add_special(name, value, kind)

    cdef int add_special(self, bytes name, bytes value, int kind) except? -1:
        """Add a field that frames the message, speaks to this hop, or stands in an attribute of the Head."""
        cdef Head head = self.head
        if kind == HOP:
            self.last_field = (name, value)
            self.last_kind = kind
        elif kind == TRAILER:
            self.announced = value if self.announced is None else self.announced + b", " + value
        elif kind == CONTENT_ENCODING:
            head.content_encoding = value
            add_item(head.fields, (name, value))
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
            self.chunked = same_token(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), b"chunked")
            if not self.chunked:
                self.chunked_last = value.split(b",")[-1].strip(b" \t").lower() == b"chunked" and b"," in value
                if value.count(b"chunked") > 1:
                    self.chunked_last = False
        elif kind == CONNECTION:
            self.read_connection(value, False)
        elif kind == PROXY_CONNECTION:
            # a field of old clients, of which nothing but close is heeded (RFC 9112 C.2.2)
            self.read_connection(value, True)
        elif kind == UPGRADE:
            head.upgrades = True
            head.upgrade = value
        elif kind == EXPECT:
            if value.lower() != b"100-continue":
                return self.refuse(417, "Expect asks for something other than 100-continue")
            head.expects = True
        return 0

    cdef int add_known(self, tuple pair, int kind, Py_ssize_t size) except? -1:
        if self.fault is not None or self.count_field(size) < 0:
            return -1
        if kind == HOP:
            return 0
        if kind == CONTENT_TYPE:
            self.untouched = False
            self.head.content_type = <bytes>pair[1]
        return add_item(self.head.fields, pair)

    cdef int add_slices(self, const char* head, HeadScan* scan) except -1:
        cdef Head made = self.head
        cdef FieldSlice* field
        cdef list kept
        cdef bytes value
        cdef tuple pair
        cdef bint changed = self.kept is None
        cdef bint shared
        cdef int kind
        cdef int plain = 0
        cdef int i
        self.untouched = False
        self.made = None
        if scan.all_kept:
            return self.add_kept()
        for i in range(scan.count):
            field = &scan.fields[i]
            field.known = field.line.known if field.line != NULL else find_name(head + field.name, field.name_size)
            kind = field.known.kind if field.known != NULL else PLAIN
            if kind == PLAIN or kind == CONTENT_TYPE or kind == CONTENT_ENCODING:
                plain += 1
                changed = changed or field.line == NULL
        # kept lines only, and as many: the list is the same
        shared = not changed and self.kept.fields is not None and plain == self.kept.plain
        kept = self.kept.fields if shared else PyList_New(plain)
        plain = 0
        for i in range(scan.count):
            field = &scan.fields[i]
            kind = field.known.kind if field.known != NULL else PLAIN
            if field.line != NULL:
                pair = <tuple>field.line.pair
            else:
                pair = self.make_pair(head, field)
            value = <bytes>pair[1]
            if kind != PLAIN and kind != CONTENT_TYPE and kind != CONTENT_ENCODING:
                self.add_special(<bytes>pair[0], value, kind)
                continue
            if not shared:
                Py_INCREF(pair)
                PyList_SET_ITEM(kept, plain, pair)
                plain += 1
            if kind == CONTENT_TYPE:
                made.content_type = value
            elif kind == CONTENT_ENCODING:
                made.content_encoding = value
        made.fields = kept
        if shared:
            made.memo = self.kept.memo
        return 0

    cdef int add_kept(self) except -1:
        cdef Head made = self.head
        cdef KeptLine* line
        cdef tuple pair
        cdef int i
        for i in range(self.kept.text.count):
            line = &self.kept.text.lines[i]
            if line.kind == PLAIN:
                continue
            pair = <tuple>line.pair
            if line.kind == CONTENT_TYPE:
                made.content_type = <bytes>pair[1]
            elif line.kind == CONTENT_ENCODING:
                made.content_encoding = <bytes>pair[1]
            else:
                self.add_special(<bytes>pair[0], <bytes>pair[1], line.kind)
        made.fields = self.kept.fields
        made.memo = self.kept.memo
        return 0

    cdef tuple make_pair(self, const char* head, FieldSlice* field):
        """Make the pair of a field that was read; where heads are kept, it is noted for them."""
        cdef bytes name
        cdef tuple pair
        if field.known != NULL:
            name = <bytes>field.known.name
        else:
            name = lower_name(head + field.name, field.name_size)
        pair = (name, PyBytes_FromStringAndSize(head + field.value, field.value_size))
        if self.kept is not None:
            if self.made is None:
                self.made = []
            self.made.append(pair)
        return pair

    cdef int keep(self, const char* head, HeadScan* scan, Head accepted) except -1:
        cdef list made = self.made
        if self.kept is None or scan.all_kept:
            return 0
        self.made = None
        return self.kept.keep(head, scan, made, accepted)

    cdef int read_connection(self, bytes value, bint close_only) except -1:
        """Take the options of a Connection field."""
        cdef const char* p = PyBytes_AS_STRING(value)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
        cdef Py_ssize_t start = 0
        cdef Py_ssize_t end
        while start <= size:
            end = start
            while end < size and p[end] != c",":
                end += 1
            self.take_option(p + start, end - start, close_only)
            start = end + 1
        return 0

    cdef int take_option(self, const char* p, Py_ssize_t size, bint close_only) except -1:
        """Take one option of a Connection field: what it asks for, or the name of a field that goes no further."""
        while size and (p[0] == c" " or p[0] == c"\t"):
            p += 1
            size -= 1
        while size and (p[size - 1] == c" " or p[size - 1] == c"\t"):
            size -= 1
        if size == 0:
            return 0
        if same_token(p, size, b"close"):
            self.option_close = True
        elif close_only:
            return 0
        elif same_token(p, size, b"keep-alive"):
            self.option_keep_alive = True
        elif same_token(p, size, b"upgrade"):
            self.option_upgrade = True
        else:
            option = p[:size].lower()
            if option not in END_TO_END and field_kind(option) == PLAIN:
                if self.nominated is None:
                    self.nominated = []
                self.nominated.append(option)
        return 0

    cdef bint has_http1_fields(self) noexcept:
        return self.coding_fields or self.option_close or self.option_keep_alive or self.head.upgrades

    cdef bint keeps_alive(self, int version) noexcept:
        return not self.option_close and (version == 11 or self.option_keep_alive)

    cdef int drop_nominated(self) except -1:
        cdef list nominated = self.nominated
        cdef list fields = self.head.fields
        if nominated is not None:
            self.head.fields = [pair for pair in fields if (<tuple>pair)[0] not in nominated]
            if PyList_GET_SIZE(self.head.fields) != PyList_GET_SIZE(fields):
                self.head.memo = None       # it is about the whole list
        return 0

    cdef int keep_announced(self) except -1:
        if self.announced is not None:
            self.head.fields.append((b"trailer", self.announced))
        return 0

    cdef list take_trailers(self):
        cdef list fields = self.head.fields
        self.head.fields = None
        for pair in fields:
            if (<tuple>pair)[0] in NO_TRAILER:
                fields = [pair for pair in fields if pair[0] not in NO_TRAILER]
                break
        return fields if fields else None


cdef keep_heads(HeadReader reader, HeadScanner scanner):
    cdef KeptHead kept = KeptHead.__new__(KeptHead)
    reader.kept = kept
    scanner.kept = kept
    scanner.scan.kept = &kept.text
