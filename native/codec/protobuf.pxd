"""Writes protobuf's wire format into a buffer with enough room. All functions are inline: no module exists at run time.

Each function returns the position behind the bytes that it wrote. Source: protobuf.dev/programming-guides/encoding."""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef inline char* put(char* p, const char* what, Py_ssize_t size) noexcept nogil:
    memcpy(p, what, size)
    return p + size

cdef inline char* put_varint(char* p, uint64_t number) noexcept nogil:
    while number > 127:
        p[0] = <char>(number & 127 | 128)
        p += 1
        number >>= 7
    p[0] = <char>number
    return p + 1

cdef inline int varint_size(uint64_t number) noexcept nogil:
    cdef int size = 1
    while number > 127:
        number >>= 7
        size += 1
    return size

cdef inline char* put_fixed64(char* p, int field, uint64_t number) noexcept nogil:
    """Write a field of eight bytes; ``field`` is its number and wire type."""
    cdef int i
    p[0] = <char>field
    for i in range(8):
        p[1 + i] = <char>(number >> 8 * i)
    return p + 9

cdef inline char* put_short(char* p, int field, const char* what, int size) noexcept nogil:
    """Write a field of at most 127 bytes."""
    p[0] = <char>field
    p[1] = <char>size
    return put(p + 2, what, size)
