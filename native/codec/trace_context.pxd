"""Reads and writes W3C trace context (sans-I/O): the traceparent field and the ids in it.

Source: W3C Trace Context level 1, sections 3.2 and 4.3."""

from libc.stdint cimport uint64_t

cdef struct Trace:          # the trace of one exchange
    uint64_t high, low      # trace id
    uint64_t span           # the exchange's own span
    uint64_t parent         # the caller's span; 0 = the exchange's span is the root
    uint64_t link_high, link_low, link_span     # the caller's trace if this trace does not continue it; 0 = none
    unsigned int flags      # flags that are forwarded: 1 sampled, 2 the id is random (level 2)
    bint sampled

cdef Trace blank_trace() noexcept
# Sets the trace id, the parent (the caller's span) and the flags. Strict: False = malformed.
cdef bint read_traceparent(const char* value, Py_ssize_t size, Trace* out) noexcept nogil
cdef bytes write_traceparent(const Trace* trace, uint64_t span)     # 55 bytes, version 00
cdef str trace_hex(uint64_t high, uint64_t low)
cdef str span_hex(uint64_t span)                                    # "" for 0
