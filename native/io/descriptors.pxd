"""Tells how many descriptors this process may have open, and how they are divided."""

cdef extern from "<sys/resource.h>" nogil:
    struct rlimit:
        unsigned long rlim_cur
        unsigned long rlim_max
    int RLIMIT_NOFILE
    int getrlimit(int resource, rlimit* bounds)

cdef enum:
    MOST_DESCRIPTORS = 0x7FFFFFFF   # "unlimited", as a number

cdef int descriptor_limit() noexcept nogil      # RLIMIT_NOFILE as it is now
# A connection to a target whose descriptor has this number or a higher one is given up: numbers are given lowest first,
# so fewer than the reserve are left.
cdef int upstream_ceiling() noexcept nogil
cdef int client_limit() noexcept nogil          # clients' connections, where the configuration sets no limit
