from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp, memcpy

cdef uint64_t HOUR = 3_600_000_000_000
cdef uint64_t MINUTE = 60_000_000_000
cdef uint64_t SECOND = 1_000_000_000
cdef uint64_t MILLISECOND = 1_000_000
cdef uint64_t MICROSECOND = 1_000
# TimeoutValue is at most eight digits (PROTOCOL-HTTP2, Requests).
cdef uint64_t DIGITS = 100_000_000


cdef bint is_grpc(bytes content_type) noexcept:
    cdef const char* p
    cdef Py_ssize_t size
    if content_type is None:
        return False
    p = PyBytes_AS_STRING(content_type)
    size = PyBytes_GET_SIZE(content_type)
    if size < 16 or memcmp(p, b"application/grpc", 16) != 0:
        return False
    return size == 16 or p[16] == c"+" or p[16] == c";" or p[16] == c" "


cdef uint64_t unit_ns(char unit) noexcept:
    if unit == c"H":
        return HOUR
    if unit == c"M":
        return MINUTE
    if unit == c"S":
        return SECOND
    if unit == c"m":
        return MILLISECOND
    if unit == c"u":
        return MICROSECOND
    return 1 if unit == c"n" else 0


cdef int64_t timeout_ns(bytes value) noexcept:
    cdef const char* p = PyBytes_AS_STRING(value)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
    cdef Py_ssize_t i
    cdef uint64_t total = 0
    cdef uint64_t unit
    if size < 2 or size > 9:
        return -1
    for i in range(size - 1):
        if p[i] < c"0" or p[i] > c"9":
            return -1
        total = total * 10 + <uint64_t>(p[i] - c"0")
    unit = unit_ns(p[size - 1])
    if unit == 0:
        return -1
    if total > <uint64_t>0x3FFFFFFFFFFFFFFF // unit:
        return 0x3FFFFFFFFFFFFFFF       # 146 years: effectively no timeout
    return <int64_t>(total * unit)


cdef bytes write_timeout(uint64_t ns):
    cdef char[12] text
    cdef char* at = text + 11
    if ns == 0:
        ns = 1
    if ns < DIGITS:
        at[0] = c"n"
    elif ns // MICROSECOND < DIGITS:
        at[0] = c"u"
        ns //= MICROSECOND
    elif ns // MILLISECOND < DIGITS:
        at[0] = c"m"
        ns //= MILLISECOND
    elif ns // SECOND < DIGITS:
        at[0] = c"S"
        ns //= SECOND
    elif ns // MINUTE < DIGITS:
        at[0] = c"M"
        ns //= MINUTE
    else:
        at[0] = c"H"
        ns = min(ns // HOUR, DIGITS - 1)
    while ns:
        at -= 1
        at[0] = <char>(c"0" + ns % 10)
        ns //= 10
    return PyBytes_FromStringAndSize(at, text + 12 - at)


cdef int read_status(bytes value) noexcept:
    cdef const char* p
    cdef Py_ssize_t size
    if value is None:
        return -1
    p = PyBytes_AS_STRING(value)
    size = PyBytes_GET_SIZE(value)
    if size == 1 and c"0" <= p[0] <= c"9":
        return p[0] - c"0"
    if size == 2 and p[0] == c"1" and c"0" <= p[1] <= c"6":
        return 10 + p[1] - c"0"
    return -1


cdef int64_t pushback_ms(bytes value) noexcept:
    cdef const char* p = PyBytes_AS_STRING(value)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
    cdef Py_ssize_t i
    cdef int64_t total = 0
    if size == 0 or size > 9:
        return -1
    for i in range(size):
        if p[i] < c"0" or p[i] > c"9":
            return -1
        total = total * 10 + (p[i] - c"0")
    return total


cdef bytes frame(bytes message):
    cdef Py_ssize_t size = PyBytes_GET_SIZE(message)
    cdef bytes result = PyBytes_FromStringAndSize(NULL, size + 5)
    cdef unsigned char* out = <unsigned char*>PyBytes_AS_STRING(result)
    out[0] = 0
    out[1] = <unsigned char>(size >> 24)
    out[2] = <unsigned char>(size >> 16)
    out[3] = <unsigned char>(size >> 8)
    out[4] = <unsigned char>size
    memcpy(out + 5, PyBytes_AS_STRING(message), size)
    return result


cdef Py_ssize_t unframe(bytes data, Py_ssize_t at, Py_ssize_t limit, list messages) except -3:
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(data)
    cdef Py_ssize_t total = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t size
    while total - at >= 5:
        size = (
            (<Py_ssize_t>p[at + 1] << 24) | (<Py_ssize_t>p[at + 2] << 16) | (<Py_ssize_t>p[at + 3] << 8) | p[at + 4]
        )
        if size > limit:
            return -2
        if p[at] != 0:
            return -1
        if total - at - 5 < size:
            break
        messages.append(data[at + 5:at + 5 + size])
        at += 5 + size
    return at


def read_timeout(bytes value):
    """Return a grpc-timeout value in nanoseconds; -1 = malformed."""
    return timeout_ns(value)


def format_timeout(uint64_t ns):
    """Return a duration as a grpc-timeout value, rounded down to at most eight digits."""
    return write_timeout(ns)


def status_code(bytes value):
    """Return a grpc-status value as a number, 0 to 16; -1 = malformed."""
    return read_status(value)


def pushback(bytes value):
    """Return a grpc-retry-pushback-ms value in milliseconds; negative = never retry."""
    return pushback_ms(value)


def frame_message(bytes message):
    """Return an uncompressed length-prefixed message."""
    return frame(message)


def read_messages(bytes data, Py_ssize_t limit=4 * 1024 * 1024):
    """Return (messages, bytes used); used is -1 for a compressed message, -2 for a message over the limit."""
    cdef list messages = []
    return messages, unframe(data, 0, limit, messages)


def is_grpc_type(bytes content_type):
    """Return whether a content type is gRPC's."""
    return is_grpc(content_type)
