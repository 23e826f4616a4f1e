from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp
from native.codec.field_list cimport FieldView, field_at
from native.http.nghttp2 cimport (
    NGHTTP2_NV_FLAG_NO_COPY_NAME, NGHTTP2_NV_FLAG_NO_COPY_VALUE, NGHTTP2_NV_FLAG_NO_INDEX, nghttp2_nv,
)

cdef nghttp2_nv* PAIRS = NULL
cdef Py_ssize_t PAIRS_SIZE = 0
cdef int OMITTED = -1


cdef nghttp2_nv* scratch_pairs(Py_ssize_t count) except NULL:
    global PAIRS, PAIRS_SIZE
    if count > PAIRS_SIZE:
        free(PAIRS)
        PAIRS_SIZE = count + 64
        PAIRS = <nghttp2_nv*>malloc(PAIRS_SIZE * sizeof(nghttp2_nv))
        if PAIRS == NULL:
            PAIRS_SIZE = 0
            raise MemoryError
    return PAIRS


cdef int add_pair(nghttp2_nv* pairs, int at, bytes name, bytes value) except -1:
    pairs[at].name = <uint8_t*>PyBytes_AS_STRING(name)
    pairs[at].namelen = PyBytes_GET_SIZE(name)
    pairs[at].value = <uint8_t*>PyBytes_AS_STRING(value)
    pairs[at].valuelen = PyBytes_GET_SIZE(value)
    pairs[at].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME
    return at + 1


cdef int name_bit(const char* name, Py_ssize_t size) noexcept:
    """Return a bit for a name whose value differs in each message, OMITTED for a name that HTTP/2 forbids, else 0."""
    # The fields of an HTTP/1.1 upgrade are omitted (RFC 9113 8.2.2, 8.6).
    if size == 7:
        return OMITTED if memcmp(name, b"upgrade", 7) == 0 else 0
    if size == 10:
        return OMITTED if memcmp(name, b"connection", 10) == 0 else 0
    if size == 11:
        return 1 if memcmp(name, b"traceparent", 11) == 0 else 0
    if size == 12:
        if memcmp(name, b"x-request-id", 12) == 0:
            return 256
        return 2 if memcmp(name, b"grpc-timeout", 12) == 0 else 0
    if size == 17:
        if memcmp(name, b"x-edge-request-id", 17) == 0:
            return 4
        return 8 if memcmp(name, b"x-request-timeout", 17) == 0 else 0
    if size < 24 or memcmp(name, b"x-ratelimit-re", 14) != 0:
        return 0
    if size == 30:
        return 16 if memcmp(name, b"x-ratelimit-remaining-requests", 30) == 0 else 0
    if size == 28:
        return 32 if memcmp(name, b"x-ratelimit-remaining-tokens", 28) == 0 else 0
    if size == 26:
        return 64 if memcmp(name, b"x-ratelimit-reset-requests", 26) == 0 else 0
    return 128 if size == 24 and memcmp(name, b"x-ratelimit-reset-tokens", 24) == 0 else 0


cdef class FieldWriter:
    def __cinit__(self):
        self.borrowed = []

    cdef int add_fields(self, nghttp2_nv* pairs, int at, list fields) except -1:
        cdef FieldView field
        cdef Py_ssize_t place
        cdef int bit
        for place in range(PyList_GET_SIZE(fields)):
            if not field_at(fields, place, &field):
                raise TypeError("a field is a pair of bytes")
            bit = name_bit(field.name, field.name_size)
            if bit == OMITTED:
                continue
            pairs[at].name = <uint8_t*>field.name
            pairs[at].namelen = field.name_size
            pairs[at].value = <uint8_t*>field.value
            pairs[at].valuelen = field.value_size
            pairs[at].flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE
            if bit:
                # The first field is indexed, so that its name is in the table. Later values would only evict fields
                # that repeat (RFC 7541 6.2.2).
                if self.sent_names & bit:
                    pairs[at].flags |= NGHTTP2_NV_FLAG_NO_INDEX
                self.sent_names |= bit
            at += 1
        self.borrowed.append(fields)
        return at

    cdef int release(self) except -1:
        self.borrowed.clear()
        return 0
