from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from native.codec.hex cimport read_hex, write_hex

cdef enum:
    LENGTH = 55         # version, trace id, span id and flags with three hyphens between


cdef Trace blank_trace() noexcept:
    cdef Trace trace
    trace.high = trace.low = trace.span = trace.parent = 0
    trace.link_high = trace.link_low = trace.link_span = 0
    trace.flags = 0
    trace.sampled = False
    return trace


cdef bint read_traceparent(const char* value, Py_ssize_t size, Trace* out) noexcept nogil:
    cdef uint64_t version = 0
    cdef uint64_t flags = 0
    if size < LENGTH or value[2] != c"-" or value[35] != c"-" or value[52] != c"-":
        return False
    if not read_hex(value, 2, &version) or version == 255:
        return False
    # a later version may append more behind another hyphen (4.3)
    if size > LENGTH and (version == 0 or value[LENGTH] != c"-"):
        return False
    # upper-case digits are malformed (3.2.2)
    if not (
        read_hex(value + 3, 16, &out.high) and read_hex(value + 19, 16, &out.low)
        and read_hex(value + 36, 16, &out.parent) and read_hex(value + 53, 2, &flags)
    ):
        return False
    if (out.high == 0 and out.low == 0) or out.parent == 0:
        return False
    out.flags = <unsigned int>flags
    return True


cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    /* Write eight lower-case digits at once: one byte for each, to which the distance of a letter is added from ten on. */
    static inline void edge_write_hex8(char *p, uint32_t number) {
        uint64_t digits = number;
        digits = (digits | digits << 16) & 0x0000ffff0000ffffULL;
        digits = (digits | digits << 8) & 0x00ff00ff00ff00ffULL;
        digits = (digits | digits << 4) & 0x0f0f0f0f0f0f0f0fULL;
        digits += 0x3030303030303030ULL + ((digits + 0x0606060606060606ULL) >> 4 & 0x0101010101010101ULL) * 0x27;
    #if __BYTE_ORDER__ != __ORDER_BIG_ENDIAN__
        digits = __builtin_bswap64(digits);
    #endif
        memcpy(p, &digits, 8);
    }
    static inline void edge_write_hex16(char *p, uint64_t number) {
        edge_write_hex8(p, (uint32_t)(number >> 32));
        edge_write_hex8(p + 8, (uint32_t)number);
    }
    """
    void write_hex16 "edge_write_hex16" (char* p, uint64_t number) noexcept


cdef bytes write_traceparent(const Trace* trace, uint64_t span):
    cdef bytes written = PyBytes_FromStringAndSize(NULL, LENGTH)
    cdef char* p = PyBytes_AS_STRING(written)
    p[0] = c"0"
    p[1] = c"0"
    p[2] = c"-"
    write_hex16(p + 3, trace.high)
    write_hex16(p + 19, trace.low)
    p[35] = c"-"
    write_hex16(p + 36, span)
    p[52] = c"-"
    write_hex(p + 53, 2, trace.flags)
    return written


cdef str trace_hex(uint64_t high, uint64_t low):
    cdef char[32] text
    write_hex(text, 16, high)
    write_hex(text + 16, 16, low)
    return PyUnicode_DecodeASCII(text, 32, NULL)


cdef str span_hex(uint64_t span):
    cdef char[16] text
    if span == 0:
        return ""
    write_hex(text, 16, span)
    return PyUnicode_DecodeASCII(text, 16, NULL)


def parse_traceparent(bytes value not None):
    """Return (trace id, parent id, flags) of a traceparent's value; None = malformed (section 3.2)."""
    cdef Trace trace = blank_trace()
    if not read_traceparent(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), &trace):
        return None
    return trace_hex(trace.high, trace.low), span_hex(trace.parent), trace.flags


def format_traceparent(uint64_t high, uint64_t low, uint64_t span, unsigned int flags):
    """Return a traceparent's value in version 00."""
    cdef Trace trace = blank_trace()
    trace.high = high
    trace.low = low
    trace.flags = flags
    return write_traceparent(&trace, span)
