"""Decides when an attempt is late: after four times the 99th percentile of the target's recent times to first content."""

from libc.stdint cimport uint64_t
from native.state.shared_state cimport CircuitRec, TargetRec

cdef enum:
    ENOUGH_SAMPLES = 100        # with this many samples the percentile is used, and a late attempt counts as slow

# Record the time to a first content in microseconds, in a latency cell.
cdef void lateness_observe(TargetRec* rec, int cell, uint64_t us) noexcept nogil
# Return the nanoseconds after which an attempt is late.
cdef uint64_t late_after_ns(TargetRec* rec, int cell) noexcept nogil
# Return the nanoseconds within which this share of first contents has come (the upper bound of a bucket of the
# histogram), 0.5 to 0.999; 0 = too few samples: one has to lie beyond the percentile, and there have to be 20.
cdef uint64_t percentile_ns(TargetRec* rec, int cell, double share) noexcept nogil
# Return whether this cell has enough samples for lateness to count against the target.
cdef bint lateness_known(TargetRec* rec, int cell) noexcept nogil
# Count an attempt that is late without a byte; return how many there have been in a row.
cdef int late_again(CircuitRec* rec) noexcept nogil
# End the row: an attempt has received a byte.
cdef void heard(CircuitRec* rec) noexcept nogil
