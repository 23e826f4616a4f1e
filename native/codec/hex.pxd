"""Reads and writes lower-case hexadecimal digits. All functions are inline: there is no module at run time."""

from libc.stdint cimport uint64_t

cdef inline int hex_digit(char c) noexcept nogil:
    """Return the value of a lower-case digit; -1 = anything else, upper case too."""
    if c"0" <= c <= c"9":
        return c - c"0"
    if c"a" <= c <= c"f":
        return c - c"a" + 10
    return -1

cdef inline bint read_hex(const char* p, int size, uint64_t* out) noexcept nogil:
    """Read ``size`` digits, at most 16; False = one of the characters is not a digit."""
    cdef uint64_t value = 0
    cdef int i, digit
    for i in range(size):
        digit = hex_digit(p[i])
        if digit < 0:
            return False
        value = value << 4 | <uint64_t>digit
    out[0] = value
    return True

cdef inline void write_hex(char* p, int size, uint64_t value) noexcept nogil:
    """Write the lowest ``size`` digits of a number."""
    while size:
        size -= 1
        p[size] = (<const char*>b"0123456789abcdef")[value & 15]
        value >>= 4
