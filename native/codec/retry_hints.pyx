from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.string cimport memcmp, strlen

# Providers send these with every answer, so a reset alone says nothing: it counts if nothing remains.
cdef const char* OPENAI = b"x-ratelimit-"
cdef const char* ANTHROPIC = b"anthropic-ratelimit-"
cdef const char* WAITS = b"retry-after"
cdef const char* AZURE_WAITS = b"x-ms-retry-after"
cdef const char* RESET = b"reset"
cdef const char* REMAINING = b"remaining"


cdef inline bint _begins(bytes name, const char* prefix) noexcept:
    cdef Py_ssize_t size = <Py_ssize_t>strlen(prefix)
    return PyBytes_GET_SIZE(name) >= size and memcmp(PyBytes_AS_STRING(name), prefix, size) == 0


cdef Py_ssize_t _at_reset(bytes name) noexcept:
    """Return where "reset" is in the name of a reset field; -1 = it is not one."""
    cdef Py_ssize_t at
    if _begins(name, OPENAI):
        at = <Py_ssize_t>strlen(OPENAI)
    elif _begins(name, ANTHROPIC):
        at = PyBytes_GET_SIZE(name) - <Py_ssize_t>strlen(RESET)
    else:
        return -1
    if PyBytes_GET_SIZE(name) < at + <Py_ssize_t>strlen(RESET):
        return -1
    return at if memcmp(PyBytes_AS_STRING(name) + at, RESET, strlen(RESET)) == 0 else -1


cdef bint _is_positive(bytes value) noexcept:
    """Return whether a value is a plain decimal number of at least 1; other forms are the parser's."""
    cdef const char* p = PyBytes_AS_STRING(value)
    cdef Py_ssize_t i
    if p[0] < c"1" or p[0] > c"9":  # b"" has a zero byte there
        return False
    for i in range(1, PyBytes_GET_SIZE(value)):
        if p[i] != c"." and (p[i] < c"0" or p[i] > c"9"):
            return False
    return True


cdef bint _remains(list fields, bytes reset, Py_ssize_t at):
    """Return whether the field that matches a reset field says that something remains."""
    cdef Py_ssize_t tail = PyBytes_GET_SIZE(reset) - at - <Py_ssize_t>strlen(RESET)
    cdef Py_ssize_t after = at + <Py_ssize_t>strlen(REMAINING)
    cdef const char* wanted = PyBytes_AS_STRING(reset)
    cdef const char* p
    cdef bytes name, value
    cdef bint found = False
    for name, value in fields:
        p = PyBytes_AS_STRING(name)
        if (
            PyBytes_GET_SIZE(name) != after + tail
            or memcmp(p, wanted, at) != 0
            or memcmp(p + at, REMAINING, strlen(REMAINING)) != 0
            or memcmp(p + after, wanted + at + strlen(RESET), tail) != 0
        ):
            continue
        if not _is_positive(value):
            return False
        found = True
    return found


cdef bint may_ask_to_wait(list fields):
    cdef bytes name
    cdef Py_ssize_t at
    for name, _ in fields:
        if _begins(name, WAITS) or _begins(name, AZURE_WAITS):
            return True
        at = _at_reset(name)
        if at >= 0 and not _remains(fields, name, at):
            return True
    return False


def may_ask(list fields not None):
    return may_ask_to_wait(fields)
