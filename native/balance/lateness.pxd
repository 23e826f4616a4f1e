"""Says when an attempt is late: four times the 99th percentile of what its target lately took to the first content."""

from libc.stdint cimport uint64_t
from native.state.shared_state cimport TargetRec

cdef enum:
    ENOUGH_SAMPLES = 100        # from here on the percentile is believed, and a late attempt counts as slow

# One first content came after so many microseconds, in a latency cell.
cdef void lateness_observe(TargetRec* rec, int cell, uint64_t us) noexcept nogil
# Nanoseconds from asking to being late.
cdef uint64_t late_after_ns(TargetRec* rec, int cell) noexcept nogil
# Whether enough is known of this cell for lateness to be held against the target.
cdef bint lateness_known(TargetRec* rec, int cell) noexcept nogil
# One more attempt is late without a byte: how many there have been in a row.
cdef int late_again(TargetRec* rec) noexcept nogil
# A byte came: the row is over.
cdef void heard(TargetRec* rec) noexcept nogil
