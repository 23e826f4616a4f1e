"""Writes the parts of OTLP spans: ids, the keys of attributes, and attributes with a number, a count or a text.

Source: opentelemetry/proto/trace/v1/trace.proto and common/v1/common.proto 1.x."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy
from native.codec.protobuf cimport put, put_fixed64, put_varint, varint_size

cdef enum:                  # fields of messages, by number and wire type
    TRACE_ID = 0x0a         # Span: bytes
    SPAN_ID = 0x12
    PARENT_SPAN_ID = 0x22
    START_TIME = 0x39       # fixed64
    END_TIME = 0x41
    ATTRIBUTES = 0x4a
    EVENTS = 0x5a
    LINKS = 0x6a
    EVENT_TIME = 0x09       # Event: fixed64
    LINK_TRACE_ID = 0x0a    # Link: bytes
    LINK_SPAN_ID = 0x12
    LINK_FLAGS = 0x35       # fixed32
    KEY = 0x0a              # KeyValue: text
    VALUE = 0x12
    TEXT = 0x0a             # AnyValue
    COUNT = 0x18
    NUMBER = 0x21
    SPANS = 0x12            # ScopeSpans

cdef bytes text_key(str name)       # a KeyValue up to its value
cdef bytes number_key(str name)     # an attribute up to the eight bytes of its number
cdef int read_id(str text, int size, char* out) except -1       # ValueError: not ``size`` bytes in lower-case digits

cdef inline char* put_number(char* p, bytes before, double number) noexcept:
    """Write an attribute with a number; ``before`` is its number_key."""
    cdef uint64_t bits = 0
    memcpy(&bits, &number, 8)
    p = put(p, PyBytes_AS_STRING(before), PyBytes_GET_SIZE(before) - 1)
    return put_fixed64(p, NUMBER, bits)

cdef inline char* put_count(char* p, bytes key, uint64_t number) noexcept:
    """Write an attribute with a count; ``key`` is its text_key."""
    cdef int size = varint_size(number)
    p[0] = ATTRIBUTES
    p = put_varint(p + 1, PyBytes_GET_SIZE(key) + size + 3)
    p = put(p, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    p[0] = VALUE
    p[1] = <char>(size + 1)
    p[2] = COUNT
    return put_varint(p + 3, number)

cdef inline char* put_text(
    char* p, bytes key, const char* first, Py_ssize_t first_size, const char* rest, Py_ssize_t rest_size
) noexcept:
    """Write an attribute with a text in two pieces; ``key`` is its text_key."""
    cdef uint64_t size = first_size + rest_size
    cdef uint64_t value = 1 + varint_size(size) + size
    p[0] = ATTRIBUTES
    p = put_varint(p + 1, PyBytes_GET_SIZE(key) + 1 + varint_size(value) + value)
    p = put(p, PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
    p[0] = VALUE
    p = put_varint(p + 1, value)
    p[0] = TEXT
    p = put_varint(p + 1, size)
    return put(put(p, first, first_size), rest, rest_size)
