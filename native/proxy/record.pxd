"""Decides which exchanges are recorded, by sampling and by rates, and holds their records in a bounded list.

The share of traces is taken as OpenTelemetry's SDKs take it (TraceIdRatioBased: the low 64 bits of the trace id against a
bound), so that all processes that use one ratio pick the same traces."""

from libc.stdint cimport uint64_t
from native.codec.trace_context cimport Trace

cpdef enum Kept:            # why a record is kept; the first that holds
    NOT_KEPT = 0
    SAMPLED = 1
    FAILED = 2
    SLOW = 3
    RETRIED = 4
    LOGGED = 5              # every exchange is

cdef struct Second:         # a limit per second, and how much of it is used
    uint64_t at_ns
    unsigned int used, most

cdef class Recorder:
    """Decides which exchanges are recorded, and holds the records until take() removes them. One per worker."""
    cdef uint64_t bound                 # of the low 64 bits of a trace id
    cdef bint every, restart
    cdef bint logs_all                  # exchanges are recorded that no rule selects
    cdef readonly uint64_t slow_ns      # 0 = nothing is slow
    cdef Second asked                   # samples that callers asked for
    cdef Second[5] spare                # records of exchanges that are not sampled, by Kept
    cdef list pending
    cdef readonly int limit             # records held at most
    cdef readonly uint64_t dropped      # records that were not taken, since the start
    # Start the trace of an exchange. caller: the value of its traceparent; None = it has none. trusted: it comes from a
    # peer, whose sampling decision is followed. chance: three random words. Returns whether the caller's trace is
    # continued (only then may its tracestate be sent on).
    cdef bint begin(self, Trace* trace, bytes caller, bint trusted, uint64_t now_ns, const uint64_t* chance) noexcept
    # Return why an exchange that is over is recorded (enum Kept); NOT_KEPT = it is not.
    cdef int keep(self, const Trace* trace, uint64_t now_ns, bint failed, bint slow, bint retried) noexcept
    cdef bint add(self, object record)   # an edge.terms.trace.ExchangeRecord; False = there was no room
    cdef list take(self, Py_ssize_t most)   # the oldest records, at most so many; None = there are none
