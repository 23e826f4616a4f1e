from http import HTTPStatus

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy
from native.codec.field_list cimport FieldView, field_at
from native.codec.numbers cimport write_digits

cdef extern from * nogil:
    """
    #include <string.h>
    /* Most names and values are short: a call for each costs more than the copy. */
    static inline void edge_copy_short(char *to, const char *from, Py_ssize_t size) {
        if (size > 32) {
            memcpy(to, from, (size_t)size);
        } else if (size >= 16) {
            char first[16], last[16];
            memcpy(first, from, 16);
            memcpy(last, from + size - 16, 16);
            memcpy(to, first, 16);
            memcpy(to + size - 16, last, 16);
        } else if (size >= 8) {
            char first[8], last[8];
            memcpy(first, from, 8);
            memcpy(last, from + size - 8, 8);
            memcpy(to, first, 8);
            memcpy(to + size - 8, last, 8);
        } else if (size >= 4) {
            char first[4], last[4];
            memcpy(first, from, 4);
            memcpy(last, from + size - 4, 4);
            memcpy(to, first, 4);
            memcpy(to + size - 4, last, 4);
        } else if (size > 0) {
            to[0] = from[0];
            to[size >> 1] = from[size >> 1];
            to[size - 1] = from[size - 1];
        }
    }
    """
    void copy_short "edge_copy_short" (char* to, const char* start, Py_ssize_t size)

# Heads are written here first, because their size is known only then. Longer ones are measured.
cdef char[8192] ROOM

cdef dict STATUS_LINES = {
    int(status): b"HTTP/1.1 %d %s\r\n" % (int(status), status.phrase.encode()) for status in HTTPStatus
}


cdef bytes CONTENT_LENGTH = b"content-length: "
cdef bytes CHUNKED = b"transfer-encoding: chunked\r\n"
cdef bytes CLOSE = b"connection: close\r\n"
cdef bytes KEEP_ALIVE = b"connection: keep-alive\r\n"
cdef bytes UPGRADE = b"connection: upgrade\r\n"
cdef bytes VERSION_HOST = b" HTTP/1.1\r\nhost: "


cdef Py_ssize_t size_of_fields(list fields) except -1:
    """Return the bytes that the field lines take. Raises TypeError for anything but pairs of bytes."""
    cdef Py_ssize_t size = 0
    cdef FieldView field
    cdef Py_ssize_t at
    for at in range(PyList_GET_SIZE(fields)):
        if not field_at(fields, at, &field):
            raise TypeError("a field is a pair of bytes")
        size += field.name_size + field.value_size + 4
    return size


cdef inline char* put(char* out, bytes part) noexcept:
    memcpy(out, PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part))
    return out + PyBytes_GET_SIZE(part)


cdef inline char* put_end(char* out) noexcept:
    out[0] = c"\r"
    out[1] = c"\n"
    return out + 2


cdef char* put_fields(char* out, const char* end, list fields) except? NULL:
    """Write the field lines; NULL = they do not fit. Raises TypeError for anything but pairs of bytes."""
    cdef FieldView field
    cdef Py_ssize_t at
    for at in range(PyList_GET_SIZE(fields)):
        if not field_at(fields, at, &field):
            raise TypeError("a field is a pair of bytes")
        if field.name_size + field.value_size + 4 > end - out:
            return NULL
        copy_short(out, field.name, field.name_size)
        out += field.name_size
        out[0] = c":"
        out[1] = c" "
        copy_short(out + 2, field.value, field.value_size)
        out = put_end(out + 2 + field.value_size)
    return out


cdef Py_ssize_t size_of_framing(int framing, int64_t length, char** digits, char* room) noexcept:
    """Return the bytes that the framing lines take; the digits of a length are written to the end of ``room`` (24)."""
    cdef Py_ssize_t size = 0
    if framing & <int>FRAME_LENGTH:
        digits[0] = write_digits(room + 24, <uint64_t>length, 10)
        size += PyBytes_GET_SIZE(CONTENT_LENGTH) + (room + 24 - digits[0]) + 2
    if framing & <int>FRAME_CHUNKED:
        size += PyBytes_GET_SIZE(CHUNKED)
    if framing & <int>FRAME_CLOSE:
        size += PyBytes_GET_SIZE(CLOSE)
    if framing & <int>FRAME_KEEP_ALIVE:
        size += PyBytes_GET_SIZE(KEEP_ALIVE)
    if framing & <int>FRAME_UPGRADE:
        size += PyBytes_GET_SIZE(UPGRADE)
    return size


cdef char* put_framing(char* out, int framing, const char* digits, const char* end) noexcept:
    if framing & <int>FRAME_LENGTH:
        out = put(out, CONTENT_LENGTH)
        memcpy(out, digits, end - digits)
        out = put_end(out + (end - digits))
    if framing & <int>FRAME_CHUNKED:
        out = put(out, CHUNKED)
    if framing & <int>FRAME_CLOSE:
        out = put(out, CLOSE)
    if framing & <int>FRAME_KEEP_ALIVE:
        out = put(out, KEEP_ALIVE)
    if framing & <int>FRAME_UPGRADE:
        out = put(out, UPGRADE)
    return out


cdef bytes write_response_head(int status, list fields, int framing, int64_t length):
    cdef char[24] room
    cdef char* digits = room
    cdef bytes line = status_line(status)
    cdef Py_ssize_t framed = size_of_framing(framing, length, &digits, room) + 2
    cdef Py_ssize_t size
    cdef bytes result
    cdef char* out = put_fields(put(ROOM, line), ROOM + sizeof(ROOM) - framed, fields)
    if out != NULL:
        out = put_end(put_framing(out, framing, digits, room + 24))
        return PyBytes_FromStringAndSize(ROOM, out - ROOM)
    size = PyBytes_GET_SIZE(line) + size_of_fields(fields) + framed
    result = PyBytes_FromStringAndSize(NULL, size)
    out = put(PyBytes_AS_STRING(result), line)
    out = put_fields(out, PyBytes_AS_STRING(result) + size, fields)
    put_end(put_framing(out, framing, digits, room + 24))
    return result


cdef inline char* put_request_line(char* out, bytes method, bytes target, bytes authority) noexcept:
    out = put(out, method)
    out[0] = c" "
    return put_end(put(put(put(out + 1, target), VERSION_HOST), authority))


cdef bytes write_request_head(
    bytes method, bytes target, bytes authority, list fields, int framing, int64_t length
):
    cdef char[24] room
    cdef char* digits = room
    cdef Py_ssize_t first = PyBytes_GET_SIZE(method) + PyBytes_GET_SIZE(target) + PyBytes_GET_SIZE(VERSION_HOST) + 3
    cdef Py_ssize_t framed = size_of_framing(framing, length, &digits, room) + 2
    cdef Py_ssize_t size
    cdef bytes result
    cdef char* out = NULL
    first += PyBytes_GET_SIZE(authority)
    if first + framed <= <Py_ssize_t>sizeof(ROOM):
        out = put_request_line(ROOM, method, target, authority)
        out = put_fields(out, ROOM + sizeof(ROOM) - framed, fields)
    if out != NULL:
        out = put_end(put_framing(out, framing, digits, room + 24))
        return PyBytes_FromStringAndSize(ROOM, out - ROOM)
    size = first + size_of_fields(fields) + framed
    result = PyBytes_FromStringAndSize(NULL, size)
    out = put_request_line(PyBytes_AS_STRING(result), method, target, authority)
    out = put_fields(out, PyBytes_AS_STRING(result) + size, fields)
    put_end(put_framing(out, framing, digits, room + 24))
    return result


cdef bytes status_line(int status):
    line = STATUS_LINES.get(status)
    if line is None:
        # RFC 9112 4: the reason phrase may be empty, but the space before it is required
        line = b"HTTP/1.1 %d \r\n" % status
    return <bytes>line


cdef bytes frame_chunk(bytes held, bytes data):
    """Return ``held``, followed by one chunk, in one buffer."""
    cdef char[24] size_line
    cdef Py_ssize_t n = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t before = 0 if held is None else PyBytes_GET_SIZE(held)
    cdef char* start = write_digits(size_line + 22, <uint64_t>n, 16)
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
    cdef Py_ssize_t size
    cdef bytes result
    cdef char* out
    if not trailers:
        return b"0\r\n\r\n"
    size = size_of_fields(trailers)
    result = PyBytes_FromStringAndSize(NULL, size + 5)
    out = put(PyBytes_AS_STRING(result), b"0\r\n")
    put_end(put_fields(out, out + size, trailers))
    return result


def request_head(
    bytes method not None, bytes target not None, bytes authority not None, list fields not None, length=None
):
    """Return a request's head; ``length`` is that of its body, or None if it has none."""
    return write_request_head(method, target, authority, fields, 0 if length is None else FRAME_LENGTH, length or 0)


def response_head(int status, list fields not None, int framing=0, int64_t length=0):
    """Return a response's head with framing lines: the sum of Framing's members."""
    return write_response_head(status, fields, framing, length)
