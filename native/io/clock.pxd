"""Reads the monotonic clock and the wall clock; the only native module that does. edge/clock.py is its Python twin.

Kernels never import this module: they take now_ns as an argument. A drill sets the clocks of its process by hand
(``set_virtual``), so that the data path itself runs in virtual time."""

from libc.stdint cimport int64_t, uint64_t

cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <time.h>
    static inline uint64_t edge_now_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
    }
    static inline uint64_t edge_wall_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
    }
    """
    uint64_t real_monotonic_ns "edge_now_ns"()
    uint64_t real_wall_ns "edge_wall_ns"()

cdef uint64_t virtual_ns            # the monotonic time of a drill; 0 = the clocks are real
cdef int64_t virtual_wall_ns        # the wall clock of a drill, less its monotonic time

cdef inline uint64_t monotonic_ns() noexcept nogil:
    return virtual_ns if virtual_ns else real_monotonic_ns()

cdef void move_virtual(uint64_t now_ns, int64_t wall_ns) noexcept nogil     # see set_virtual

# Since 1970; for display and records, never for deadlines.
cdef inline uint64_t wall_ns() noexcept nogil:
    return virtual_ns + <uint64_t>virtual_wall_ns if virtual_ns else real_wall_ns()
