from http import HTTPStatus

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy
from native.codec.numbers cimport write_digits

cdef dict STATUS_LINES = {
    int(status): b"HTTP/1.1 %d %s\r\n" % (int(status), status.phrase.encode()) for status in HTTPStatus
}


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
    if not trailers:
        return b"0\r\n\r\n"
    return write_head(b"0\r\n", trailers, b"")


def write_message_head(bytes first_line not None, list fields not None, bytes last=b""):
    """Return first_line, the fields and ``last`` as one head that ends in an empty line."""
    return write_head(first_line, fields, last)
