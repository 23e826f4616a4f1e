"""Learns how many concurrent requests a target can take. There is no limit until there is evidence of saturation."""

from libc.stdint cimport uint32_t, uint64_t
from native.state.shared_state cimport TargetRec

cdef struct Bounds:         # settings of one target's limit
    bint learned            # False: the target has no learned limit
    double least            # the limit never falls below this

# Return the limit of concurrent requests of all workers; 0 = no limit. An old limit that is not in use is dropped here.
cdef double capacity_limit(TargetRec* rec, const Bounds* bounds, uint64_t now_ns, uint32_t inflight) noexcept nogil
# Return the number of concurrent requests that the target is never sent more than, also where nothing else can take
# them; 0 = no limit. It comes from refusals and from falling throughput; slow first tokens alone give none.
cdef double capacity_binding(TargetRec* rec, const Bounds* bounds, uint64_t now_ns, uint32_t inflight) noexcept nogil
# Record a first token that took ``first_us``, with ``inflight`` requests at the target, this one included.
# ``measured``: its time may be compared with others' (see delay.pyx). The limit grows here, and moves with each
# window's end.
cdef void capacity_first(TargetRec* rec, const Bounds* bounds, uint64_t now_ns, uint64_t first_us, bint measured,
                         uint32_t inflight) noexcept nogil
# Record that the target refused a request (429, 503, 529) or missed a deadline for the first byte or the first token,
# with ``inflight`` requests at the target, this one included.
cdef void capacity_refused(TargetRec* rec, const Bounds* bounds, uint64_t now_ns, uint32_t inflight) noexcept nogil
