"""Counts the outcomes of the last ten seconds exactly, in a ring of one-second buckets in the record of a circuit.

The ratio is exact because an EWMA gives a short burst almost no weight, and can hide a total outage (linkerd2-proxy,
breaker/success_rate.rs)."""

from libc.stdint cimport uint64_t
from native.state.shared_state cimport CircuitRec, SharedState, WindowSum

cdef void window_add(CircuitRec* rec, uint64_t now_ns, bint failed) noexcept nogil
cdef void window_slow(CircuitRec* rec, uint64_t now_ns) noexcept nogil
cdef WindowSum window_read(CircuitRec* rec, uint64_t now_ns, int seconds) noexcept nogil
cdef void window_clear(CircuitRec* rec) noexcept nogil

cdef class Window:
    cdef CircuitRec* rec
    cdef readonly SharedState shared_state
