from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.string cimport memcmp
from native.codec.numbers cimport parse_length
from native.http.nghttp2 cimport (
    NGHTTP2_NV_FLAG_NO_INDEX, nghttp2_rcbuf_decref, nghttp2_rcbuf_get_buf, nghttp2_rcbuf_incref, nghttp2_vec,
)

# A field section that decodes to this many times the limit is a compression bomb and not a large request.
cdef int BOMB = 4
# RFC 9113 6.5.2: the overhead that is added to the size of each field.
cdef Py_ssize_t FIELD_OVERHEAD = 32

cdef enum Pseudo:               # negative, so that they differ from the kinds of HeadReader
    PATH = -1
    METHOD = -2
    SCHEME = -3
    AUTHORITY = -4
    STATUS = -5


cdef inline int first_slot(const nghttp2_rcbuf* name, const nghttp2_rcbuf* value) noexcept:
    """Fibonacci hashing (Knuth, TAOCP 6.4): addresses differ in few bits; the product's top bits depend on all bits."""
    return <int>((<uint64_t><size_t>name * 31 + <uint64_t><size_t>value) * <uint64_t>0x9E3779B97F4A7C15 >> 58)


cdef int pseudo_kind(const nghttp2_vec* key) noexcept:
    """Return the Pseudo of a name; 0 = no such pseudo-header field exists."""
    cdef const char* name = <const char*>key.base
    if key.len == 5 and memcmp(name, b":path", 5) == 0:
        return PATH
    if key.len == 7 and memcmp(name, b":method", 7) == 0:
        return METHOD
    if key.len == 7 and memcmp(name, b":scheme", 7) == 0:
        return SCHEME
    if key.len == 10 and memcmp(name, b":authority", 10) == 0:
        return AUTHORITY
    return STATUS if key.len == 7 and memcmp(name, b":status", 7) == 0 else 0


cdef class BlockReader:
    def __init__(self, Py_ssize_t header_bytes, int header_count):
        self.reader = HeadReader(header_bytes, header_count)
        self.decoded_limit = BOMB * (header_bytes + header_count * FIELD_OVERHEAD)
        self.made = [None] * CACHED

    def __dealloc__(self):
        self.forget()

    cdef void begin(self):
        self.decoded = 0
        self.method = self.scheme = self.path = self.authority = None
        self.status = 0
        self.cookies = None

    cdef void begin_fields(self):
        self.reader.begin()

    cdef int add(self, nghttp2_rcbuf* name, nghttp2_rcbuf* value, uint8_t flags) except -1:
        cdef nghttp2_vec key = nghttp2_rcbuf_get_buf(name)
        cdef nghttp2_vec text = nghttp2_rcbuf_get_buf(value)
        cdef int slot
        cdef int kind
        self.decoded += <Py_ssize_t>(key.len + text.len) + FIELD_OVERHEAD
        if self.decoded > self.decoded_limit:
            return 1
        if self.block == <int>UNWANTED:
            return 0
        slot = self._find(name, value)
        if slot >= 0:
            kind = self.kinds[slot]
            if kind < 0:
                self._take_pseudo(kind, <bytes>self.made[slot])
            else:
                self.reader.add_known(<tuple>self.made[slot], kind)
            return 0
        content = PyBytes_FromStringAndSize(<char*>text.base, <Py_ssize_t>text.len)
        if key.len and key.base[0] == c":":
            kind = pseudo_kind(&key)
            self._take_pseudo(kind, content)
            if kind:
                self._remember(name, value, content, kind)
        elif key.len == 6 and memcmp(key.base, b"cookie", 6) == 0:
            # RFC 9113 8.2.3: split cookies are joined to a single field outside HTTP/2
            if self.cookies is None:
                self.cookies = []
            self.cookies.append(content)
        else:
            self.reader.add(PyBytes_FromStringAndSize(<char*>key.base, <Py_ssize_t>key.len), content)
            # a field that its sender does not index will hardly be repeated
            if self.reader.last_field is not None and not flags & NGHTTP2_NV_FLAG_NO_INDEX:
                self._remember(name, value, self.reader.last_field, self.reader.last_kind)
        return 0

    cdef int end(self):
        cdef int block = self.block
        cdef list cookies = self.cookies
        self.block = UNWANTED
        if cookies is not None and block == <int>HEAD:
            self.reader.add(b"cookie", <bytes>cookies[0] if len(cookies) == 1 else b"; ".join(cookies))
        self.cookies = None
        return block

    cdef void forget(self):
        cdef int slot
        for slot in range(CACHED):
            if self.names[slot] != NULL:
                nghttp2_rcbuf_decref(self.names[slot])
                nghttp2_rcbuf_decref(self.values[slot])
                self.names[slot] = NULL
                self.values[slot] = NULL

    cdef int _find(self, const nghttp2_rcbuf* name, const nghttp2_rcbuf* value) noexcept:
        """Return the slot of a field; -1 = the field is not in the cache."""
        cdef int first = first_slot(name, value)
        cdef int slot
        cdef int turn
        for turn in range(TRIES):
            slot = (first + turn) & (CACHED - 1)
            if self.names[slot] == name and self.values[slot] == value:
                self.recently_used[slot] = True
                return slot
        return -1

    cdef void _remember(self, nghttp2_rcbuf* name, nghttp2_rcbuf* value, object made, int kind):
        """Add a field to the cache."""
        cdef int first = first_slot(name, value)
        cdef int slot
        cdef int turn
        if nghttp2_rcbuf_get_buf(name).len + nghttp2_rcbuf_get_buf(value).len > CACHED_BYTES:
            return
        # Second chance (Corbato 1968): a field that was received since its slot was last considered keeps the slot.
        for turn in range(TRIES):
            slot = (first + turn) & (CACHED - 1)
            if not self.recently_used[slot]:
                break
            self.recently_used[slot] = False
        else:
            slot = first
        if self.names[slot] != NULL:
            nghttp2_rcbuf_decref(self.names[slot])
            nghttp2_rcbuf_decref(self.values[slot])
        nghttp2_rcbuf_incref(name)
        nghttp2_rcbuf_incref(value)
        self.names[slot] = name
        self.values[slot] = value
        self.made[slot] = made
        self.kinds[slot] = kind
        self.recently_used[slot] = True

    cdef void _take_pseudo(self, int kind, bytes value):
        """Keep a pseudo-header field. The session accepts each once, before all other fields, and none in trailers."""
        if kind == PATH:
            self.path = value
        elif kind == METHOD:
            self.method = value
        elif kind == SCHEME:
            self.scheme = value
        elif kind == AUTHORITY:
            self.authority = value
        elif kind == STATUS:
            self.status = <int>parse_length(value)
        else:
            self.reader.refuse(400, "a pseudo-header field that is none")
