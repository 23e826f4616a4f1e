"""Tells how many descriptors this process may have open, and how they are divided.

Each stream needs a descriptor on either side. The last ones are kept back: a connection to a target does not take them,
so that a client that comes then is still accepted and told why it is not served, and so that commands, look-ups and
traces go on. Clients alone may not take all of them either: connections to targets would be left without any.
"""

cdef enum:
    RESERVE = 128               # enough for control traffic and a burst of clients that are answered 503
    RESERVE_SHARE = 8           # where few descriptors are allowed, the reserve is this part of them


cdef int descriptor_limit() noexcept nogil:
    cdef rlimit bounds
    if getrlimit(RLIMIT_NOFILE, &bounds) != 0 or bounds.rlim_cur > MOST_DESCRIPTORS:
        return MOST_DESCRIPTORS
    return <int>bounds.rlim_cur


cdef int reserve(int limit) noexcept nogil:
    return min(<int>RESERVE, limit // RESERVE_SHARE)


cdef int upstream_ceiling() noexcept nogil:
    cdef int limit = descriptor_limit()
    return limit - reserve(limit)


cdef int client_limit() noexcept nogil:
    cdef int limit = descriptor_limit()
    return limit - 2 * reserve(limit)


def most_descriptors():
    """How many descriptors this process may have open (RLIMIT_NOFILE)."""
    return descriptor_limit()


def highest_upstream():
    """The first descriptor number that a connection to a target may not have."""
    return upstream_ceiling()
