from cpython.bytes cimport PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM
from libc.stdint cimport uint64_t
from libc.string cimport memcmp
from native.codec.numbers cimport parse_length
from native.codec.target_limit cimport TARGET_LIMIT
from native.http.nghttp2 cimport (
    NGHTTP2_NV_FLAG_NO_INDEX, nghttp2_rcbuf_decref, nghttp2_rcbuf_get_buf, nghttp2_rcbuf_incref, nghttp2_vec,
)

# A field section that decodes to this many times the limit is a compression bomb and not a large request.
cdef int BOMB = 4
# RFC 9113 6.5.2: the overhead that is added to the size of each field.
cdef Py_ssize_t FIELD_OVERHEAD = 32

# Fields that a head has room for from the beginning.
cdef int FIELDS = 16

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

    cdef int begin(self, int block) except -1:
        self.block = block
        self.decoded = 0
        self.method = self.scheme = self.path = self.authority = None
        self.status = 0
        self.cookies = None
        if block != <int>UNWANTED:
            self.reader.begin(FIELDS)
        return 0

    cdef int add(self, nghttp2_rcbuf* name, nghttp2_rcbuf* value, uint8_t flags) except -1:
        cdef int slot
        cdef CachedField* field
        if self.block == <int>UNWANTED:
            self.decoded += <Py_ssize_t>(nghttp2_rcbuf_get_buf(name).len + nghttp2_rcbuf_get_buf(value).len)
            self.decoded += FIELD_OVERHEAD
            return self.decoded > self.decoded_limit
        slot = self._find(name, value)
        if slot < 0:
            return self._add_new(name, value, flags)
        field = &self.cache[slot]
        self.decoded += field.size + FIELD_OVERHEAD
        if self.decoded > self.decoded_limit:
            return 1
        if field.kind < 0:
            self._take_pseudo(field.kind, <bytes>PyList_GET_ITEM(self.made, slot))
        else:
            self.reader.add_known(<tuple>PyList_GET_ITEM(self.made, slot), field.kind, field.size)
        return 0

    cdef int _add_new(self, nghttp2_rcbuf* name, nghttp2_rcbuf* value, uint8_t flags) except -1:
        """Add a field that is not in the cache."""
        cdef nghttp2_vec key = nghttp2_rcbuf_get_buf(name)
        cdef nghttp2_vec text = nghttp2_rcbuf_get_buf(value)
        cdef int kind
        cdef bytes content
        self.decoded += <Py_ssize_t>(key.len + text.len) + FIELD_OVERHEAD
        if self.decoded > self.decoded_limit:
            return 1
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

    cdef int end(self) except -1:
        cdef int block = self.block
        cdef list cookies = self.cookies
        self.block = UNWANTED
        if cookies is not None and block == <int>HEAD:
            self.reader.add(b"cookie", <bytes>cookies[0] if len(cookies) == 1 else b"; ".join(cookies))
        self.cookies = None
        return block

    cdef void forget(self) noexcept:
        cdef int slot
        for slot in range(CACHED):
            if self.cache[slot].name != NULL:
                nghttp2_rcbuf_decref(self.cache[slot].name)
                nghttp2_rcbuf_decref(self.cache[slot].value)
                self.cache[slot].name = NULL
                self.cache[slot].value = NULL

    cdef int _find(self, const nghttp2_rcbuf* name, const nghttp2_rcbuf* value) noexcept:
        """Return the slot of a field; -1 = the field is not in the cache."""
        cdef int first = first_slot(name, value)
        cdef int slot
        cdef int turn
        for turn in range(TRIES):
            slot = (first + turn) & (CACHED - 1)
            if self.cache[slot].name == name and self.cache[slot].value == value:
                self.cache[slot].is_recent = True
                return slot
        return -1

    cdef int _remember(self, nghttp2_rcbuf* name, nghttp2_rcbuf* value, object made, int kind) except -1:
        """Add a field to the cache."""
        cdef int first = first_slot(name, value)
        cdef Py_ssize_t size = <Py_ssize_t>(nghttp2_rcbuf_get_buf(name).len + nghttp2_rcbuf_get_buf(value).len)
        cdef CachedField* field
        cdef int slot
        cdef int turn
        if size > CACHED_BYTES:
            return 0
        # Second chance (Corbato 1968): a field that was received since its slot was last considered keeps the slot.
        for turn in range(TRIES):
            slot = (first + turn) & (CACHED - 1)
            if not self.cache[slot].is_recent:
                break
            self.cache[slot].is_recent = False
        else:
            slot = first
        field = &self.cache[slot]
        if field.name != NULL:
            nghttp2_rcbuf_decref(field.name)
            nghttp2_rcbuf_decref(field.value)
        nghttp2_rcbuf_incref(name)
        nghttp2_rcbuf_incref(value)
        field.name = name
        field.value = value
        field.kind = kind
        field.is_recent = True
        field.size = size
        self.made[slot] = made
        return 0

    cdef int _take_pseudo(self, int kind, bytes value) except -1:
        """Keep a pseudo-header field. The session accepts each once, before all other fields, and none in trailers."""
        if kind == PATH:
            if PyBytes_GET_SIZE(value) > TARGET_LIMIT:
                self.reader.refuse(414, f"the request target is longer than {<int>TARGET_LIMIT} bytes")
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
        return 0
