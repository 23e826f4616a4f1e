"""Reads and writes the numbers in message fields: decimal lengths, seconds and durations (sans-I/O)."""

from libc.stdint cimport int64_t, uint64_t

cdef inline char* write_digits(char* end, uint64_t value, unsigned int base) noexcept nogil:
    """Write the digits of a number so that they end before ``end``; return where they begin. Faster than printf."""
    while True:
        end -= 1
        end[0] = (<const char*>b"0123456789abcdef")[value % base]
        value //= base
        if value == 0:
            return end

cdef bytes decimal(int64_t value)
cdef int64_t parse_length(bytes value) noexcept     # 1*DIGIT (RFC 9110 8.6); -1 = anything else
cdef int64_t parse_seconds(bytes value) noexcept    # 1.5, 1.5s or 200ms, in ns; -1 = malformed, or not above 0
cdef bytes write_seconds(uint64_t ns)               # like 1.500; rounded down, at least a millisecond
cdef bytes write_duration(uint64_t ms)              # in the format of Go and OpenAI: 12ms, 7.5s, 6m0s, 1h2m0.5s
