from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.string cimport memcpy


cdef int decode_escape(const char* p, const char* end, const char** after) noexcept nogil:
    cdef int high, low
    if end - p < 2:
        return -1
    cdef char c = p[1]
    after[0] = p + 2
    if c == c"u":
        if end - p < 6:
            return -1
        high = hex_unit(p + 2)
        after[0] = p + 6
        if not 0xD800 <= high <= 0xDFFF:
            return high
        if high >= 0xDC00 or end - p < 12 or p[6] != c"\\" or p[7] != c"u":
            return -1
        low = hex_unit(p + 8)
        after[0] = p + 12
        return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00) if 0xDC00 <= low <= 0xDFFF else -1
    if c == c'"' or c == c"\\" or c == c"/":
        return c
    if c == c"b":
        return 8
    if c == c"t":
        return 9
    if c == c"n":
        return 10
    if c == c"f":
        return 12
    if c == c"r":
        return 13
    return -1


cdef bytes splice(bytes body, Py_ssize_t start, Py_ssize_t end, bytes replacement):
    cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
    cdef Py_ssize_t middle = PyBytes_GET_SIZE(replacement)
    if not 0 <= start <= end <= size:
        raise ValueError(f"splice {start}..{end} lies outside a body of {size} bytes")
    cdef bytes out = PyBytes_FromStringAndSize(NULL, size - (end - start) + middle)
    cdef char* into = PyBytes_AS_STRING(out)
    cdef const char* source = PyBytes_AS_STRING(body)
    memcpy(into, source, start)
    memcpy(into + start, PyBytes_AS_STRING(replacement), middle)
    memcpy(into + start + middle, source + end, size - end)
    return out


cdef bint _is_plain(bytes content) noexcept:
    """Return whether a text needs no escapes in a JSON string, as nearly every name does."""
    cdef const char* p = PyBytes_AS_STRING(content)
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(content)):
        if p[i] == c'"' or p[i] == c"\\" or <unsigned char>p[i] < 0x20:
            return False
    return True


# Short texts that were found plain, by their addresses, with a reference to each: names of models come again and again.
cdef (void*)[8] FOUND_PLAIN
cdef Py_ssize_t LONGEST_FOUND = 256


cdef bytes escape_json(bytes utf8):
    cdef size_t place = <size_t><void*>utf8 >> 4 & 7
    cdef bytearray out
    cdef unsigned char c
    if FOUND_PLAIN[place] == <void*>utf8:
        return utf8
    if _is_plain(utf8):
        if PyBytes_GET_SIZE(utf8) <= LONGEST_FOUND:
            Py_XDECREF(<PyObject*>FOUND_PLAIN[place])
            Py_INCREF(utf8)
            FOUND_PLAIN[place] = <void*>utf8
        return utf8
    out = bytearray()
    for c in utf8:
        if c == c'"' or c == c"\\":
            out.append(c"\\")
            out.append(c)
        elif c < 0x20:
            out += b"\\u%04x" % c
        else:
            out.append(c)
    return bytes(out)


cdef bytes unescape_json(bytes raw):
    cdef bytearray out
    cdef const char* p = PyBytes_AS_STRING(raw)
    cdef const char* end = p + PyBytes_GET_SIZE(raw)
    cdef int code
    if _is_plain(raw):
        return raw
    out = bytearray()
    while p < end:
        if p[0] == c"\\":
            code = decode_escape(p, end, &p)
            if code < 0:
                return None
            out += chr(code).encode()
        elif <unsigned char>p[0] < 0x20 or p[0] == c'"':
            return None
        else:
            out.append(<unsigned char>p[0])
            p += 1
    return bytes(out)


def replace(bytes body not None, Py_ssize_t start, Py_ssize_t end, str replacement not None):
    """Return a copy of ``body`` in which ``replacement``, escaped for a JSON string, replaces the bytes start..end.

    Raises ValueError if the range lies outside the body.
    """
    return splice(body, start, end, escape_json(replacement.encode()))


def escape(bytes utf8 not None):
    """Return ``utf8`` as the content of a JSON string, without its quotes."""
    return escape_json(utf8)


def unescape(bytes raw not None):
    """Return the text of a JSON string's content; None = it has a lone surrogate, or is not valid in a string."""
    return unescape_json(raw)
