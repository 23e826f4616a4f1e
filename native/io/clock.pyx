cdef Clocks CLOCKS
clocks = &CLOCKS


cdef void move_virtual(uint64_t now_ns, int64_t wall_ns) noexcept nogil:
    clocks.virtual_ns = now_ns
    clocks.late_ns = 0      # of the other kind of time
    clocks.virtual_wall_ns = wall_ns


def set_virtual(uint64_t now_ns, int64_t wall_ns=0):
    """Set the clocks of this process, or give it the real ones back.

    Args:
        now_ns: the monotonic time from now on, in nanoseconds; 0 = the clocks are real again.
        wall_ns: the wall clock in nanoseconds since 1970, less the monotonic time.
    """
    move_virtual(now_ns, wall_ns)


def late():
    """Return when the reactor was last late, in monotonic nanoseconds; 0 = never."""
    return clocks.late_ns


def now():
    """Return the monotonic time and the wall clock, in nanoseconds."""
    return monotonic_ns(), wall_ns()
