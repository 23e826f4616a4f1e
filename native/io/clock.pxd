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

cdef struct Clocks:
    uint64_t virtual_ns             # the monotonic time of a drill; 0 = the clocks are real
    int64_t virtual_wall_ns         # the wall clock of a drill, less its monotonic time
    uint64_t late_ns                # when the reactor last got to something much later than it was due; 0 = never
    uint64_t event_ns               # when the event that is being handled began, or the last reading since; 0 = none is

cdef Clocks* clocks                 # of this process

cdef inline uint64_t monotonic_ns() noexcept nogil:
    cdef uint64_t now_ns
    if clocks.virtual_ns:
        return clocks.virtual_ns
    now_ns = real_monotonic_ns()
    if clocks.event_ns:
        clocks.event_ns = now_ns    # time never goes back within an event
    return now_ns

# The time of the event that is being handled, which is at most a turn of the reactor ago: for what need not be more exact.
# A reading of the clock costs as much as looking up a model.
cdef inline uint64_t event_time_ns() noexcept nogil:
    return clocks.event_ns if clocks.event_ns and not clocks.virtual_ns else monotonic_ns()

# An event begins now.
cdef inline void begin_event() noexcept nogil:
    clocks.event_ns = real_monotonic_ns()

# The reactor has just got to something much later than it was due: the process had too little CPU time, or too much to do.
cdef inline void note_late(uint64_t now_ns) noexcept nogil:
    clocks.late_ns = now_ns

# Return whether that happened at this time or later. What was measured from then on says nothing of the other side.
cdef inline bint was_late_since(uint64_t since_ns) noexcept nogil:
    return clocks.late_ns >= since_ns

# No event is being handled any more.
cdef inline void end_events() noexcept nogil:
    clocks.event_ns = 0

cdef void move_virtual(uint64_t now_ns, int64_t wall_ns) noexcept nogil     # see set_virtual

# Since 1970; for display and records, never for deadlines.
cdef inline uint64_t wall_ns() noexcept nogil:
    if clocks.virtual_ns:
        return clocks.virtual_ns + <uint64_t>clocks.virtual_wall_ns
    return real_wall_ns()
