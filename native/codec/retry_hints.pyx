from cpython.list cimport PyList_GET_SIZE
from libc.string cimport memcmp
from native.codec.field_list cimport FieldView, field_at

cdef enum:
    RESET = 5               # characters of "reset", "remaining" and of what stands before them
    REMAINING = 9
    OPENAI = 12
    TOGETHER = 13
    MISTRAL = 16
    ANTHROPIC = 20


cdef inline bint _begins(const FieldView* field, const char* prefix, Py_ssize_t size) noexcept:
    return field.name_size >= size and memcmp(field.name, prefix, size) == 0


cdef Py_ssize_t _at_reset(const FieldView* field) noexcept:
    """Return where "reset" is in the name of a reset field; -1 = it is not one."""
    cdef Py_ssize_t at
    if _begins(field, b"x-ratelimit-", OPENAI):
        at = OPENAI
    elif _begins(field, b"x-tokenlimit-", TOGETHER):
        at = TOGETHER
    elif _begins(field, b"ratelimitbysize-", MISTRAL):
        at = MISTRAL
    elif _begins(field, b"anthropic-ratelimit-", ANTHROPIC):
        at = field.name_size - <Py_ssize_t>RESET
    else:
        return -1
    if field.name_size < at + <Py_ssize_t>RESET:
        return -1
    return at if memcmp(field.name + at, b"reset", RESET) == 0 else -1


cdef bint _is_positive(const FieldView* field) noexcept:
    """Return whether a value is a plain decimal number of at least 1; other forms are the parser's."""
    cdef const char* p = field.value
    cdef Py_ssize_t i
    if p[0] < c"1" or p[0] > c"9":  # b"" has a zero byte there
        return False
    for i in range(1, field.value_size):
        if p[i] != c"." and (p[i] < c"0" or p[i] > c"9"):
            return False
    return True


cdef bint _remains(list fields, const FieldView* reset, Py_ssize_t at) noexcept:
    """Return whether the field that matches a reset field says that something remains."""
    cdef Py_ssize_t tail = reset.name_size - at - <Py_ssize_t>RESET
    cdef Py_ssize_t after = at + <Py_ssize_t>REMAINING
    cdef FieldView field
    cdef Py_ssize_t place
    cdef bint found = False
    for place in range(PyList_GET_SIZE(fields)):
        if (
            not field_at(fields, place, &field)
            or field.name_size != after + tail
            or memcmp(field.name, reset.name, at) != 0
            or memcmp(field.name + at, b"remaining", REMAINING) != 0
            or memcmp(field.name + after, reset.name + at + <Py_ssize_t>RESET, tail) != 0
        ):
            continue
        if not _is_positive(&field):
            return False
        found = True
    return found


cdef bint may_ask_to_wait(list fields) noexcept:
    """Providers send resets with every answer, so a reset alone says nothing: it counts if nothing remains."""
    cdef FieldView field
    cdef Py_ssize_t place, at
    cdef char first
    for place in range(PyList_GET_SIZE(fields)):
        if not field_at(fields, place, &field):
            continue
        first = field.name[0]       # b"" has a zero byte there
        if first != c"r" and first != c"x" and first != c"a":
            continue
        if _begins(&field, b"retry-after", 11) or _begins(&field, b"x-ms-retry-after", 16):
            return True
        at = _at_reset(&field)
        if at >= 0 and not _remains(fields, &field, at):
            return True
    return False


def may_ask(list fields not None):
    return may_ask_to_wait(fields)
