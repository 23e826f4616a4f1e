from http import HTTPStatus

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy
from native.codec.head cimport NO_BODY, UNKNOWN_LENGTH

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

# RFC 9110 7.6.1 and the fields that speak to the next hop only.
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

# Nominating one of these in Connection would let a client delete a field that someone further on relies on: the
# nomination is ignored, the field stays (resilience: hop-by-hop abuse).
cdef frozenset END_TO_END = frozenset((
    b"authorization", b"x-api-key", b"x-goog-api-key", b"cookie", b"set-cookie", b"content-type", b"content-encoding",
    b"content-length", b"host", b"cache-control", b"traceparent", b"tracestate", b"x-request-id", b"x-forwarded-for",
    b"x-forwarded-proto", b"x-forwarded-host", b"forwarded", b"via", b"date", b"retry-after",
))

# What must not come after a body (RFC 9110 6.5.1): who reads it late would have decided otherwise early.
cdef frozenset NO_TRAILER = frozenset((
    b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key", b"cookie", b"set-cookie", b"content-type",
    b"content-encoding", b"content-range", b"cache-control", b"location", b"max-forwards", b"range", b"vary", b"www-authenticate",
    b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded", b"via", b"age", b"date", b"expires",
    b"retry-after", b"warning", b"pragma",
))

# (lower-case name, Field) by the spelling on the wire. Bounded: a client that invents names pays for its own lower().
cdef dict NAMES = {}
cdef int NAMES_LIMIT = 512
cdef const char* DIGITS = b"0123456789abcdef"


cdef inline tuple known_name(bytes name):
    known = NAMES.get(name)
    if known is not None:
        return <tuple>known
    lowered = name.lower()
    known = (lowered, SPECIAL.get(lowered, PLAIN))
    if len(NAMES) < NAMES_LIMIT and PyBytes_GET_SIZE(name) <= 40:
        NAMES[name] = known
    return known


cdef inline char* write_number(char* end, uint64_t value, unsigned int base) noexcept:
    """Write digits that end before ``end``, as printf would and several times faster; where they begin."""
    while True:
        end -= 1
        end[0] = DIGITS[value % base]
        value //= base
        if value == 0:
            return end


cdef bytes decimal(int64_t value):
    cdef char[24] text
    cdef char* start = write_number(text + 24, <uint64_t>value, 10)
    return PyBytes_FromStringAndSize(start, text + 24 - start)


cdef int64_t parse_length(bytes value) noexcept:
    """1*DIGIT without sign, space, underscore or leading zero (RFC 9110 8.6); -1 on anything else or over 2**60."""
    cdef const char* p = PyBytes_AS_STRING(value)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
    cdef int64_t total = 0
    cdef Py_ssize_t i
    if size == 0 or size > 18 or (size > 1 and p[0] == c"0"):
        return -1
    for i in range(size):
        if p[i] < c"0" or p[i] > c"9":
            return -1
        total = total * 10 + (p[i] - c"0")
    return total


# A caller's deadline: a million seconds.
cdef int64_t LONGEST_NS = 1_000_000_000_000_000


cdef int64_t parse_seconds(bytes value) noexcept:
    """A time to wait: a decimal number of seconds, or with a unit s or ms. What is longer than eleven days is as long."""
    cdef const char* p = PyBytes_AS_STRING(value)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
    cdef int64_t unit = 1_000_000_000
    cdef int64_t total = 0
    cdef Py_ssize_t i
    cdef bint fraction = False
    if size > 2 and p[size - 2] == c"m" and p[size - 1] == c"s":
        unit = 1_000_000
        size -= 2
    elif size > 1 and p[size - 1] == c"s":
        size -= 1
    if size <= 0 or p[0] == c"." or p[size - 1] == c".":
        return -1
    for i in range(size):
        if p[i] == c"." and not fraction:
            fraction = True
            total *= unit
        elif p[i] < c"0" or p[i] > c"9":
            return -1
        elif fraction:
            unit //= 10     # what is smaller than a nanosecond is nothing
            total += (p[i] - c"0") * unit
        else:
            total = min(total * 10 + (p[i] - c"0"), LONGEST_NS // 1_000_000)
    if not fraction:
        total *= unit
    return min(total, LONGEST_NS) if total > 0 else -1


cdef bytes write_seconds(uint64_t ns):
    cdef uint64_t ms = ns // 1_000_000 if ns > 1_000_000 else 1
    return b"%d.%03d" % (ms // 1000, ms % 1000)


cdef bint sound_value(bytes value) noexcept:
    """No CR, LF, NUL or other control character but TAB (RFC 9110 5.5)."""
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(value)
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(value)):
        if (p[i] < 32 and p[i] != 9) or p[i] == 127:
            return False
    return True


cdef bint sound_target(bytes value) noexcept:
    """Visible ASCII without a fragment: what a request line of HTTP/1.1 can hold and one reader takes as another does."""
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(value)
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(value)):
        if p[i] <= 32 or p[i] >= 127 or p[i] == c"#":
            return False
    return True


cdef bint sound_host(bytes value) noexcept:
    """reg-name, IPv4 or bracketed IPv6 with an optional port: nothing that a second reader could take otherwise."""
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(value)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
    cdef Py_ssize_t i
    cdef Py_ssize_t colon = -1
    cdef unsigned char c
    cdef bint bracketed = size > 0 and p[0] == c"["
    cdef bint closed = False
    if size == 0:
        return False
    for i in range(size):
        c = p[i]
        if c == c"[":
            if i != 0:
                return False
        elif c == c"]":
            if not bracketed or closed:
                return False
            closed = True
        elif c == c":":
            if bracketed and not closed:
                continue
            if colon >= 0 or i == 0:
                return False
            colon = i
        elif colon >= 0:
            if c < c"0" or c > c"9":
                return False
        elif bracketed and closed:
            return False
        elif not (
            (c >= c"a" and c <= c"z") or (c >= c"A" and c <= c"Z") or (c >= c"0" and c <= c"9")
            or c == c"-" or c == c"." or c == c"_" or c == c"~"
        ):
            return False
    return not bracketed or closed


cdef bytes host_of(bytes authority):
    """Lower case, without the port."""
    cdef const char* p = PyBytes_AS_STRING(authority)
    cdef bytes text
    cdef Py_ssize_t i
    cdef Py_ssize_t colon
    for i in range(PyBytes_GET_SIZE(authority)):
        if p[i] == c":" or c"A" <= p[i] <= c"Z":
            break
    else:
        return authority
    text = authority.lower()
    colon = text.rfind(b":")
    if colon > 0 and not text.endswith(b"]"):
        return text[:colon]
    return text


cdef bint plain_path(bytes path) noexcept:
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(path)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(path)
    cdef Py_ssize_t i
    cdef unsigned char a
    cdef unsigned char b
    for i in range(size):
        if p[i] <= 32 or p[i] == 127 or p[i] == c"\\" or p[i] == c"#":
            return False
        if p[i] == c"%":
            if i + 2 >= size:
                return False
            a = p[i + 1] | 32
            b = p[i + 2] | 32
            # %00, %2e, %2f, %5c: read as themselves by one hop and as structure by the next
            if (a == c"0" and b == c"0") or (a == c"2" and (b == c"e" or b == c"f")) or (a == c"5" and b == c"c"):
                return False
        if p[i] == c"/" and i + 1 < size and p[i + 1] == c".":
            if i + 2 == size or p[i + 2] == c"/":
                return False
            if p[i + 2] == c"." and (i + 3 == size or p[i + 3] == c"/"):
                return False
    return True


cdef bytes field_value(list fields, bytes name):
    cdef tuple pair
    for item in fields:
        pair = <tuple>item
        if pair[0] == name:
            return <bytes>pair[1]
    return None


cdef bytes write_head(bytes first_line, list fields, bytes last):
    cdef Py_ssize_t size = PyBytes_GET_SIZE(first_line) + PyBytes_GET_SIZE(last) + 2
    cdef tuple pair
    cdef bytes name
    cdef bytes value
    cdef bytes result
    cdef char* out
    cdef Py_ssize_t n
    for item in fields:
        pair = <tuple>item
        size += PyBytes_GET_SIZE(<bytes?>pair[0]) + PyBytes_GET_SIZE(<bytes?>pair[1]) + 4
    result = PyBytes_FromStringAndSize(NULL, size)
    out = PyBytes_AS_STRING(result)
    n = PyBytes_GET_SIZE(first_line)
    memcpy(out, PyBytes_AS_STRING(first_line), n)
    out += n
    for item in fields:
        pair = <tuple>item
        name = <bytes>pair[0]
        value = <bytes>pair[1]
        n = PyBytes_GET_SIZE(name)
        memcpy(out, PyBytes_AS_STRING(name), n)
        out += n
        out[0] = c":"
        out[1] = c" "
        out += 2
        n = PyBytes_GET_SIZE(value)
        memcpy(out, PyBytes_AS_STRING(value), n)
        out += n
        out[0] = c"\r"
        out[1] = c"\n"
        out += 2
    n = PyBytes_GET_SIZE(last)
    memcpy(out, PyBytes_AS_STRING(last), n)
    out += n
    out[0] = c"\r"
    out[1] = c"\n"
    return result


cdef dict STATUS_LINES = {
    int(status): b"HTTP/1.1 %d %s\r\n" % (int(status), status.phrase.encode()) for status in HTTPStatus
}


cdef bytes status_line(int status):
    line = STATUS_LINES.get(status)
    if line is None:
        # RFC 9112 4: the phrase may be empty, its space may not
        line = b"HTTP/1.1 %d \r\n" % status
    return <bytes>line


cdef bytes frame_chunk(bytes held, bytes data):
    """held + one chunk, in one buffer."""
    cdef char[24] size_line
    cdef Py_ssize_t n = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t before = 0 if held is None else PyBytes_GET_SIZE(held)
    cdef char* start = write_number(size_line + 22, <uint64_t>n, 16)
    cdef Py_ssize_t digits = size_line + 24 - start
    cdef bytes result = PyBytes_FromStringAndSize(NULL, before + digits + n + 2)
    cdef char* out = PyBytes_AS_STRING(result)
    if before:
        memcpy(out, PyBytes_AS_STRING(held), before)
        out += before
    size_line[22] = c"\r"
    size_line[23] = c"\n"
    memcpy(out, start, digits)
    out += digits
    memcpy(out, PyBytes_AS_STRING(data), n)
    out += n
    out[0] = c"\r"
    out[1] = c"\n"
    return result


cdef bytes last_chunk(list trailers):
    if not trailers:
        return b"0\r\n\r\n"
    return write_head(b"0\r\n", trailers, b"")


cdef dict VERSIONS = {"1.1": 11, "1.0": 10}


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
        self.lengths = 0
        self.hosts = 0
        self.codings = 0
        self.chunked = False
        self.close = False
        self.keep = False
        self.hop = False
        self.switch = False
        self.chunked_last = False
        self.nominated = None
        self.fault = None
        self.fault_status = 0
        head.length = NO_BODY

    cdef int refuse(self, int status, str reason):
        if self.fault is None:
            self.fault = reason
            self.fault_status = status
        return -1

    cdef int add(self, bytes name, bytes value):
        cdef Head head = self.head
        cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
        cdef const char* p = PyBytes_AS_STRING(value)
        cdef int kind
        cdef tuple known
        self.latest = None
        if self.fault is not None:
            return -1
        self.count += 1
        self.size += PyBytes_GET_SIZE(name) + size + 4
        if self.count > self.count_limit:
            return self.refuse(431, f"more than {self.count_limit} header fields")
        if self.size > self.size_limit:
            return self.refuse(431, f"header fields larger than {self.size_limit} bytes")
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
            self.latest = known
            self.latest_kind = kind
            head.fields.append(known)
            if kind == CONTENT_TYPE:
                head.content_type = value
                self.untouched = False
            return 0
        self.untouched = False
        if kind == CONNECTION or kind == HOP:
            self.hop = True
        if kind == HOP:
            self.latest = (name, value)
            self.latest_kind = kind
        elif kind == CONTENT_ENCODING:
            head.content_encoding = value
            head.fields.append((name, value))
        elif kind == HOST:
            self.hosts += 1
            head.authority = value
        elif kind == CONTENT_LENGTH:
            self.lengths += 1
            if self.lengths > 1:
                return self.refuse(400, "more than one Content-Length")
            head.length = parse_length(value)
            if head.length < 0:
                return self.refuse(400, "Content-Length is not a plain decimal number")
        elif kind == TRANSFER_ENCODING:
            self.codings += 1
            self.chunked = value == b"chunked" or value.lower() == b"chunked"
            self.chunked_last = value.split(b",")[-1].strip(b" \t").lower() == b"chunked" and b"," in value
            if value.count(b"chunked") > 1:
                self.chunked_last = False
        elif kind == CONNECTION:
            self._connection(value)
        elif kind == UPGRADE:
            head.upgrades = True
            head.upgrade = value
        elif kind == EXPECT:
            if value.lower() != b"100-continue":
                return self.refuse(417, "Expect asks for something other than 100-continue")
            head.expects = True
        return 0

    cdef int again(self, tuple pair, int kind):
        if self.fault is not None:
            return -1
        self.count += 1
        self.size += PyBytes_GET_SIZE(<bytes>pair[0]) + PyBytes_GET_SIZE(<bytes>pair[1]) + 4
        if self.count > self.count_limit:
            return self.refuse(431, f"more than {self.count_limit} header fields")
        if self.size > self.size_limit:
            return self.refuse(431, f"header fields larger than {self.size_limit} bytes")
        if kind == HOP:
            self.hop = True
            return 0
        if kind == CONTENT_TYPE:
            self.untouched = False
            self.head.content_type = <bytes>pair[1]
        self.head.fields.append(pair)
        return 0

    def _connection(self, bytes value):
        for token in value.split(b","):
            token = token.strip(b" \t").lower()
            if token == b"close":
                self.close = True
            elif token == b"keep-alive":
                self.keep = True
            elif token == b"upgrade":
                self.switch = True
            elif token and token not in END_TO_END and token not in SPECIAL:
                if self.nominated is None:
                    self.nominated = []
                self.nominated.append(token)

    cdef int version(self, parser):
        # Asked for the version, httptools formats a string. A connection that is kept though nothing was said of it
        # is HTTP/1.1 (RFC 9112 9.3).
        if not self.hop and parser.should_keep_alive():
            return 11
        return VERSIONS.get(parser.get_http_version(), 0)

    cdef Head take_request(self, bytes method, bytes target, int version):
        cdef Head head = self.head
        cdef Py_ssize_t mark
        self.untouched = False
        if self.fault is not None:
            return None
        if version != 10 and version != 11:
            self.refuse(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
            return None
        if self.codings:
            if version == 10:
                self.refuse(400, "Transfer-Encoding in an HTTP/1.0 message")
            elif self.lengths:
                self.refuse(400, "both Content-Length and Transfer-Encoding")
            elif self.codings > 1:
                self.refuse(400, "more than one Transfer-Encoding")
            elif not self.chunked:
                # RFC 9112 6.1 and 6.3: 501 for an unknown coding under chunked; where chunked is not the last coding,
                # nobody can tell where the body ends
                self.refuse(501 if self.chunked_last else 400, "a transfer coding other than chunked")
            if self.fault is not None:
                return None
            head.length = UNKNOWN_LENGTH
        if self.hosts > 1:
            self.refuse(400, "more than one Host")
            return None
        if version == 11 and self.hosts == 0:
            self.refuse(400, "Host is missing")
            return None
        if method == b"CONNECT":
            self.refuse(405, "CONNECT is not offered")
            return None
        if not target.startswith(b"/"):
            target = self._absolute(method, target)
            if target is None:
                return None
        if head.authority is not None and not sound_host(head.authority):
            self.refuse(400, "Host is not a host name with an optional port")
            return None
        mark = target.find(b"?")
        head.path = target if mark < 0 else target[:mark]
        if b"#" in target:
            self.refuse(400, "a fragment in the request target")
            return None
        head.method = method
        head.target = target
        head.version = version
        head.host = b"" if head.authority is None else host_of(head.authority)
        if not self.switch:
            head.upgrade = None
        head.keep_alive = not self.close and (version == 11 or self.keep)
        if self.nominated is not None:
            head.fields = [pair for pair in head.fields if pair[0] not in self.nominated]
        self.begin()
        return head

    def _absolute(self, bytes method, bytes target):
        """absolute-form: its authority replaces Host (RFC 9112 3.2.2); asterisk-form is for OPTIONS only."""
        cdef Py_ssize_t slash
        cdef bytes rest
        if target == b"*" and method == b"OPTIONS":
            return b"*"
        lowered = target[:8].lower()
        if lowered.startswith(b"http://"):
            rest = target[7:]
        elif lowered.startswith(b"https://"):
            rest = target[8:]
        else:
            self.refuse(400, "the request target is neither a path nor an http URL")
            return None
        slash = rest.find(b"/")
        mark = rest.find(b"?")
        if 0 <= mark and (slash < 0 or mark < slash):
            self.refuse(400, "the request target has no path")
            return None
        if slash < 0:
            self.head.authority = rest
            return b"/"
        self.head.authority = rest[:slash]
        return rest[slash:]

    cdef Head take_answer(self, int status, int version):
        cdef Head head = self.head
        self.untouched = False
        if self.fault is not None:
            return None
        if version != 10 and version != 11:
            self.refuse(502, "the upstream does not speak HTTP/1.1")
            return None
        if status < 100 or status > 599:
            self.refuse(502, f"status {status} is not a status")
            return None
        if self.codings:
            if self.lengths:
                self.refuse(502, "both Content-Length and Transfer-Encoding")
            elif self.codings > 1 or not self.chunked or version == 10:
                self.refuse(502, "a Transfer-Encoding that cannot be trusted")
            if self.fault is not None:
                return None
            head.length = UNKNOWN_LENGTH
        elif not self.lengths:
            head.length = NO_BODY if status < 200 or status == 204 or status == 304 else UNKNOWN_LENGTH
        head.status = status
        head.version = version
        head.keep_alive = not self.close and (version == 11 or self.keep)
        # without a length the answer ends where the connection does
        if not self.codings and not self.lengths and head.length == UNKNOWN_LENGTH:
            head.keep_alive = False
            head.until_close = True
        if self.nominated is not None:
            head.fields = [pair for pair in head.fields if pair[0] not in self.nominated]
        self.begin()
        return head

    cdef Head take_request2(self, bytes method, bytes scheme, bytes path, bytes authority, bint ended):
        cdef Head head = self.head
        cdef Py_ssize_t mark
        self.untouched = False
        if self.fault is not None:
            return None
        if method is None or scheme is None or path is None:
            self.refuse(405 if method == b"CONNECT" else 400, "a pseudo-header field is missing")
        elif method == b"CONNECT":
            self.refuse(405, "CONNECT is not offered")
        elif scheme != b"http" and scheme != b"https":
            self.refuse(400, "the scheme is neither http nor https")
        elif self.codings or self.close or self.keep or head.upgrades:
            self.refuse(400, "a field that belongs to HTTP/1.1 connections")
        elif self.hosts > 1:
            self.refuse(400, "more than one Host")
        elif authority is not None and self.hosts and head.authority.lower() != authority.lower():
            self.refuse(400, "Host differs from :authority")
        elif not sound_target(path) or (path != b"*" if method == b"OPTIONS" and path[:1] == b"*" else path[:1] != b"/"):
            self.refuse(400, "the request target is not a path")
        elif ended and head.length > 0:
            self.refuse(400, "a Content-Length without a body")
        if self.fault is not None:
            return None
        if authority is not None:
            head.authority = authority
        if head.authority is None or not sound_host(head.authority):
            self.refuse(400, ":authority is not a host name with an optional port")
            return None
        if not ended and not self.lengths:
            head.length = UNKNOWN_LENGTH
        mark = path.find(b"?")
        head.method = method
        head.target = path
        head.path = path if mark < 0 else path[:mark]
        head.host = host_of(head.authority)
        head.version = 20
        head.keep_alive = True
        self.head = None
        return head

    cdef Head take_answer2(self, int status, bint ended, bint to_head):
        cdef Head head = self.head
        self.untouched = False
        if self.fault is not None:
            return None
        if status < 100 or status > 599 or status == 101:
            self.refuse(502, f"status {status} is no status of HTTP/2")
        elif self.codings or self.close or self.keep or head.upgrades:
            self.refuse(502, "a field that belongs to HTTP/1.1 connections")
        elif ended and head.length > 0 and not to_head and status != 304:
            self.refuse(502, "a Content-Length without a body")
        if self.fault is not None:
            return None
        if to_head or status == 304:
            # says nothing of the body it leaves out, or how long that would be
            head.length = head.length if self.lengths else UNKNOWN_LENGTH if to_head else NO_BODY
        elif ended:
            head.length = NO_BODY
        elif not self.lengths:
            head.length = UNKNOWN_LENGTH
        head.status = status
        head.version = 20
        head.keep_alive = True
        self.head = None
        return head

    cdef list take_trailers(self):
        cdef list fields = self.head.fields
        self.head.fields = None
        for pair in fields:
            if (<tuple>pair)[0] in NO_TRAILER:
                fields = [pair for pair in fields if pair[0] not in NO_TRAILER]
                break
        return fields if fields else None


def read_request(bytes method, bytes target, int version, list fields, Py_ssize_t size_limit=65536, int count_limit=100):
    """Read one request head; return the Head, or (status, reason) when it is refused.

    Args:
        method, target: as on the request line.
        version: 10 or 11; anything else is refused.
        fields: (name, value) pairs as on the wire.
        size_limit, count_limit: bounds on the fields.
    """
    cdef HeadReader reader = HeadReader(size_limit, count_limit)
    for name, value in fields:
        if reader.add(name, value) < 0:
            return reader.fault_status, reader.fault
    head = reader.take_request(method, target, version)
    return head if head is not None else (reader.fault_status, reader.fault)


def read_answer(int status, int version, list fields, Py_ssize_t size_limit=65536, int count_limit=100):
    """Read one answer's head; return the Head, or (502, reason) when it is refused. Arguments as above."""
    cdef HeadReader reader = HeadReader(size_limit, count_limit)
    for name, value in fields:
        if reader.add(name, value) < 0:
            return 502, reader.fault
    head = reader.take_answer(status, version)
    return head if head is not None else (reader.fault_status, reader.fault)


def read_request2(
    bytes method, bytes scheme, bytes path, bytes authority, list fields, bint ended, Py_ssize_t size_limit=65536,
    int count_limit=100,
):
    """Read one request head of HTTP/2; return the Head, or (status, reason). ``ended``: no body follows."""
    cdef HeadReader reader = HeadReader(size_limit, count_limit)
    for name, value in fields:
        if reader.add(name, value) < 0:
            return reader.fault_status, reader.fault
    head = reader.take_request2(method, scheme, path, authority, ended)
    return head if head is not None else (reader.fault_status, reader.fault)


def seconds_ns(bytes value):
    """Nanoseconds of an x-request-timeout (``1.5``, ``1.5s``, ``200ms``); -1 when it is none, or not above 0."""
    return parse_seconds(value)


def seconds_of(uint64_t ns):
    """An x-request-timeout: seconds with three places, rounded down, at least a millisecond."""
    return write_seconds(ns)


def is_plain_path(bytes path):
    """True when no reader could take this path for another one: no dot segments, no encoded separators."""
    return plain_path(path)


def write_message_head(bytes first_line, list fields, bytes last=b""):
    """Return first_line, the fields and ``last`` as one head that ends in an empty line."""
    return write_head(first_line, fields, last)
