"""Escapes and unescapes the text of JSON strings, and replaces a part of a JSON body (RFC 8259, section 7)."""

cdef inline int hex_value(char c) noexcept nogil:
    """Return the value of a hexadecimal digit of either case; -1 = not a digit."""
    if c"0" <= c <= c"9":
        return c - c"0"
    if c"a" <= c <= c"f":
        return c - c"a" + 10
    if c"A" <= c <= c"F":
        return c - c"A" + 10
    return -1

cdef inline int hex_unit(const char* p) noexcept nogil:
    """Return the value of four hexadecimal digits; -1 = one of the characters is not a digit."""
    cdef int value = 0
    cdef int digit, i
    for i in range(4):
        digit = hex_value(p[i])
        if digit < 0:
            return -1
        value = value * 16 + digit
    return value

# Returns the code point of the escape at p, surrogate pairs combined, and sets its end; -1 = lone surrogate or
# malformed.
cdef int decode_escape(const char* p, const char* end, const char** after) noexcept nogil
# Returns body[:start] + replacement + body[end:]; ValueError if the range lies outside the body.
cdef bytes splice(bytes body, Py_ssize_t start, Py_ssize_t end, bytes replacement)
cdef bytes escape_json(bytes utf8)      # the content of a JSON string, without its quotes; ``utf8`` itself if plain
cdef bytes unescape_json(bytes raw)     # UTF-8; ``raw`` itself if plain; None = a lone surrogate, or not valid in JSON
