from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memmove
from native.codec.characters cimport IN_PATH, place_class

# Changes to what is separated; without one of them empty segments and dot segments alone make the difference.
cdef tuple SLASHES = (0, <int>DECODES_SLASH)
cdef tuple BACKSLASHES = (0, <int>READS_BACKSLASH)
cdef tuple PARAMETERS = (0, <int>DROPS_PARAMETERS, <int>DROPS_DECODED)
cdef tuple DOTS = (0, <int>RESOLVES_DOTS)
cdef tuple EMPTIES = (0, <int>DROPS_EMPTY, <int>DROPS_EMPTY_LAST)
cdef tuple NEVER = (0,)
# HTTP/2 keeps the path of a method that is called again as one object.
cdef bytes LAST_PLAIN = None


cdef inline int digit_of(char c) noexcept:
    if c"0" <= c <= c"9":
        return c - c"0"
    if c"a" <= (c | 32) <= c"f":
        return (c | 32) - c"a" + 10
    return -1


cdef inline int encoded_at(const char* p, Py_ssize_t i, Py_ssize_t size) noexcept:
    """Return the byte that %XX at ``i`` stands for; -1 = there is no such encoding."""
    cdef int high
    cdef int low
    if p[i] != c"%" or i + 2 >= size:
        return -1
    high = digit_of(p[i + 1])
    low = digit_of(p[i + 2])
    return -1 if high < 0 or low < 0 else high * 16 + low


cdef bint is_plain(bytes path) noexcept:
    global LAST_PLAIN
    if path is LAST_PLAIN:
        return True
    if not reads_plain(path):
        return False
    LAST_PLAIN = path
    return True


cdef bint reads_plain(bytes path) noexcept:
    cdef const char* p = PyBytes_AS_STRING(path)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(path)
    cdef Py_ssize_t i
    for i in range(size):
        if place_class[<unsigned char>p[i]] & IN_PATH:
            continue
        if p[i] == c"%" or p[i] == c"\\" or p[i] == c";":
            return False
        if p[i] == c"/" and i + 1 < size and (p[i + 1] == c"/" or p[i + 1] == c"."):
            if p[i + 1] == c"/" or i + 2 == size or p[i + 2] == c"/":
                return False
            if p[i + 2] == c"." and (i + 3 == size or p[i + 3] == c"/"):
                return False
    return True


cdef bytes decode_path(bytes path):
    if memchr(PyBytes_AS_STRING(path), c"%", PyBytes_GET_SIZE(path)) == NULL:
        return path
    return read_as(path, 0)


cdef Py_ssize_t drop_empty(char* p, Py_ssize_t size) noexcept:
    cdef Py_ssize_t i
    cdef Py_ssize_t kept = 0
    for i in range(size):
        if p[i] != c"/" or kept == 0 or p[kept - 1] != c"/":
            p[kept] = p[i]
            kept += 1
    return kept


cdef Py_ssize_t drop_parameters(char* p, Py_ssize_t size) noexcept:
    cdef Py_ssize_t i
    cdef Py_ssize_t kept = 0
    cdef bint dropping = False
    for i in range(size):
        if p[i] == c"/":
            dropping = False
        elif p[i] == c";":
            dropping = True
        if not dropping:
            p[kept] = p[i]
            kept += 1
    return kept


cdef Py_ssize_t resolve_dots(char* p, Py_ssize_t size) noexcept:
    """Remove dot segments (RFC 3986 5.2.4)."""
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t end
    cdef Py_ssize_t kept = 0
    cdef Py_ssize_t length
    cdef const char* slash
    while at < size:
        slash = <const char*>memchr(p + at + 1, c"/", size - at - 1)        # p[at] is the slash before the segment
        end = size if slash == NULL else slash - p
        length = end - at - 1
        if length == 1 and p[at + 1] == c"." or length == 2 and memcmp(p + at + 1, b"..", 2) == 0:
            if length == 2 and kept:
                kept -= 1
                while p[kept] != c"/":
                    kept -= 1
            if end == size:
                p[kept] = c"/"
                kept += 1
        else:
            memmove(p + kept, p + at, end - at)
            kept += end - at
        at = end
    return kept


cdef bytes read_as(bytes path, int reading):
    """Return the path as a reader understands it that does what ``reading`` says, a set of Reading."""
    cdef const char* p = PyBytes_AS_STRING(path)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(path)
    cdef bytes out = PyBytes_FromStringAndSize(NULL, size)
    cdef char* q = PyBytes_AS_STRING(out)
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t kept = 0
    cdef int value
    cdef int step
    cdef bint dropping = False
    while i < size:
        value = encoded_at(p, i, size)
        step = 1 if value < 0 else 3
        if p[i] == c"/":
            dropping = False
        elif p[i] == c";" and reading & <int>DROPS_PARAMETERS:
            dropping = True
        if dropping:
            i += step
            continue
        if value < 0:
            value = <unsigned char>p[i]
        elif value == c"/" and not reading & <int>DECODES_SLASH or value == c"\\" and not reading & <int>READS_BACKSLASH:
            value = <unsigned char>c"%"
            step = 1
        q[kept] = c"/" if value == c"\\" and reading & <int>READS_BACKSLASH else <char>value
        kept += 1
        i += step
    if reading & <int>DROPS_DECODED:
        kept = drop_parameters(q, kept)
    if reading & <int>DROPS_EMPTY:
        kept = drop_empty(q, kept)
    if reading & <int>RESOLVES_DOTS and kept and q[0] == c"/":
        kept = resolve_dots(q, kept)
    if reading & <int>DROPS_EMPTY_LAST:
        kept = drop_empty(q, kept)
    return out[:kept]


cdef list other_readings(bytes path):
    cdef const char* p = PyBytes_AS_STRING(path)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(path)
    cdef Py_ssize_t i
    cdef int value
    cdef bint slash = False
    cdef bint backslash = False
    cdef bint parameters = False
    cdef bint dots = False
    cdef dict found = {}
    for i in range(size):
        value = encoded_at(p, i, size)
        slash = slash or value == c"/"
        if value < 0:
            value = <unsigned char>p[i]
        backslash = backslash or value == c"\\"
        parameters = parameters or value == c";"
        dots = dots or value == c"."
    for s in SLASHES if slash else NEVER:
        for b in BACKSLASHES if backslash else NEVER:
            for m in PARAMETERS if parameters else NEVER:
                for d in DOTS if dots else NEVER:
                    for e in EMPTIES:
                        found[read_as(path, <int>s | <int>b | <int>m | <int>d | <int>e)] = None
    return list(found)


def plain(bytes path not None):
    """Return True if every server reads the path in the same way, as it is written."""
    return is_plain(path)


def decoded(bytes path not None):
    """Return the path that a service is matched by: every %XX decoded, separators aside."""
    return decode_path(path)


def readings(bytes path not None):
    """Return what servers may take the path for; at most LONGEST_READ bytes are expected."""
    return other_readings(path)
