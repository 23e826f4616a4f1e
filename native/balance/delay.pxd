"""Compares the time to first token with the time that it takes when no requests wait at the target.

First tokens are averaged in windows. The lowest average that windows keep returning to is the floor. An average well
above the floor means that requests wait."""

from libc.stdint cimport uint32_t, uint64_t
from native.state.shared_state cimport TargetRec

cdef enum:
    SEEN_MS = 10_000            # a window older than this is ignored

cdef double TOLERANCE           # a window is slow from this multiple of the floor on

# Add a first token. Returns whether that ended a window, which wrote limit_floor, limit_seen and limit_slow.
cdef bint delay_observe(TargetRec* rec, uint64_t now_ns, uint64_t first_us) noexcept nogil
# Return whether first tokens took more than ``times`` the floor in the last window, if that window is recent.
cdef bint delay_exceeds(TargetRec* rec, uint64_t now_ns, double times) noexcept nogil
# Return the shortest duration of a window, which depends on the floor.
cdef uint32_t delay_window_ms(double floor_ms) noexcept nogil
