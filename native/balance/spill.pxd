"""Bounds what a target receives in place of a better tier, so that a failover does not overload it."""

from libc.stdint cimport uint32_t, uint64_t
from native.state.shared_state cimport TargetRec

# Concurrent requests of all classes that a target takes while it stands in for a better tier.
cdef double spill_allowance(TargetRec* rec, uint64_t now_ns) noexcept nogil
# Of these, requests of the low class; ``low`` are there, of a ``limit`` (the learned one or the allowance).
cdef double spill_ramp(TargetRec* rec, uint64_t now_ns, double limit, uint32_t low) noexcept nogil
# Record that one more request is sent to the target in place of a better tier; ``spill_ramp_used`` if it is of the low
# class, too.
cdef void spill_used(TargetRec* rec, uint64_t now_ns) noexcept nogil
cdef void spill_ramp_used(TargetRec* rec, uint64_t now_ns, double limit, uint32_t low) noexcept nogil
# Record a first token, with ``inflight`` requests at the target.
cdef void spill_first(TargetRec* rec, uint64_t now_ns, uint32_t inflight) noexcept nogil
