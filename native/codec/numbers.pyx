from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

# A client's deadline is at most a million seconds (eleven days).
cdef int64_t LONGEST_NS = 1_000_000_000_000_000


cdef bytes decimal(int64_t value):
    cdef char[24] text
    cdef char* start = write_digits(text + 24, <uint64_t>value, 10)
    return PyBytes_FromStringAndSize(start, text + 24 - start)


cdef int64_t parse_length(bytes value) noexcept:
    """Read digits without sign, space, underscore or leading zero; -1 = anything else, or more than 18 digits."""
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


cdef int64_t parse_seconds(bytes value) noexcept:
    """Read a decimal number of seconds, or a number with the unit s or ms. The result is at most LONGEST_NS."""
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
            unit //= 10     # digits below a nanosecond are dropped
            total += (p[i] - c"0") * unit
        else:
            total = min(total * 10 + (p[i] - c"0"), LONGEST_NS // 1_000_000)
    if not fraction:
        total *= unit
    return min(total, LONGEST_NS) if total > 0 else -1


cdef bytes write_seconds(uint64_t ns):
    cdef uint64_t ms = ns // 1_000_000 if ns > 1_000_000 else 1
    return b"%d.%03d" % (ms // 1000, ms % 1000)


cdef inline char* put_decimal(char* at, uint64_t value) noexcept:
    cdef char[24] text
    cdef char* start = write_digits(text + 24, value, 10)
    cdef Py_ssize_t size = text + 24 - start
    memcpy(at, start, size)
    return at + size


cdef bytes write_duration(uint64_t ms):
    cdef char[64] text
    cdef char* at = text
    cdef uint64_t rest
    cdef uint64_t scale = 100
    if ms < 1000:
        at = put_decimal(at, ms)
        memcpy(at, b"ms", 2)
        return PyBytes_FromStringAndSize(text, at + 2 - text)
    if ms >= 3_600_000:
        at = put_decimal(at, ms // 3_600_000)
        at[0] = c"h"
        at += 1
    if ms >= 60_000:
        at = put_decimal(at, ms // 60_000 % 60)
        at[0] = c"m"
        at += 1
    at = put_decimal(at, ms // 1000 % 60)
    rest = ms % 1000
    if rest:
        at[0] = c"."
        at += 1
        while rest:
            at[0] = <char>(c"0" + rest // scale)
            at += 1
            rest %= scale
            scale //= 10
    at[0] = c"s"
    return PyBytes_FromStringAndSize(text, at + 1 - text)


def seconds_ns(bytes value not None):
    """Return an x-request-timeout (``1.5``, ``1.5s``, ``200ms``) in nanoseconds; -1 = malformed, or not above 0."""
    return parse_seconds(value)


def seconds_of(uint64_t ns):
    """Return a duration as an x-request-timeout: seconds with three places, rounded down, at least a millisecond."""
    return write_seconds(ns)


def duration_of(uint64_t ns):
    """Return a duration in the format of OpenAI's x-ratelimit-reset-*, rounded up to whole milliseconds."""
    return write_duration((ns + 999_999) // 1_000_000)
