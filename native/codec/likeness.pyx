from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <string.h>
    """
    void* memmem(const void* haystack, size_t size, const void* needle, size_t length) nogil

cdef enum:
    END_SIZE = 65536        # of a body, at each end
    TEXT_SIZE = 4096
    SHORTEST_QUOTE = 5      # shorter words with digits are status codes and versions
    LONGEST_QUOTE = 128
    MOST_QUOTES = 8
    SEARCHED = 131072       # of a request, at each end

# FNV-1a, 64 bits (Fowler, Noll, Vo)
cdef uint64_t BASIS = 0xCBF29CE484222325
cdef uint64_t PRIME = 0x100000001B3


cdef uint64_t _digest(uint64_t mark, const char* p, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        mark = (mark ^ <unsigned char>p[i]) * PRIME
    return mark


cdef inline uint64_t _mixed(uint64_t mark) noexcept nogil:
    """Spread the digest over all bits, because callers keep some of them only."""
    mark = (mark ^ (mark >> 32)) * <uint64_t>0xD6E8FEB86659FD93
    return mark ^ (mark >> 32)


cdef uint64_t body_mark(bytes body) noexcept:
    cdef const char* p = PyBytes_AS_STRING(body)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
    cdef uint64_t mark = BASIS ^ <uint64_t>size
    if size <= 2 * END_SIZE:
        return _mixed(_digest(mark, p, size))
    mark = _digest(mark, p, END_SIZE)
    return _mixed(_digest(mark, p + size - END_SIZE, END_SIZE))


cdef inline bint _is_digit(char c) noexcept nogil:
    return c"0" <= c <= c"9"


cdef inline bint _in_word(char c) noexcept nogil:
    return c"a" <= c <= c"z" or c"A" <= c <= c"Z" or _is_digit(c) or c == c"_" or c == c"-" or c == c"."


cdef const char* _next_word(const char* p, const char* end, const char** stop, bint* digit) noexcept nogil:
    """Return where the next word begins, and set where it ends and whether it has a digit; ``end`` = there is none."""
    cdef const char* start
    while p < end and not _in_word(p[0]):
        p += 1
    start = p
    digit[0] = False
    while p < end and _in_word(p[0]):
        digit[0] = digit[0] or _is_digit(p[0])
        p += 1
    stop[0] = p
    while stop[0] > start and stop[0][-1] == c".":
        stop[0] -= 1        # the end of a sentence
    return start


cdef uint64_t text_mark(int status, bytes text) noexcept:
    cdef const char* p = PyBytes_AS_STRING(text)
    cdef const char* end = p + min(PyBytes_GET_SIZE(text), <Py_ssize_t>TEXT_SIZE)
    cdef const char* stop = p
    cdef uint64_t mark = BASIS ^ <uint64_t>status
    cdef bint digit = False
    while True:
        p = _next_word(p, end, &stop, &digit)
        if p >= end:
            return _mixed(mark)
        if not digit:
            mark = _digest(mark * PRIME, p, stop - p)
        p = stop if stop > p else p + 1


cdef bint quotes(bytes text, bytes request, bytes model, bytes alias):
    cdef const char* p = PyBytes_AS_STRING(text)
    cdef const char* end = p + min(PyBytes_GET_SIZE(text), <Py_ssize_t>TEXT_SIZE)
    cdef const char* stop = p
    cdef const char* body = PyBytes_AS_STRING(request)
    cdef size_t size = PyBytes_GET_SIZE(request)
    cdef size_t part = min(size, <size_t>SEARCHED)
    cdef size_t length
    cdef bint digit = False
    cdef int looked = 0
    while looked < MOST_QUOTES:
        p = _next_word(p, end, &stop, &digit)
        if p >= end:
            return False
        length = stop - p
        if digit and SHORTEST_QUOTE <= length <= LONGEST_QUOTE and (
            memmem(PyBytes_AS_STRING(model), PyBytes_GET_SIZE(model), p, length) == NULL
            and memmem(PyBytes_AS_STRING(alias), PyBytes_GET_SIZE(alias), p, length) == NULL
        ):
            looked += 1
            if memmem(body, part, p, length) != NULL or memmem(body + size - part, part, p, length) != NULL:
                return True
        p = stop if stop > p else p + 1
    return False


def mark_body(bytes body not None):
    """``body_mark`` for tests."""
    return body_mark(body)


def mark_text(int status, bytes text not None):
    """``text_mark`` for tests."""
    return text_mark(status, text)


def does_quote(bytes text not None, bytes request not None, bytes model=b"", bytes alias=b""):
    """``quotes`` for tests."""
    return quotes(text, request, model, alias)
