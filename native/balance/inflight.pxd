"""Counts the requests that a target has in flight, and keeps the recent maximum."""

from libc.stdint cimport uint32_t, uint64_t
from native.state.shared_state cimport TargetRec

cdef enum:
    HIGHEST_EPOCH_MS = 60_000   # the recent highest covers the current epoch and the one before: one to two minutes

# Return the requests in flight of all workers: of all priorities, or of one priority.
cdef uint32_t inflight_total(TargetRec* rec, int workers) noexcept nogil
cdef uint32_t inflight_of(TargetRec* rec, int priority, int workers) noexcept nogil
# Record the current number in flight.
cdef void inflight_note(TargetRec* rec, uint64_t now_ns, uint32_t inflight) noexcept nogil
cdef uint32_t inflight_highest(TargetRec* rec, uint64_t now_ns) noexcept nogil
