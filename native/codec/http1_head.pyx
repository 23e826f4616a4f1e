from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.string cimport memcmp, memcpy
from native.codec.characters cimport IN_TARGET, char_class, name_end, value_end
from native.codec.target_limit cimport TARGET_LIMIT

# RFC 9112 2.2 asks for at least one empty line before a request to be ignored; old clients send one behind a body.
cdef int EMPTY_LINE_LIMIT = 8
# Offsets of slices have 32 bits, and no head is as large.
cdef Py_ssize_t LARGEST_HEAD = 1 << 30

# Methods that IANA's registry or a widespread protocol knows, the frequent ones first. A request with another is refused:
# no rule of retries or of bodies knows it.
METHODS = (
    b"POST", b"GET", b"HEAD", b"OPTIONS", b"PUT", b"PATCH", b"DELETE", b"TRACE", b"CONNECT", b"COPY", b"LOCK", b"MKCOL",
    b"MOVE", b"PROPFIND", b"PROPPATCH", b"SEARCH", b"UNLOCK", b"BIND", b"REBIND", b"UNBIND", b"ACL", b"REPORT",
    b"MKACTIVITY", b"CHECKOUT", b"MERGE", b"M-SEARCH", b"NOTIFY", b"SUBSCRIBE", b"UNSUBSCRIBE", b"PURGE", b"MKCALENDAR",
    b"LINK", b"UNLINK", b"SOURCE", b"QUERY",
)

cdef enum:
    METHOD_COUNT = 35
    LONGEST_METHOD = 11

cdef struct Method:
    const char* name
    Py_ssize_t size

cdef Method[METHOD_COUNT] METHOD_TABLE

cdef dict SENTENCES = {
    <int>BAD_METHOD: "the method is not known",
    <int>BAD_TARGET: "a character in the request target that must be percent-encoded",
    <int>LONG_TARGET: f"the request target is longer than {<int>TARGET_LIMIT} bytes",
    <int>BAD_PROTOCOL: "HTTP/ is missing",
    <int>BAD_VERSION: "the version is none of HTTP",
    <int>OTHER_VERSION: "only HTTP/1.1 and HTTP/1.0 are spoken here",
    <int>BAD_STATUS: "the status is not three digits",
    <int>BAD_PHRASE: "a control character in the reason phrase",
    <int>BAD_LINE_END: "a line does not end in CR LF",
    <int>MANY_EMPTY_LINES: f"more than {EMPTY_LINE_LIMIT} empty lines before a request",
    <int>EMPTY_NAME: "an empty header name",
    <int>BAD_NAME: "a character in a header name that no token has",
    <int>SPACE_BEFORE_COLON: "white space before the colon of a header field",
    <int>FOLDED_LINE: "a header line that begins with white space",
    <int>BAD_VALUE: "a control character in a header value",
}

cdef enum State:
    START               # of the head; empty lines are skipped
    START_LF
    METHOD
    BEFORE_TARGET
    TARGET
    BEFORE_VERSION
    VERSION             # ``step`` bytes of it have come
    BEFORE_STATUS
    STATUS
    AFTER_STATUS
    PHRASE
    LINE_CR
    LINE_LF
    FIELD
    NAME
    BEFORE_VALUE
    VALUE
    FIELD_LF
    END_LF


cdef fill_method_table():
    cdef int number
    if len(METHODS) != METHOD_COUNT or max(map(len, METHODS)) != LONGEST_METHOD:
        raise AssertionError("the bounds on methods are not those of METHODS")
    for number in range(METHOD_COUNT):
        METHOD_TABLE[number].name = PyBytes_AS_STRING(METHODS[number])
        METHOD_TABLE[number].size = PyBytes_GET_SIZE(METHODS[number])


fill_method_table()


cdef bytes method_name(int number):
    return <bytes>(<tuple>METHODS)[number]


cdef int find_method(const unsigned char* p, Py_ssize_t size) noexcept nogil:
    """Return the number of a method; -1 = not known."""
    cdef int number
    for number in range(METHOD_COUNT):
        if METHOD_TABLE[number].size == size and memcmp(METHOD_TABLE[number].name, p, size) == 0:
            return number
    return -1


cdef bint begins_method(const unsigned char* p, Py_ssize_t size) noexcept nogil:
    """Return whether a known method begins with these bytes: what is none is refused before its end has come."""
    cdef int number
    for number in range(METHOD_COUNT):
        if METHOD_TABLE[number].size >= size and memcmp(METHOD_TABLE[number].name, p, size) == 0:
            return True
    return False


cdef inline int refuse(HeadScan* scan, HeadFault fault) noexcept nogil:
    scan.fault = fault
    return REFUSED


cdef inline int judge_version(HeadScan* scan, int number) noexcept nogil:
    """Take HTTP/1.1 and HTTP/1.0; -1 = refused."""
    if number == 10 or number == 11:
        scan.version = number
        return 0
    return refuse(scan, OTHER_VERSION if number == 9 or number == 20 else BAD_VERSION)


cdef int scan_version(HeadScan* scan, unsigned char c) noexcept nogil:
    """Take the next byte of HTTP/1.1; 1 = it was the last, 0 = more follow, -1 = refused. The digits are in status."""
    if scan.step < 5:
        if c != (<const unsigned char*>b"HTTP/")[scan.step]:
            return refuse(scan, BAD_PROTOCOL)
    elif scan.step == 6:
        if c != c".":
            return refuse(scan, BAD_VERSION)
    elif c < c"0" or c > c"9":
        return refuse(scan, BAD_VERSION)
    elif scan.step == 5:
        scan.status = (c - c"0") * 10
    else:
        c = <unsigned char>(scan.status + c - c"0")
        scan.status = 0
        return REFUSED if judge_version(scan, c) < 0 else 1
    scan.step += 1
    return 0


cdef int scan_request_line(HeadScan* scan, const unsigned char* p, Py_ssize_t end) noexcept nogil:
    cdef Py_ssize_t at = scan.at
    cdef int state = scan.state
    cdef int taken
    cdef unsigned char c
    while at < end:
        c = p[at]
        if state == START:
            if c == c"\r":
                state = START_LF
                at += 1
                continue
            if c == c"\n":
                return refuse(scan, BAD_LINE_END)
            scan.begun = True
            scan.mark = at
            state = METHOD
        elif state == START_LF:
            if c != c"\n":
                return refuse(scan, BAD_LINE_END)
            scan.step += 1
            if scan.step > EMPTY_LINE_LIMIT:
                return refuse(scan, MANY_EMPTY_LINES)
            state = START
            at += 1
        elif state == METHOD:
            while at < end and (c"A" <= p[at] <= c"Z" or p[at] == c"-"):
                at += 1
            if at == end:
                if not begins_method(p + scan.mark, at - scan.mark):
                    return refuse(scan, BAD_METHOD)
                break
            scan.method = find_method(p + scan.mark, at - scan.mark) if p[at] == c" " else -1
            if scan.method < 0:
                return refuse(scan, BAD_METHOD)
            state = BEFORE_TARGET
        elif state == BEFORE_TARGET:
            if c == c" ":
                at += 1
                continue
            scan.mark = at
            state = TARGET
        elif state == TARGET:
            while at < end and char_class[p[at]] & IN_TARGET and at - scan.mark <= TARGET_LIMIT:
                at += 1
            if at - scan.mark > TARGET_LIMIT:
                return refuse(scan, LONG_TARGET)
            if at == end:
                break
            if p[at] == c"\r" and at > scan.mark:
                return refuse(scan, OTHER_VERSION)      # a request of HTTP/0.9 names none
            if p[at] == c"\n" and at > scan.mark:
                return refuse(scan, BAD_LINE_END)
            if p[at] != c" ":
                return refuse(scan, BAD_TARGET)
            scan.target = <unsigned int>scan.mark
            scan.target_size = <unsigned int>(at - scan.mark)
            state = BEFORE_VERSION
        elif state == BEFORE_VERSION:
            if c == c" ":
                at += 1
                continue
            scan.step = 0
            state = VERSION
            if end - at >= 10 and memcmp(p + at, b"HTTP/1.1\r\n", 10) == 0:
                scan.version = 11
                state = FIELD
                at += 10
                break
        elif state == VERSION:
            taken = scan_version(scan, c)
            if taken < 0:
                return REFUSED
            if taken:
                state = LINE_CR
            at += 1
        elif state == LINE_CR:
            if c != c"\r":
                return refuse(scan, BAD_LINE_END)
            state = LINE_LF
            at += 1
        else:
            if c != c"\n":
                return refuse(scan, BAD_LINE_END)
            state = FIELD
            at += 1
            break
    scan.at = at
    scan.state = state
    return NEED_MORE


cdef int scan_status_line(HeadScan* scan, const unsigned char* p, Py_ssize_t end) noexcept nogil:
    cdef Py_ssize_t at = scan.at
    cdef int state = scan.state
    cdef int taken
    cdef unsigned char c
    while at < end:
        c = p[at]
        if state == START:
            scan.begun = True
            state = VERSION
        elif state == VERSION:
            taken = scan_version(scan, c)
            if taken < 0:
                return REFUSED
            if taken:
                state = BEFORE_STATUS
            at += 1
        elif state == BEFORE_STATUS:
            if c != c" ":
                return refuse(scan, BAD_VERSION)
            scan.step = 0
            state = STATUS
            at += 1
        elif state == STATUS:
            if c < c"0" or c > c"9":
                return refuse(scan, BAD_STATUS)
            scan.status = scan.status * 10 + (c - c"0")
            scan.step += 1
            if scan.step == 3:
                state = AFTER_STATUS
            at += 1
        elif state == AFTER_STATUS:
            # RFC 9112 4 wants the space; servers that have no phrase leave it out
            if c == c" ":
                state = PHRASE
                at += 1
            elif c == c"\r":
                state = LINE_CR
            else:
                return refuse(scan, BAD_STATUS)
        elif state == PHRASE:
            at = value_end(p, at, end)
            if at < end:
                if p[at] != c"\r":
                    return refuse(scan, BAD_LINE_END if p[at] == c"\n" else BAD_PHRASE)
                state = LINE_CR
        elif state == LINE_CR:
            state = LINE_LF
            at += 1
        else:
            if c != c"\n":
                return refuse(scan, BAD_LINE_END)
            state = FIELD
            at += 1
            break
    scan.at = at
    scan.state = state
    return NEED_MORE


cdef inline HeadFault name_fault(unsigned char c) noexcept nogil:
    """Return what is wrong where a name ends in this byte and not in a colon."""
    if c == c"\n":
        return BAD_LINE_END
    return SPACE_BEFORE_COLON if c == c" " or c == c"\t" else BAD_NAME


cdef int take_field(HeadScan* scan, FieldSlice* field, Py_ssize_t value, Py_ssize_t value_end) noexcept nogil:
    """Count the field whose line ends here; -1 = too many, or too large."""
    field.value = <unsigned int>value
    field.value_size = <unsigned int>(value_end - value)
    scan.count += 1
    scan.size += field.name_size + field.value_size + 4
    return refuse(scan, LARGE_FIELDS) if scan.size > scan.size_limit else 0


cdef inline const KeptLine* next_kept(const HeadScan* scan, const unsigned char* p, Py_ssize_t left) noexcept nogil:
    """Return the line of the head before that stands here again, complete and byte for byte; NULL = another does."""
    cdef const KeptText* kept = scan.kept
    cdef const KeptLine* line
    if kept == NULL or scan.count >= kept.count:
        return NULL
    line = &kept.lines[scan.count]
    return line if left >= line.size and memcmp(p, kept.start + line.at, line.size) == 0 else NULL


cdef int scan_kept(HeadScan* scan, const unsigned char* p, Py_ssize_t end) noexcept nogil:
    """Take a first line that is that of the head before, or a whole head that is. 0 = another begins, or the line is not
    complete; 1 = the fields follow; 2 = the head is complete. The bounds are those that the head before was within."""
    cdef const KeptText* kept = scan.kept
    if kept == NULL or kept.first == 0 or end < kept.first or memcmp(p, kept.start, kept.first) != 0:
        return 0
    scan.begun = scan.first_kept = True
    scan.method = kept.method
    scan.target = kept.target
    scan.target_size = kept.target_size
    scan.version = kept.version
    scan.status = kept.status
    scan.at = scan.first = kept.first
    scan.state = FIELD
    if kept.size == 0 or end < kept.size or memcmp(p + kept.first, kept.start + kept.first, kept.size - kept.first) != 0:
        return 1
    scan.all_kept = True
    scan.count = kept.count
    scan.at = kept.size
    return 2


cdef int scan_fields(HeadScan* scan, const unsigned char* p, Py_ssize_t end) noexcept nogil:
    """Scan the lines behind the first. Each turn of the loop goes through the states of one line, in order."""
    cdef Py_ssize_t at = scan.at
    cdef Py_ssize_t last
    cdef int state = scan.state
    cdef FieldSlice* field = scan.fields + scan.count
    cdef const KeptLine* line
    while at < end:
        if state == FIELD:
            if p[at] == c"\r":
                state = END_LF
                at += 1
                continue
            if p[at] == c" " or p[at] == c"\t":
                return refuse(scan, FOLDED_LINE)
            if scan.count >= scan.count_limit:
                return refuse(scan, MANY_FIELDS)
            line = next_kept(scan, p + at, end - at)
            field.line = line
            if line != NULL:
                field.name = <unsigned int>at
                field.name_size = line.name_size
                if take_field(scan, field, at + line.value, at + line.value + line.value_size) < 0:
                    return REFUSED
                field += 1
                at += line.size
                continue
            scan.mark = at
            state = NAME
        if state == NAME:
            at = name_end(p, at, end)
            if at == end:
                break
            if p[at] != c":":
                return refuse(scan, name_fault(p[at]))
            if at == scan.mark:
                return refuse(scan, EMPTY_NAME)
            field.name = <unsigned int>scan.mark
            field.name_size = <unsigned int>(at - scan.mark)
            state = BEFORE_VALUE
            at += 1
        if state == BEFORE_VALUE:
            while at < end and (p[at] == c" " or p[at] == c"\t"):
                at += 1
            if at == end:
                break
            scan.mark = at
            state = VALUE
        if state == VALUE:
            at = value_end(p, at, end)
            if at == end:
                break
            if p[at] != c"\r":
                return refuse(scan, BAD_LINE_END if p[at] == c"\n" else BAD_VALUE)
            last = at
            while last > scan.mark and (p[last - 1] == c" " or p[last - 1] == c"\t"):
                last -= 1
            if take_field(scan, field, scan.mark, last) < 0:
                return REFUSED
            field += 1
            state = FIELD_LF
            at += 1
            if at == end:
                break
        if p[at] != c"\n":
            return refuse(scan, BAD_LINE_END)
        at += 1
        if state == END_LF:
            scan.at = at
            return COMPLETE
        state = FIELD
    scan.at = at
    scan.state = state
    return NEED_MORE


cdef int scan_bytes(HeadScan* scan, bint is_request, const char* head, Py_ssize_t size) noexcept nogil:
    """Scan on in a head of which so many bytes have come; a Scanned."""
    cdef const unsigned char* p = <const unsigned char*>head
    cdef Py_ssize_t end = min(size, scan.head_limit)
    cdef int result = NEED_MORE
    cdef int kept = scan_kept(scan, p, end) if scan.at == 0 else 0
    if kept == 2:
        return COMPLETE
    if scan.state < FIELD:
        result = scan_request_line(scan, p, end) if is_request else scan_status_line(scan, p, end)
        scan.first = scan.at
    if result == NEED_MORE and scan.state >= FIELD:
        result = scan_fields(scan, p, end)
    if result == NEED_MORE and scan.at == scan.head_limit:
        return refuse(scan, LARGE_FIELDS)
    return result


# Scans that end in the bytes they began in use one table: nothing else runs during a scan.
cdef FieldSlice* SHARED_FIELDS = NULL
cdef int SHARED_ROOM = 0


cdef class HeadScanner:
    """Scans one head after another.

    Args:
        is_request: the heads are of requests; otherwise of responses.
        head_limit: bound on the bytes of a head.
        size_limit, count_limit: bounds on its fields: on the sum of names, values and 4 for each, and on their number.
    """

    def __cinit__(self, bint is_request, Py_ssize_t head_limit, Py_ssize_t size_limit, int count_limit):
        global SHARED_FIELDS, SHARED_ROOM
        cdef void* more
        if count_limit > SHARED_ROOM or SHARED_FIELDS == NULL:
            more = PyMem_Realloc(SHARED_FIELDS, (max(count_limit, 0) + 1) * sizeof(FieldSlice))
            if more == NULL:
                raise MemoryError
            SHARED_FIELDS = <FieldSlice*>more
            SHARED_ROOM = count_limit
        self.is_request = is_request
        self.scan.head_limit = min(head_limit, LARGEST_HEAD)
        self.scan.size_limit = size_limit
        self.scan.count_limit = count_limit

    def __dealloc__(self):
        PyMem_Free(self.held)
        PyMem_Free(self.own_fields)

    cdef int feed(self, const char* data, Py_ssize_t size) except? -2:
        cdef Py_ssize_t before = self.held_size
        cdef int result
        if self.held == NULL:
            self.base = data
            self.scan.fields = SHARED_FIELDS
            result = scan_bytes(&self.scan, self.is_request, data, size)
        else:
            self.hold(data, size)
            self.base = self.held
            result = scan_bytes(&self.scan, self.is_request, self.held, self.held_size)
        self.used = size
        if result == COMPLETE:
            self.used = self.scan.at - before
        elif result == NEED_MORE and self.held == NULL:
            self.hold(data, size)
        return result

    cdef int hold(self, const char* data, Py_ssize_t size) except -1:
        """Copy what has come of a head. The scan never reads beyond the limit, so no more is kept."""
        cdef Py_ssize_t room = min(size, self.scan.head_limit - self.held_size)
        cdef Py_ssize_t needed = self.held_size + room
        cdef void* more
        if needed > self.held_room or self.held == NULL:
            more = PyMem_Realloc(self.held, max(needed * 2, 512))
            if more == NULL:
                raise MemoryError
            self.held = <char*>more
            self.held_room = max(needed * 2, 512)
        if self.own_fields == NULL:
            self.own_fields = <FieldSlice*>PyMem_Malloc((self.scan.count_limit + 1) * sizeof(FieldSlice))
            if self.own_fields == NULL:
                raise MemoryError
            memcpy(self.own_fields, SHARED_FIELDS, (self.scan.count + 1) * sizeof(FieldSlice))
            self.scan.fields = self.own_fields
        memcpy(self.held + self.held_size, data, room)
        self.held_size += room
        return 0

    cdef int release(self) except -1:
        if self.held != NULL:
            PyMem_Free(self.held)
            PyMem_Free(self.own_fields)
            self.held = NULL
            self.own_fields = NULL
            self.held_size = self.held_room = 0
        self.base = NULL
        self.scan.state = START
        self.scan.begun = self.scan.first_kept = self.scan.all_kept = False
        self.scan.fault = SOUND
        self.scan.status = self.scan.step = self.scan.count = 0
        self.scan.at = self.scan.size = 0

    cdef str describe(self):
        if self.scan.fault == MANY_FIELDS:
            return f"more than {self.scan.count_limit} header fields"
        if self.scan.fault == LARGE_FIELDS:
            return f"header fields larger than {self.scan.size_limit} bytes"
        return SENTENCES[<int>self.scan.fault]

    cdef int refusal_status(self):
        if self.scan.fault == MANY_FIELDS or self.scan.fault == LARGE_FIELDS:
            return 431
        if self.scan.fault == LONG_TARGET:
            return 414
        return 505 if self.scan.fault == OTHER_VERSION else 400


def scan_head(
    list pieces not None, bint is_request, Py_ssize_t head_limit=81920, Py_ssize_t size_limit=65536, int count_limit=100
):
    """Scan one head that comes in these pieces.

    Returns:
        (method, target, version, status, fields, bytes of the head), (status, reason) of what is refused, or None when
        the head is not complete. Names are as they were sent.
    """
    cdef HeadScanner scanner = HeadScanner(is_request, head_limit, size_limit, count_limit)
    cdef FieldSlice* field
    cdef bytes piece
    cdef int result = NEED_MORE
    cdef int number
    for item in pieces:
        piece = <bytes?>item
        result = scanner.feed(PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))
        if result != NEED_MORE:
            break
    else:
        return None
    if result == REFUSED:
        return scanner.refusal_status(), scanner.describe()
    fields = []
    for number in range(scanner.scan.count):
        field = &scanner.scan.fields[number]
        fields.append((
            scanner.base[field.name:field.name + field.name_size],
            scanner.base[field.value:field.value + field.value_size],
        ))
    return (
        method_name(scanner.scan.method) if is_request else b"",
        scanner.base[scanner.scan.target:scanner.scan.target + scanner.scan.target_size] if is_request else b"",
        scanner.scan.version,
        scanner.scan.status,
        fields,
        scanner.scan.at,
    )
