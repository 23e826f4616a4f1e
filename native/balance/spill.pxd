"""Limits the requests that a target receives in place of a better tier, so that a failover does not overload it."""

from libc.stdint cimport uint32_t, uint64_t
from native.state.shared_state cimport TargetRec

# Return how many concurrent requests of all priorities a target may have in place of a better tier.
cdef double spill_allowance(TargetRec* rec, uint64_t now_ns) noexcept nogil
# Return how many of these may be of the low priority, which has ``low`` now; ``limit`` is the learned limit or the
# allowance.
cdef double spill_ramp(TargetRec* rec, uint64_t now_ns, double limit, uint32_t low) noexcept nogil
# Record that a request is sent to the target in place of a better tier; call ``spill_ramp_used`` too for a low one.
cdef void spill_used(TargetRec* rec, uint64_t now_ns) noexcept nogil
cdef void spill_ramp_used(TargetRec* rec, uint64_t now_ns, double limit, uint32_t low) noexcept nogil
# Record a first token, with ``inflight`` requests at the target.
cdef void spill_first(TargetRec* rec, uint64_t now_ns, uint32_t inflight) noexcept nogil
