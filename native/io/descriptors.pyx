"""Tells how many descriptors this process may have open, and how they are divided.

Each stream needs a descriptor for the client and one for the target. Connections to targets do not use the last
descriptors. These are reserved for new clients, which are accepted and told why they are not served, and for commands,
look-ups and traces. Clients' connections are limited too, so that connections to targets get their share.
"""

cdef enum:
    RESERVE = 128               # enough for control traffic and a burst of clients that are answered 503
    RESERVE_SHARE = 8           # if the limit is low, the reserve is 1/RESERVE_SHARE of it


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
    """Return how many descriptors this process may have open (RLIMIT_NOFILE)."""
    return descriptor_limit()


def highest_upstream():
    """Return the lowest descriptor number that a connection to a target must not use."""
    return upstream_ceiling()
