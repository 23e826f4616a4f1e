"""How many requests does this target take at once?  A limit that is learned, and a ramp for what is spilled."""

from libc.stdint cimport uint32_t, uint64_t
from native.state.shared_state cimport TargetRec

cdef struct Bounds:         # of one target's limit; initial 0 = its limit is not learned
    double initial          # before anything is known
    double least
    double most

# Requests at once, all workers together; 0 = not learned.
cdef double capacity_limit(TargetRec* rec, const Bounds* bounds) noexcept nogil
# A first token came after first_us, with ``inflight`` attempts at the target (this one among them). measured: its time
# may be compared with others' (see capacity.pyx). The limit grows here, and once per window it is reckoned anew.
cdef void capacity_first(TargetRec* rec, const Bounds* bounds, uint64_t now_ns, uint64_t first_us, bint measured,
                         uint32_t inflight) noexcept nogil
# The target said that it is too much (429, 503, 529), or did not begin to answer in time.
cdef void capacity_refused(TargetRec* rec, const Bounds* bounds, uint64_t now_ns) noexcept nogil
# How many requests of the lowest class may be at a target of a later tier at once; ``low`` are there, of a limit.
cdef double capacity_spill(TargetRec* rec, uint64_t now_ns, double limit, uint32_t low) noexcept nogil
# One more was sent there: the ramp moves if it is time.
cdef void capacity_spilled(TargetRec* rec, uint64_t now_ns, double limit, uint32_t low) noexcept nogil
