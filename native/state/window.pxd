"""Counts the outcomes of the last ten seconds exactly, in a ring of one-second buckets in a target's record.

The ratio is exact because an EWMA gives a short burst almost no weight, and can hide a total outage (linkerd2-proxy,
breaker/success_rate.rs)."""

from libc.stdint cimport uint64_t
from native.state.shared_state cimport SharedState, TargetRec, WindowSum

cdef void window_add(TargetRec* rec, uint64_t now_ns, bint failed) noexcept nogil
cdef void window_slow(TargetRec* rec, uint64_t now_ns) noexcept nogil
cdef WindowSum window_read(TargetRec* rec, uint64_t now_ns, int seconds) noexcept nogil
cdef void window_clear(TargetRec* rec) noexcept nogil

cdef class Window:
    cdef TargetRec* rec
    cdef readonly SharedState shared_state
