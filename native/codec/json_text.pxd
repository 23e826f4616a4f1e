"""Reads and writes the text inside JSON strings: escapes, and replacing a part of a body (RFC 8259, section 7)."""

cdef inline int hex_value(char c) noexcept nogil:
    """Return the value of a hexadecimal digit of either case; -1 = it is none."""
    if c"0" <= c <= c"9":
        return c - c"0"
    if c"a" <= c <= c"f":
        return c - c"a" + 10
    if c"A" <= c <= c"F":
        return c - c"A" + 10
    return -1

cdef inline int hex_unit(const char* p) noexcept nogil:
    """Return the value of four hexadecimal digits, -1 if one of them is none."""
    cdef int value = 0
    cdef int digit, i
    for i in range(4):
        digit = hex_value(p[i])
        if digit < 0:
            return -1
        value = value * 16 + digit
    return value

# The code point of the escape at p, surrogate pairs combined, and where it ends; -1 for a lone surrogate or no escape.
cdef int decode_escape(const char* p, const char* end, const char** after) noexcept nogil
# body[:start] + replacement + body[end:]; ValueError if the range lies outside
cdef bytes splice(bytes body, Py_ssize_t start, Py_ssize_t end, bytes replacement)
cdef bytes escape_json(bytes utf8)      # the content of a JSON string, without its quotes; itself if plain
cdef bytes unescape_json(bytes raw)     # UTF-8; itself if plain; None for lone surrogates and what no JSON string holds
