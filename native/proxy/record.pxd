"""Which exchanges are recorded, and under what name do others know them?  W3C trace context, sampling, and a bounded list.

Sources: W3C Trace Context level 1, sections 3.2 and 4.3; the share of traces is taken as OpenTelemetry's SDKs take it
(TraceIdRatioBased: the low 64 bits of the trace id against a bound), so that all who use one ratio pick the same traces."""

from libc.stdint cimport uint64_t

cpdef enum Kept:            # why a record is kept; the first that holds
    NOT_KEPT = 0
    SAMPLED = 1
    FAILED = 2
    SLOW = 3
    RETRIED = 4

cdef struct Trace:          # what an exchange knows of the trace it belongs to
    uint64_t high, low      # trace id
    uint64_t span           # of the exchange itself
    uint64_t parent         # the caller's span; 0 = this is the first
    uint64_t link_high, link_low, link_span     # the caller's trace where this one does not continue it; 0 = none
    unsigned int flags      # sent on: 1 sampled, 2 the id is random (level 2)
    bint sampled

# Strict. The Trace gets the caller's trace id, its span as parent, and its flags; False = it says nothing that can be used.
cdef bint read_traceparent(const char* value, Py_ssize_t size, Trace* out) noexcept nogil
cdef bytes write_traceparent(const Trace* trace, uint64_t span)     # 55 bytes, version 00
cdef str trace_hex(uint64_t high, uint64_t low)
cdef str span_hex(uint64_t span)                                    # "" for 0

cdef struct Second:         # what may be done in one second, and how often it was
    uint64_t at_ns
    unsigned int used, most

cdef class Recorder:
    """Decides what is recorded and holds what was, until somebody takes it. One per worker."""
    cdef uint64_t bound                 # of the low 64 bits of a trace id
    cdef bint every, restart
    cdef readonly uint64_t slow_ns      # 0 = nothing is slow
    cdef Second asked                   # callers' wishes
    cdef Second[5] spare                # of what is kept though it was not sampled, by Kept
    cdef list pending
    cdef readonly int limit             # records held at most
    cdef readonly uint64_t dropped      # records that were not taken, since the start
    # Give a new exchange its trace. caller: the value of its traceparent, None = there is none; trusted: a peer's wish is
    # a command. chance: three random words. True = the caller's trace goes on (and its tracestate may).
    cdef bint begin(self, Trace* trace, bytes caller, bint trusted, uint64_t now_ns, const uint64_t* chance) noexcept
    # Is it to be recorded, now that it is over?  enum Kept
    cdef int keep(self, const Trace* trace, uint64_t now_ns, bint failed, bint slow, bint retried) noexcept
    cdef bint add(self, tuple record)   # False = there was no room
    cdef list take(self, Py_ssize_t most)   # the oldest records, at most so many; None = there are none
