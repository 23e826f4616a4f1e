"""Compares how long first tokens take with how long they take when nothing waits at the target.

First tokens are averaged in windows. The lowest average that windows come back to is the floor; an average well above
it
means that requests wait."""

from libc.stdint cimport uint32_t, uint64_t
from native.state.shared_state cimport TargetRec

cdef enum:
    SEEN_MS = 10_000            # a window that ended longer ago says nothing about now

cdef double TOLERANCE           # from this many times the floor on, a window is slow

# Add a first token. True if that ended a window, which wrote limit_floor, limit_seen and limit_slow.
cdef bint delay_observe(TargetRec* rec, uint64_t now_ns, uint64_t first_us) noexcept nogil
# Whether first tokens took more than ``times`` the floor in the last window, if that ended lately.
cdef bint delay_exceeds(TargetRec* rec, uint64_t now_ns, double times) noexcept nogil
# The shortest time that a window lasts, by the floor.
cdef uint32_t delay_window_ms(double floor_ms) noexcept nogil
